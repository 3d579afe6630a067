"""The first arrow of the flow: a recipe becomes its raw disks.

It stands apart from pipeline.py since `imgforge build` needs nothing of what boots and judges.
"""

from collections.abc import Sequence
from pathlib import Path

from imgforge import host
from imgforge.disk import Disk, build_disk
from imgforge.progress import about
from imgforge.recipe import Layout, RecipeFile
from imgforge.rootfs import Rootfs, prepare_rootfs
from imgforge.usage import in_use


def build(
    recipe_file: RecipeFile, *, layouts: Sequence[Layout], out: Path, locked: bool
) -> list[Disk]:
    """Build a raw disk of each layout, as OUT/NAME-LAYOUT.raw.

    Where the pv layouts have packages of their own, theirs is another root tree.
    """
    cache = host.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    disks = []
    trees: dict[Path, Rootfs] = {}
    with in_use(cache):
        for source in (recipe_file.for_layout(layout) for layout in layouts):
            if source.lock_path not in trees:
                trees[source.lock_path] = prepare_rootfs(source, cache=cache, locked=locked)
        for layout in layouts:
            rootfs = trees[recipe_file.for_layout(layout).lock_path]
            path = out / f"{recipe_file.recipe.name}-{layout}.raw"
            with about(layout):
                disks.append(build_disk(rootfs, recipe_file, layout=layout, destination=path))
    return disks
