"""A raw disk and its digest."""

from dataclasses import dataclass
from pathlib import Path

from imgforge.recipe import Layout, Recipe


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw disk file.

    `sha256` is that of the whole file, as sha256sum(1) prints it. `layout` is None where nothing
    bootable was recognised; `recipe_sha256`, `lock_sha256` and `recipe`, the whole recipe it was
    built from, are empty or None where it was not built by us, or was changed since.
    """

    path: Path
    sha256: str
    size_bytes: int
    layout: Layout | None = None
    recipe_sha256: str = ""
    lock_sha256: str = ""
    recipe: Recipe | None = None
