"""Where PV-GRUB and GRUB Legacy look for menu.lst, and what the paths in it name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.menu_parser import Menu, parse_menu, parse_place, printable
from imgforge.disk.reader import extract_file
from imgforge.disk.volume import Volume
from imgforge.errors import BadInputError

# The nine places, in PV-GRUB's order: partition (0: the whole disk) and folder.
MENU_PLACES: tuple[tuple[int, str], ...] = (
    (0, "/boot/grub"),
    *((number, folder) for number in (1, 2, 3, 4) for folder in ("/boot/grub", "/grub")),
)
LARGEST_MENU_BYTES = 2**20
_PATH = re.compile(r"(\([^)]*\))?(/.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FoundMenu:
    """A menu.lst: the volume it stands in (0: the whole disk), its path there, and its bytes."""

    number: int
    path: str
    data: bytes
    menu: Menu

    @property
    def name(self) -> str:
        """GRUB's name of the file."""
        return place_name(self.number, self.path)


class NoSuchFileError(BadInputError):
    """A path in menu.lst names nothing that is there."""


def place_name(number: int, path: str) -> str:
    """Return GRUB's name of a path in a volume."""
    return f"(hd0,{number - 1}){path}" if number else f"(hd0){path}"


def find_menus(
    disk: Path,
    volumes: Sequence[Volume],
    *,
    folder: Path,
    name: str = "menu.lst",
    places: Sequence[tuple[int, str]] = MENU_PLACES,
) -> Iterator[FoundMenu]:
    """Give the files of this name in the places, in their order, as far as they are asked for.

    Raises BadInputError for one that is damaged or longer than a mebibyte.
    """
    numbers = {volume.number for volume in volumes}
    for number, place in places:
        if number in numbers:
            found = read_menu(disk, volumes, place=(number, f"{place}/{name}"), folder=folder)
            if found is not None:
                yield found


def read_menu(
    disk: Path, volumes: Sequence[Volume], *, place: tuple[int, str], folder: Path
) -> FoundMenu | None:
    """Read the menu.lst at this volume and path; None where nothing is."""
    number, path = place
    copy = folder / "menu.lst"
    there = extract_file(
        disk,
        partition=next(volume.partition for volume in volumes if volume.number == number),
        path=path,
        destination=copy,
        limit_bytes=LARGEST_MENU_BYTES,
    )
    if not there:
        return None
    data = copy.read_bytes()
    return FoundMenu(number, path, data, parse_menu(data))


def resolve_path(path: str, *, number: int, volumes: Sequence[Volume]) -> tuple[int, str]:
    """Return the volume and the path in it that GRUB means by `path`, with root in `number`.

    Raises NoSuchFileError for what is no path, or names no volume of the disk.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise NoSuchFileError(f"{printable(path)} is no path")
    if match[1]:
        number = resolve_root(match[1])
    if number not in {volume.number for volume in volumes}:
        raise NoSuchFileError(f"{place_name(number, '')}: there is no such partition")
    return number, match[2]


def resolve_root(text: str) -> int:
    """Return the volume that a `root` or the start of a path names; NoSuchFileError for another."""
    chosen = parse_place(text)
    if chosen is None:
        raise NoSuchFileError(f"{printable(text)}: EC2's GRUB has only (hd0)")
    return chosen


def extract_path(
    disk: Path, volumes: Sequence[Volume], *, place: tuple[int, str], destination: Path
) -> None:
    """Copy the file at this volume and path to `destination`; NoSuchFileError where none is."""
    number, path = place
    partition = next(volume.partition for volume in volumes if volume.number == number)
    if not extract_file(disk, partition=partition, path=path, destination=destination):
        raise NoSuchFileError(f"{place_name(number, printable(path))} is not there")
