"""The proof that a recipe gives the same bytes: it is built twice, and the disks compared."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgforge import command, host
from imgforge.build import build
from imgforge.disk import Difference, first_difference
from imgforge.files import scratch_folder
from imgforge.progress import report
from imgforge.recipe import Layout, RecipeFile
from imgforge.usage import in_use

_BUILD_LIMIT_S = 1800
# Everything that a sloppy build would let through: time zone, language, umask, folders, cache.
_ELSEWHERE = {"TZ": "Pacific/Auckland", "LC_ALL": "tr_TR.UTF-8"}
_UMASK_ELSEWHERE = 0o077


@dataclass(frozen=True, slots=True)
class Comparison:
    """A layout built twice: its digest the first time, and the first difference, if any."""

    layout: Layout
    sha256: str
    difference: Difference | None


def verify_recipe(recipe_file: RecipeFile, *, layouts: Sequence[Layout]) -> list[Comparison]:
    """Build each layout here, and again from scratch under changed surroundings.

    The second build is another process with another folder, cache, umask, time zone and language,
    later; only downloaded packages are shared. Both use the packages of the recipe's lock.
    """
    parent = host.cache_dir() / "scratch"
    parent.mkdir(parents=True, exist_ok=True)
    # The second build has a cache of its own, but for the packages.
    with in_use(host.cache_dir()), scratch_folder(parent) as folder:
        ours = build(recipe_file, layouts=layouts, out=folder / "ours", locked=False)
        _build_elsewhere(recipe_file, layouts=layouts, folder=folder)
        return [
            Comparison(
                layout=layout,
                sha256=disk.sha256,
                difference=first_difference(disk.path, folder / "other" / disk.path.name),
            )
            for layout, disk in zip(layouts, ours, strict=True)
        ]


def _build_elsewhere(recipe_file: RecipeFile, *, layouts: Sequence[Layout], folder: Path) -> None:
    report("building a second time, under changed surroundings")
    cache = folder / "cache"
    cache.mkdir()
    packages = host.cache_dir() / "packages"
    if packages.is_dir():
        (cache / "packages").symlink_to(packages)
    wanted = [text for layout in layouts for text in ("--layout", str(layout))]
    locks = [recipe_file.for_layout(layout).lock_path for layout in layouts]
    locked = ["--locked"] if all(path.exists() for path in locks) else []
    line: list[str | Path] = ["-m", "imgforge", "build", recipe_file.path.absolute()]
    command.run(
        sys.executable,
        [*line, *wanted, *locked, "--out", folder / "other"],
        setting=command.Setting(
            environment={**_ELSEWHERE, "IMGFORGE_CACHE": str(cache)},
            cwd=folder,
            umask=_UMASK_ELSEWHERE,
        ),
        timeout_s=_BUILD_LIMIT_S,
    )
