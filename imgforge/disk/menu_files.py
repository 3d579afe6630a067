"""The files that a menu.lst names, each looked at once however often it is named."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imgforge.disk.kernel_image import KernelImage, examine_kernel
from imgforge.disk.menu_place import (
    FoundMenu,
    NoSuchFileError,
    extract_path,
    place_name,
    read_menu,
    resolve_path,
)
from imgforge.disk.volume import Volume
from imgforge.errors import BadInputError

_MOST_FILES = 128


@dataclass(frozen=True, slots=True)
class MenuFile:
    """What a path leads to: `kernel` is None for what is no Linux kernel, or was not asked for one.

    `missing` says why there is no such file; it is empty where there is one.
    """

    kernel: KernelImage | None = None
    missing: str = ""


@dataclass(slots=True)
class MenuFiles:
    """A disk's files by GRUB's names; `folder`, which exists, holds what is extracted meanwhile.

    Beyond 128 names a file is not looked at: it is told as missing.
    """

    disk: Path
    volumes: Sequence[Volume]
    folder: Path
    _looks: dict[tuple[str, int, bool], MenuFile] = field(default_factory=dict)
    _kernels: dict[bytes, KernelImage | None] = field(default_factory=dict)
    _menus: dict[tuple[int, str], FoundMenu | BadInputError] = field(default_factory=dict)

    def look(self, path: str, *, number: int, is_kernel: bool = False) -> MenuFile:
        """Return what `path` leads to, with root in volume `number`."""
        key = (path, number, is_kernel)
        if key not in self._looks:
            if len(self._looks) == _MOST_FILES:
                return MenuFile(missing=f"more than {_MOST_FILES} files are named")
            self._looks[key] = self._extract(path, number=number, is_kernel=is_kernel)
        return self._looks[key]

    def menu(self, path: str, *, number: int) -> FoundMenu:
        """Return the menu that `path` leads to, with root in volume `number`.

        Raises BadInputError where none is, or it cannot be read.
        """
        place = resolve_path(path, number=number, volumes=self.volumes)
        if place not in self._menus:
            if len(self._menus) == _MOST_FILES:
                raise NoSuchFileError(f"more than {_MOST_FILES} menus are named")
            self._menus[place] = self._read(place)
        found = self._menus[place]
        if isinstance(found, BadInputError):
            raise found
        return found

    def _read(self, place: tuple[int, str]) -> FoundMenu | BadInputError:
        try:
            found = read_menu(self.disk, self.volumes, place=place, folder=self.folder)
        except BadInputError as error:
            return error
        return found or NoSuchFileError(f"{place_name(*place)} is not there")

    def _extract(self, path: str, *, number: int, is_kernel: bool) -> MenuFile:
        copy = self.folder / "file"
        try:
            place = resolve_path(path, number=number, volumes=self.volumes)
            extract_path(self.disk, self.volumes, place=place, destination=copy)
            return MenuFile(self._examine(copy) if is_kernel else None)
        except BadInputError as error:
            return MenuFile(missing=str(error))
        finally:
            copy.unlink(missing_ok=True)

    def _examine(self, copy: Path) -> KernelImage | None:
        """Examine a kernel, once where several names lead to the same bytes."""
        with copy.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        if digest not in self._kernels:
            self._kernels[digest] = examine_kernel(copy)
        return self._kernels[digest]
