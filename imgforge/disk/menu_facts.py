"""What is to be known of a disk before its menu.lst is judged: all reading of it is done here."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgforge.disk.kernel_image import KernelImage
from imgforge.disk.menu_files import MenuFile, MenuFiles
from imgforge.disk.menu_parser import MenuCommand, MenuTitle, split_kernel
from imgforge.disk.menu_place import (
    FoundMenu,
    NoSuchFileError,
    find_menus,
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

    `placed` is the one in the first of the places; its configfile may lead on to `found`.
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
    placed: FoundMenu | None = None

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
    placed = found = menus[0] if menus else misnamed
    files = MenuFiles(disk, volumes, folder)
    passed: tuple[FoundMenu, ...] = ()
    entries: tuple[EntryFacts, ...] = ()
    if found is not None:
        passed = _follow(files, found)
        if passed[-1].name in {menu.name for menu in passed[:-1]}:
            passed = passed[:-1]
        found = passed[-1]
        entries = tuple(_look_at_entries(files, passed))
    return DiskFacts(
        volumes=volumes,
        found=found,
        others=tuple(menu for menu in menus if menu.name not in {one.name for one in passed}),
        placed=placed,
        misnamed=misnamed,
        entries=entries,
        problems=tuple(problems),
        has_boot_code=_has_boot_code(disk),
    )


def _has_boot_code(disk: Path) -> bool:
    with disk.open("rb") as file:
        sector = file.read(512)
    return any(sector[:_CODE_BYTES]) and sector[510:] == b"\x55\xaa"


def _follow(files: MenuFiles, found: FoundMenu) -> tuple[FoundMenu, ...]:
    """Give the menus that the first entries' configfiles lead through, from `found` on.

    Where they lead in a circle, the last is one that was there before.
    """
    passed = [found]
    names = {found.name}
    while len(passed) <= _MOST_MENUS:
        menu = passed[-1].menu
        first = menu.entries[menu.order[0]] if menu.entries else None
        path = first.argument("configfile") if first and first.kernel is None else None
        if first is None or path is None:
            break
        try:
            passed.append(_read_following(files, first, path, number=passed[-1].number))
        except BadInputError:
            break  # told of the entry
        if passed[-1].name in names:
            break
        names.add(passed[-1].name)
    return tuple(passed)


def _read_following(files: MenuFiles, entry: MenuTitle, path: str, *, number: int) -> FoundMenu:
    if entry.root is not None:
        number = resolve_root(entry.root)
    return files.menu(path.partition(" ")[0], number=number)


def _look_at_entries(files: MenuFiles, passed: Sequence[FoundMenu]) -> Iterator[EntryFacts]:
    number = passed[-1].number
    for index, entry in enumerate(passed[-1].menu.entries):
        facts = _look_at(files, entry, index=index, number=number)
        problems = (*facts.problems, *_menu_problems(files, facts, passed))
        yield replace(facts, problems=problems)


def look_at(
    disk: Path, volumes: Sequence[Volume], *, place: tuple[int, int, MenuTitle], folder: Path
) -> EntryFacts:
    """Return what the paths of an entry lead to.

    `place` is the volume of its menu, its index, and itself; `folder` holds what is extracted.
    """
    number, index, entry = place
    return _look_at(MenuFiles(disk, volumes, folder), entry, index=index, number=number)


def _look_at(files: MenuFiles, entry: MenuTitle, *, index: int, number: int) -> EntryFacts:
    """Carry out an entry's commands in their order; the menu's volume is its first root."""
    if index >= _MOST_KERNELS:
        return EntryFacts(index, entry, number, is_looked_at=False)
    run = _Run(files, entry, number)
    for command in entry.commands:
        if not run.step(command):
            break
    chosen = run.number if run.kernel_number is None else run.kernel_number
    return EntryFacts(index, entry, chosen, run.kernel, tuple(dict.fromkeys(run.problems)))


@dataclass(slots=True)
class _Run:
    """An entry while its commands are carried out; `number` is the volume of root so far."""

    files: MenuFiles
    entry: MenuTitle
    number: int
    kernel: KernelImage | None = None
    kernel_number: int | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)

    def step(self, command: MenuCommand) -> bool:
        """Carry out one command; return whether to go on."""
        match command.name:
            case "root" | "rootnoverify":
                return self._set_root(command)
            case "kernel":
                path, _ = split_kernel(command.argument)
                looked = MenuFile()
                if path:
                    looked = self.files.look(path, number=self.number, is_kernel=True)
                self.kernel, self.kernel_number = looked.kernel, self.number
                self.problems += _kernel_problems(path, looked)
            case "initrd" | "find" | "cat":
                self.problems += _file_problems(self.files, command, number=self.number)
            case "halt" | "reboot":
                self.problems.append(("entry-ends", f"{command.name} ends the boot"))
                return False
            case "boot":
                return self.kernel_number is None
        return True

    def _set_root(self, command: MenuCommand) -> bool:
        text = command.argument.partition(" ")[0]
        if not text:
            return True
        try:
            if text == self.entry.root:  # judged by the disk's layout
                self.number = resolve_root(text)
            else:
                self.number = _resolve_early_root(self.files, text)
        except NoSuchFileError as error:
            self.problems.append(("root-unknown", str(error)))
            return False
        return True


def _resolve_early_root(files: MenuFiles, text: str) -> int:
    """Return the volume of a `root` that is not the kernel's; it must be there all the same."""
    number = resolve_root(text)
    if number and number not in {volume.number for volume in files.volumes}:
        raise NoSuchFileError(f"root {text}: there is no such partition")
    return number


def _kernel_problems(path: str | None, looked: MenuFile) -> Iterator[tuple[str, str]]:
    if looked.missing:
        yield "kernel-missing", looked.missing
    elif path is None:
        yield "kernel-unnamed", "a kernel line without a kernel"
    elif looked.kernel is None:
        yield "kernel-none", f"{path} is no Linux kernel"


def _file_problems(
    files: MenuFiles, command: MenuCommand, *, number: int
) -> Iterator[tuple[str, str]]:
    """Give what is wrong with the path of a command; `find` looks in all volumes."""
    path = command.argument.partition(" ")[0]
    if not path:
        return
    numbers = [volume.number for volume in files.volumes] if command.name == "find" else [number]
    missing = [files.look(path, number=one).missing for one in numbers]
    if not all(missing):
        return
    if command.name == "initrd":
        yield "initrd-missing", missing[0]
    else:
        yield "command-fails", f"{command.name} {path}: error 15"


def _menu_problems(
    files: MenuFiles, facts: EntryFacts, passed: Sequence[FoundMenu]
) -> Iterator[tuple[str, str]]:
    """Give what is wrong with an entry's configfile; `passed` are the menus up to its own."""
    path = facts.entry.argument("configfile")
    if path is None or facts.entry.kernel is not None or not facts.is_looked_at or facts.problems:
        return
    try:
        following = _read_following(files, facts.entry, path, number=passed[-1].number)
    except BadInputError as error:
        yield "configfile-missing", str(error)
        return
    names = [menu.name for menu in (*passed, *_follow(files, following))]
    if len(set(names)) < len(names) or len(names) > _MOST_MENUS:
        yield "menu-circle", f"{passed[-1].name} leads back to {following.name}"


def command_line_value(command_line: str, name: str) -> list[str]:
    """Return the values of `name=` on a kernel's command line, in order."""
    return re.findall(rf"(?:^|\s){re.escape(name)}=(\S+)", command_line)
