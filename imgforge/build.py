"""The first arrow of the flow: a recipe becomes its raw disks.

It stands apart from pipeline.py since `imgforge build` needs nothing of what boots and judges.
"""

from collections.abc import Sequence
from pathlib import Path

from imgforge import host
from imgforge.disk import Disk, build_disk
from imgforge.progress import about
from imgforge.recipe import Layout, RecipeFile
from imgforge.rootfs import prepare_rootfs
from imgforge.usage import in_use


def build(
    recipe_file: RecipeFile, *, layouts: Sequence[Layout], out: Path, locked: bool
) -> list[Disk]:
    """Build a raw disk of each layout, as OUT/NAME-LAYOUT.raw."""
    cache = host.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    disks = []
    with in_use(cache):
        rootfs = prepare_rootfs(recipe_file, cache=cache, locked=locked)
        for layout in layouts:
            path = out / f"{recipe_file.recipe.name}-{layout}.raw"
            with about(layout):
                disks.append(build_disk(rootfs, recipe_file, layout=layout, destination=path))
    return disks
