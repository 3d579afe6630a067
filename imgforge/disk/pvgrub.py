"""What PV-GRUB would start from a disk, worked out on the host.

The rules are those of the guide to Linux AMIs, "User Provided Kernels", and of GRUB Legacy 0.97,
which PV-GRUB is a patched version of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.kernel_image import READ_BY_PV_GRUB, recognise_kernel
from imgforge.disk.kernel_payload import Compression
from imgforge.disk.menu_parser import Menu, MenuTitle
from imgforge.disk.menu_place import (
    MENU_PLACES,
    FoundMenu,
    extract_path,
    find_menus,
    place_name,
    read_menu,
    resolve_path,
    resolve_root,
)
from imgforge.disk.volume import Volume, read_volumes
from imgforge.errors import BadInputError

_LARGEST_COMMAND_LINE = 2047  # COMMAND_LINE_SIZE of x86 Linux, less its NUL
_MOST_MENUS = 16


@dataclass(frozen=True, slots=True)
class PvBoot:
    """What PV-GRUB would start: kernel and initrd stand extracted at these paths.

    `menu_path` is GRUB's name of the menu.lst found; `notes` say what was tried in vain before,
    and what would be different on EC2.
    """

    menu_path: str
    entry_title: str
    kernel: Path
    initrd: Path | None
    command_line: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PvBootFailure:
    """PV-GRUB would start nothing: the image's own failure, at the stage of the boot loader."""

    reason: str
    notes: tuple[str, ...] = ()


class _EntryFailedError(Exception):
    """An entry cannot be started; GRUB goes on to the fallback."""


def evaluate_pv_boot(
    disk: Path, folder: Path, *, places: Sequence[tuple[int, str]] = MENU_PLACES
) -> PvBoot | PvBootFailure:
    """Find what PV-GRUB would start from `disk`, and extract it into `folder`, which exists.

    A disk that cannot boot is a value, not an error: it says so of the image.
    """
    try:
        volumes = read_volumes(disk)
        found = next(find_menus(disk, volumes, folder=folder, places=places), None)
    except BadInputError as error:
        return PvBootFailure(str(error))
    if found is None:
        told = ", ".join(place_name(number, path) for number, path in places)
        return PvBootFailure(f"PV-GRUB finds no menu.lst in any of its places: {told}.")
    notes: list[str] = []
    seen: set[str] = set()
    while found.name not in seen and len(seen) < _MOST_MENUS:
        seen.add(found.name)
        outcome = _try_menu(disk, volumes, found=found, folder=folder, notes=notes)
        if not isinstance(outcome, FoundMenu):
            return outcome
        found = outcome
    notes.append(f"configfile {found.name} goes round in a circle")
    return PvBootFailure(f"PV-GRUB reads {found.name} again and again.", tuple(notes))


def _try_menu(
    disk: Path, volumes: Sequence[Volume], *, found: FoundMenu, folder: Path, notes: list[str]
) -> PvBoot | PvBootFailure | FoundMenu:
    """Try the entries of a menu in order; return what comes of it, or the menu to go on with."""
    if not found.menu.entries:
        return PvBootFailure(f"{found.name} has no title: PV-GRUB would stop at its prompt.")
    _note_default(found.menu, notes)
    for index in found.menu.order:
        entry = found.menu.entries[index]
        try:
            if entry.kernel is None and (path := entry.argument("configfile")) is not None:
                return _read_next(disk, volumes, entry=(found, entry, path), folder=folder)
            kernel, initrd, remarks = _extract_entry(
                disk, volumes, entry=entry, number=found.number, folder=folder
            )
        except (_EntryFailedError, BadInputError) as error:
            notes.append(f"entry {index} ({entry.title}): {error}")
            continue
        return PvBoot(
            menu_path=found.name,
            entry_title=entry.title,
            kernel=kernel,
            initrd=initrd,
            command_line=entry.command_line,
            notes=(*notes, *remarks),
        )
    return PvBootFailure(
        f"No entry of {found.name} can be started: {'; '.join(notes)}", tuple(notes)
    )


def _read_next(
    disk: Path, volumes: Sequence[Volume], *, entry: tuple[FoundMenu, MenuTitle, str], folder: Path
) -> FoundMenu:
    found, title, path = entry
    number = found.number if title.root is None else resolve_root(title.root)
    place = resolve_path(path.partition(" ")[0], number=number, volumes=volumes)
    following = read_menu(disk, volumes, place=place, folder=folder)
    if following is None:
        raise _EntryFailedError(f"configfile {place_name(*place)} is not there")
    return following


def _note_default(menu: Menu, notes: list[str]) -> None:
    if menu.default >= len(menu.entries):
        notes.append(f"default {menu.default} names no entry, {_taken(menu)} is taken")


def _taken(menu: Menu) -> str:
    return "the fallback" if menu.order[0] in menu.fallback else "the first"


def _extract_entry(
    disk: Path, volumes: Sequence[Volume], *, entry: MenuTitle, number: int, folder: Path
) -> tuple[Path, Path | None, list[str]]:
    """Extract an entry's kernel and initrd; return them with remarks on the kernel."""
    if entry.root is not None:
        number = resolve_root(entry.root)
    if entry.kernel is None:
        raise _EntryFailedError("it names no kernel")
    kernel = folder / "kernel"
    place = resolve_path(entry.kernel, number=number, volumes=volumes)
    extract_path(disk, volumes, place=place, destination=kernel)
    remarks = _judge_kernel(kernel, entry.kernel)
    initrd = None
    if entry.initrd is not None:
        initrd = folder / "initrd"
        if entry.initrd_root is not None:
            number = resolve_root(entry.initrd_root)
        place = resolve_path(entry.initrd, number=number, volumes=volumes)
        extract_path(disk, volumes, place=place, destination=initrd)
    if "\N{REPLACEMENT CHARACTER}" in entry.command_line:
        remarks.append(
            "the command line has bytes that are no UTF-8: the kernel gets U+FFFD for each here, "
            "and the byte itself on EC2"
        )
    if len(entry.command_line.encode()) > _LARGEST_COMMAND_LINE:
        remarks.append(f"the kernel reads only {_LARGEST_COMMAND_LINE} bytes of its command line")
    return kernel, initrd, remarks


def _judge_kernel(kernel: Path, path: str) -> list[str]:
    """Return what EC2 would make of a kernel; raise where it is none."""
    image = recognise_kernel(kernel)
    if image is None:
        raise _EntryFailedError(f"{path} is no Linux kernel")
    remarks = [f"{path} is a 32-bit kernel"] if image.bits == 32 else []
    if image.compression not in {*READ_BY_PV_GRUB, Compression.UNKNOWN}:
        remarks.append(
            f"{path} is compressed by {image.compression}; PV-GRUB reads gzip, bzip2, lzo and xz: "
            "it would not start on EC2"
        )
    return remarks
