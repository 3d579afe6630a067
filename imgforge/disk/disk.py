"""A raw disk and its digest."""

from dataclasses import dataclass
from pathlib import Path

from imgforge.recipe import Layout, Recipe


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw disk file.

    `sha256` is that of the whole file, as sha256sum(1) prints it. `layout`, `recipe_sha256` and
    `lock_sha256` are empty or None where the disk was not built by us; `recipe` is the whole
    recipe it was built from.
    """

    path: Path
    sha256: str
    size_bytes: int
    layout: Layout | None = None
    recipe_sha256: str = ""
    lock_sha256: str = ""
    recipe: Recipe | None = None
