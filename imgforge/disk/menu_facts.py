"""What is to be known of a disk before its menu.lst is judged: all reading of it is done here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.kernel_image import KernelImage, examine_kernel
from imgforge.disk.menu_parser import MenuTitle
from imgforge.disk.menu_place import (
    FoundMenu,
    NoSuchFileError,
    extract_path,
    find_menus,
    place_name,
    read_menu,
    resolve_path,
    resolve_root,
)
from imgforge.disk.volume import Volume, read_volumes
from imgforge.errors import BadInputError

_MOST_MENUS = 16
_CODE_BYTES = 440  # of a master boot record; the disk's id and its table follow
_MOST_KERNELS = 32
_NAMES = ("menu.lst", "grub.conf")


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """An entry, and what its paths lead to.

    `problems` are (rule, found): why kernel or initrd cannot be had. `kernel` is None where there
    is none, or it is no Linux kernel; `is_looked_at` is False beyond the first 32 entries.
    """

    index: int
    entry: MenuTitle
    number: int
    kernel: KernelImage | None = None
    problems: tuple[tuple[str, str], ...] = ()
    is_looked_at: bool = True


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk as GRUB sees it: its volumes, the menu that is read, and those that are not.

    `misnamed` is a grub.conf where there is no menu.lst. `problems` are (rule, found).
    `has_boot_code`: whether a BIOS would start its first sector.
    """

    volumes: tuple[Volume, ...]
    found: FoundMenu | None
    others: tuple[FoundMenu, ...]
    misnamed: FoundMenu | None
    entries: tuple[EntryFacts, ...]
    problems: tuple[tuple[str, str], ...]
    has_boot_code: bool = True

    @property
    def partitions(self) -> tuple[Volume, ...]:
        """The volumes that are partitions."""
        return tuple(volume for volume in self.volumes if volume.number)


def gather_facts(disk: Path, folder: Path) -> DiskFacts:
    """Read what is to be known of `disk`; `folder`, which exists, holds what is extracted.

    Raises BadInputError for a partition table that points outside the disk.
    """
    volumes = read_volumes(disk)
    problems: list[tuple[str, str]] = []
    menus: list[FoundMenu] = []
    misnamed = None
    try:
        menus += find_menus(disk, volumes, folder=folder, name=_NAMES[0])
        if not menus:
            misnamed = next(find_menus(disk, volumes, folder=folder, name=_NAMES[1]), None)
    except BadInputError as error:
        if not menus:
            problems.append(("menu-unreadable", str(error)))
    found = menus[0] if menus else misnamed
    entries: tuple[EntryFacts, ...] = ()
    if found is not None:
        found = _follow(disk, volumes, found=found, folder=folder, problems=problems)
        entries = tuple(
            look_at(disk, volumes, place=(found.number, index, entry), folder=folder)
            for index, entry in enumerate(found.menu.entries)
        )
    return DiskFacts(
        volumes=volumes,
        found=found,
        others=tuple(menus[1:]),
        misnamed=misnamed,
        entries=entries,
        problems=tuple(problems),
        has_boot_code=_has_boot_code(disk),
    )


def _has_boot_code(disk: Path) -> bool:
    with disk.open("rb") as file:
        sector = file.read(512)
    return any(sector[:_CODE_BYTES]) and sector[510:] == b"\x55\xaa"


def _follow(
    disk: Path,
    volumes: Sequence[Volume],
    *,
    found: FoundMenu,
    folder: Path,
    problems: list[tuple[str, str]],
) -> FoundMenu:
    """Go on to the menu that the first entry's configfile names, and from there."""
    seen = {found.name}
    while True:
        menu = found.menu
        first = menu.entries[menu.order[0]] if menu.entries else None
        path = first.argument("configfile") if first and first.kernel is None else None
        if first is None or path is None:
            return found
        try:
            following = _read_following(
                disk, volumes, place=(found.number, first, path), folder=folder
            )
        except BadInputError:
            return found  # told of the entry
        if following.name in seen or len(seen) == _MOST_MENUS:
            problems.append(("menu-circle", f"{found.name} leads back to {following.name}"))
            return found
        seen.add(following.name)
        found = following


def _read_following(
    disk: Path, volumes: Sequence[Volume], *, place: tuple[int, MenuTitle, str], folder: Path
) -> FoundMenu:
    number, entry, path = place
    if entry.root is not None:
        number = resolve_root(entry.root)
    following = resolve_path(path.partition(" ")[0], number=number, volumes=volumes)
    found = read_menu(disk, volumes, place=following, folder=folder)
    if found is None:
        raise NoSuchFileError(f"{place_name(*following)} is not there")
    return found


def look_at(
    disk: Path, volumes: Sequence[Volume], *, place: tuple[int, int, MenuTitle], folder: Path
) -> EntryFacts:
    """Return what the paths of an entry lead to.

    `place` is the volume of its menu, its index, and itself; `folder` holds what is extracted.
    """
    number, index, entry = place
    if index >= _MOST_KERNELS:
        return EntryFacts(index, entry, number, is_looked_at=False)
    try:
        if entry.root is not None:
            number = resolve_root(entry.root)
    except NoSuchFileError as error:
        return EntryFacts(index, entry, number, problems=(("root-unknown", str(error)),))
    if entry.kernel is None:
        return _look_at_menu(disk, volumes, place=place, folder=folder)
    problems = []
    kernel = None
    copy = folder / "kernel"
    try:
        extract_path(
            disk,
            volumes,
            place=resolve_path(entry.kernel, number=number, volumes=volumes),
            destination=copy,
        )
        kernel = examine_kernel(copy)
        if kernel is None:
            problems.append(("kernel-none", f"{entry.kernel} is no Linux kernel"))
    except BadInputError as error:
        problems.append(("kernel-missing", str(error)))
    finally:
        copy.unlink(missing_ok=True)
    problems += _look_at_initrd(disk, volumes, place=(number, entry), folder=folder)
    return EntryFacts(index, entry, number, kernel, tuple(problems))


def _look_at_menu(
    disk: Path, volumes: Sequence[Volume], *, place: tuple[int, int, MenuTitle], folder: Path
) -> EntryFacts:
    number, index, entry = place
    path = entry.argument("configfile")
    if path is not None:
        try:
            _read_following(disk, volumes, place=(number, entry, path), folder=folder)
        except BadInputError as error:
            problem = ("configfile-missing", str(error))
            return EntryFacts(index, entry, number, problems=(problem,))
    return EntryFacts(index, entry, number)


def _look_at_initrd(
    disk: Path, volumes: Sequence[Volume], *, place: tuple[int, MenuTitle], folder: Path
) -> list[tuple[str, str]]:
    number, entry = place
    if entry.initrd is None:
        return []
    copy = folder / "initrd"
    try:
        if entry.initrd_root is not None:
            number = resolve_root(entry.initrd_root)
        path = resolve_path(entry.initrd, number=number, volumes=volumes)
        extract_path(disk, volumes, place=path, destination=copy)
    except BadInputError as error:
        return [("initrd-missing", str(error))]
    finally:
        copy.unlink(missing_ok=True)
    return []


def command_line_value(command_line: str, name: str) -> list[str]:
    """Return the values of `name=` on a kernel's command line, in order."""
    return re.findall(rf"(?:^|\s){re.escape(name)}=(\S+)", command_line)
