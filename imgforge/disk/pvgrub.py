"""What PV-GRUB would start from a disk, worked out on the host.

The rules are those of the guide to Linux AMIs, "User Provided Kernels", and of GRUB Legacy 0.97,
which PV-GRUB is a patched version of.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.menu_parser import Menu, MenuTitle, parse_menu, parse_place, printable
from imgforge.disk.partition import Partition, read_partitions
from imgforge.disk.reader import extract_file
from imgforge.errors import BadInputError

# The nine places, in PV-GRUB's order: partition (0: the whole disk) and folder.
MENU_PLACES = (
    (0, "/boot/grub"),
    *((number, folder) for number in (1, 2, 3, 4) for folder in ("/boot/grub", "/grub")),
)
_LARGEST_COMMAND_LINE = 2047  # COMMAND_LINE_SIZE of x86 Linux, less its NUL
_LARGEST_MENU_BYTES = 2**20
_PATH = re.compile(r"(\([^)]*\))?(/.*)")
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x89LZO": "lzo",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x5d\0\0": "lzma",
}
_READ_BY_PV_GRUB = {"gzip", "bzip2", "xz", "lzo"}


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


def evaluate_pv_boot(disk: Path, folder: Path) -> PvBoot | PvBootFailure:
    """Find what PV-GRUB would start from `disk`, and extract it into `folder`, which exists.

    A disk that cannot boot is a value, not an error: it says so of the image.
    """
    try:
        partitions = {partition.number: partition for partition in read_partitions(disk)}
    except BadInputError as error:
        return PvBootFailure(str(error))
    try:
        found = _find_menu(disk, partitions, folder)
    except BadInputError as error:
        return PvBootFailure(str(error))
    if found is None:
        places = ", ".join(_name(number, path) for number, path in MENU_PLACES)
        return PvBootFailure(f"PV-GRUB finds no menu.lst in any of its places: {places}.")
    number, menu_path, menu = found
    if not menu.entries:
        return PvBootFailure(f"{menu_path} has no title: PV-GRUB would stop at its prompt.")
    notes: list[str] = []
    for index in _order(menu, notes):
        entry = menu.entries[index]
        try:
            kernel, initrd, remarks = _extract_entry(disk, partitions, entry, number, folder)
        except (_EntryFailedError, BadInputError) as error:
            notes.append(f"entry {index} ({entry.title}): {error}")
            continue
        return PvBoot(
            menu_path=menu_path,
            entry_title=entry.title,
            kernel=kernel,
            initrd=initrd,
            command_line=entry.command_line,
            notes=(*notes, *remarks),
        )
    return PvBootFailure(
        f"No entry of {menu_path} can be started: {'; '.join(notes)}", tuple(notes)
    )


def _find_menu(
    disk: Path, partitions: dict[int, Partition], folder: Path
) -> tuple[int, str, Menu] | None:
    copy = folder / "menu.lst"
    for number, path in MENU_PLACES:
        if number and number not in partitions:
            continue
        place = f"{path}/menu.lst"
        if extract_file(
            disk,
            partition=partitions.get(number),
            path=place,
            destination=copy,
            limit_bytes=_LARGEST_MENU_BYTES,
        ):
            return number, _name(number, place), parse_menu(copy.read_bytes())
    return None


def _name(number: int, path: str) -> str:
    return f"(hd0,{number - 1}){path}" if number else f"(hd0){path}"


def _order(menu: Menu, notes: list[str]) -> list[int]:
    """Return the entries in the order GRUB tries them, each once."""
    count = len(menu.entries)
    first = menu.default
    if first >= count:
        notes.append(f"default {first} names no entry, the first is taken")
        first = 0
    order = [first]
    for index in menu.fallback:
        if index < count and index not in order:
            order.append(index)
    return order


def _extract_entry(
    disk: Path, partitions: dict[int, Partition], entry: MenuTitle, number: int, folder: Path
) -> tuple[Path, Path | None, list[str]]:
    """Extract an entry's kernel and initrd; return them with remarks on the kernel."""
    if entry.root is not None:
        chosen = parse_place(entry.root)
        if chosen is None:
            raise _EntryFailedError(f"root {printable(entry.root)}: PV-GRUB has only (hd0)")
        number = chosen
    if entry.kernel is None:
        raise _EntryFailedError("it names no kernel")
    kernel = folder / "kernel"
    _extract(disk, partitions, entry.kernel, number=number, destination=kernel)
    remarks = _judge_kernel(kernel, entry.kernel)
    initrd = None
    if entry.initrd is not None:
        initrd = folder / "initrd"
        _extract(disk, partitions, entry.initrd, number=number, destination=initrd)
    if len(entry.command_line.encode()) > _LARGEST_COMMAND_LINE:
        remarks.append(f"the kernel reads only {_LARGEST_COMMAND_LINE} bytes of its command line")
    return kernel, initrd, remarks


def _extract(
    disk: Path, partitions: dict[int, Partition], path: str, *, number: int, destination: Path
) -> None:
    match = _PATH.fullmatch(path)
    if match is None:
        raise _EntryFailedError(f"{printable(path)} is no path")
    if match[1]:
        chosen = parse_place(match[1])
        if chosen is None:
            raise _EntryFailedError(f"{printable(path)}: PV-GRUB has only (hd0)")
        number = chosen
    if number and number not in partitions:
        raise _EntryFailedError(f"{_name(number, '')}: there is no such partition")
    there = extract_file(
        disk, partition=partitions.get(number), path=match[2], destination=destination
    )
    if not there:
        raise _EntryFailedError(f"{_name(number, printable(match[2]))} is not there")


def _judge_kernel(kernel: Path, path: str) -> list[str]:
    """Return what EC2 would make of a kernel; raise where it is none."""
    with kernel.open("rb") as file:
        head = file.read(2**16)
        if head[:4] == b"\x7fELF":
            is_64bit = head[4:5] == b"\x02"
            return [] if is_64bit else [f"{path} is a 32-bit kernel"]
        if head[:2] == b"\x1f\x8b":
            return []
        if head[0x202:0x206] != b"HdrS":
            raise _EntryFailedError(f"{path} is no Linux kernel")
        # Documentation/arch/x86/boot.rst: setup_sects and payload_offset
        setup_sectors = head[0x1F1] or 4
        file.seek((setup_sectors + 1) * 512 + struct.unpack_from("<I", head, 0x248)[0])
        payload = file.read(8)
    for magic, name in _COMPRESSIONS.items():
        if payload.startswith(magic) and name not in _READ_BY_PV_GRUB:
            return [
                f"{path} is compressed by {name}; PV-GRUB reads gzip, bzip2, lzo and xz: "
                "it would not start on EC2"
            ]
    return []
