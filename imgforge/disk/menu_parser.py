"""menu.lst as GRUB Legacy 0.97 understands it: what is set, the entries, and what is odd.

The one reader of menu.lst. Grammar: GRUB manual 0.97, chapters 13 and 14; where that is silent,
stage2.c, cmdline.c and builtins.c of GRUB 0.97, which PV-GRUB is a patched version of.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from imgforge.disk.menu_commands import COMMANDS, CommandPlace
from imgforge.disk.menu_lines import (
    LARGEST_PARSED_BYTES,
    LONGEST_LINE_BYTES,
    LineKind,
    MenuLine,
    read_lines,
)

_MOST_ENTRIES = 256
_MOST_PROBLEMS = 100
_MOST_FALLBACKS = 8  # MAX_FALLBACK_ENTRIES, stage2/shared.h
_LARGEST_NUMBER = 0x7FFFFFFF
_PLACE = re.compile(r"\(hd0(?:,(\d{1,3}))?\)")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|\d+")
_KERNEL_OPTION = re.compile(r"--type=(\S*)[^ ]*|--no-mem-option\S*")
_KERNEL_TYPES = ("netbsd", "freebsd", "openbsd", "linux", "biglinux", "multiboot")


@dataclass(frozen=True, slots=True)
class MenuProblem:
    """Something odd: its id, the line and column (from 1, in bytes), and what was found."""

    id: str
    line: int
    column: int
    found: str


@dataclass(frozen=True, slots=True)
class MenuCommand:
    """A command that GRUB knows, and its argument, without control characters."""

    name: str
    argument: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class MenuTitle:
    """One entry of menu.lst, as it stands there; None where the command is missing.

    `root` is what holds when the kernel is read, `initrd_root` when the initrd is. `line` is the
    title's. `commands` are all of the entry's, in order.
    """

    title: str
    root: str | None
    kernel: str | None
    command_line: str
    initrd: str | None
    initrd_root: str | None = None
    modules: tuple[str, ...] = ()
    commands: tuple[MenuCommand, ...] = ()
    line: int = 0

    def argument(self, name: str) -> str | None:
        """Return the argument of the last command of this name; None where there is none."""
        found = [command.argument for command in self.commands if command.name == name]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Menu:
    """What menu.lst says: entries, the order in which they are tried, and what else is set.

    `is_default_saved` is `default saved`, where the entry is the one that was saved last.
    `timeout_s` is the last that is a number: GRUB passes over others; None where there is none.
    """

    default: int
    fallback: tuple[int, ...]
    entries: tuple[MenuTitle, ...]
    settings: tuple[MenuCommand, ...] = ()
    problems: tuple[MenuProblem, ...] = ()
    is_default_saved: bool = False
    timeout_s: int | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """The entries in the order GRUB tries them, each once.

        For a default out of range it takes the fallback, without one the first (stage2/stage2.c).
        """
        count = len(self.entries)
        spare = tuple(index for index in self.fallback if index < count)
        chosen = (self.default,) if self.default < count else () if spare else (0,) if count else ()
        return tuple(dict.fromkeys((*chosen, *spare)))

    def setting(self, name: str) -> MenuCommand | None:
        """Return the last command of this name before the first title."""
        found = [command for command in self.settings if command.name == name]
        return found[-1] if found else None


@dataclass(slots=True)
class _Draft:
    """A menu while it is read. `fallback` is None after a line that GRUB gives up on."""

    default: int = 0
    is_default_saved: bool = False
    timeout_s: int | None = None
    fallback: tuple[int, ...] = ()
    title: MenuLine | None = None
    commands: list[MenuCommand] = field(default_factory=list)
    entries: list[MenuTitle] = field(default_factory=list)
    settings: list[MenuCommand] = field(default_factory=list)
    problems: list[MenuProblem] = field(default_factory=list)

    def note(self, identity: str, line: MenuLine, found: str, *, index: int = 0) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            number, column = line.place(index)
            self.problems.append(MenuProblem(identity, number, column, found))


def parse_menu(data: bytes) -> Menu:
    """Parse menu.lst, whatever it holds; what is not understood is passed over, and noted."""
    draft = _Draft()
    for line in read_lines(data):
        if line.kind is LineKind.REST:
            _note_rest(draft, line)
        elif line.kind is LineKind.COMMAND:
            _note_length(draft, line)
            if not _take(draft, line):
                break
    _end_entry(draft)
    return Menu(
        default=draft.default,
        fallback=draft.fallback,
        entries=tuple(draft.entries),
        settings=tuple(draft.settings),
        problems=tuple(draft.problems),
        is_default_saved=draft.is_default_saved,
        timeout_s=draft.timeout_s,
    )


def parse_place(text: str) -> int | None:
    """Return the partition of "(hd0,N)", counted from 1, or 0 of "(hd0)"; None for any other."""
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        return None
    return int(match[1]) + 1 if match[1] else 0


def printable(text: str) -> str:
    """Return text of a guest without control characters."""
    return "".join(character for character in text if character.isprintable())


def shown(data: bytes, most: int = 60) -> str:
    """Return bytes of a guest for a message."""
    text = printable(data[: 4 * most].decode(errors="replace"))
    return text if len(text) <= most else text[: most - 1] + "…"


def _take(draft: _Draft, line: MenuLine) -> bool:
    """Take one command; return whether to go on."""
    name = line.command.decode(errors="replace")
    place = COMMANDS.get(name)
    if name == "title":
        _end_entry(draft)
        if len(draft.entries) == _MOST_ENTRIES:
            draft.note("entries-too-many", line, f"more than {_MOST_ENTRIES} entries")
            return False
        draft.title = line
        return True
    if place is None or place is CommandPlace.PATCHED:
        identity = "command-unknown" if place is None else "command-patched"
        draft.note(identity, line, f"{shown(line.command) or 'a NUL'}: GRUB passes over it")
        return True
    number, column = line.place()
    argument = printable(line.argument.decode(errors="replace"))
    command = MenuCommand(name, argument, number, column)
    if draft.title is not None:
        if place is CommandPlace.MENU:
            draft.note("command-misplaced", line, f"{name} within an entry stops it: error 27")
        draft.commands.append(command)
    elif place is CommandPlace.ENTRY:
        draft.note("command-misplaced", line, f"{name} before the first title does nothing")
    else:
        draft.settings.append(command)
        _set(draft, line, name)
    return True


def _set(draft: _Draft, line: MenuLine, name: str) -> None:
    argument = line.argument.decode(errors="replace")
    if name == "default":
        draft.is_default_saved = argument == "saved"
        number = 0 if draft.is_default_saved else _parse_number(argument)[0]
        if number is None:
            _note_number(
                draft, line, f"default {shown(line.argument)}: no number, it is as if absent"
            )
        else:
            draft.default = number
    elif name == "fallback":
        found = parse_fallback(argument)
        if found is None:
            _note_number(draft, line, f"fallback {shown(line.argument)}: GRUB gives up on the line")
        draft.fallback = found or ()
    elif name == "timeout":
        timeout_s = _parse_number(argument)[0]
        if timeout_s is None:
            _note_number(
                draft, line, f"timeout {shown(line.argument)}: no number, it is as if absent"
            )
        else:
            draft.timeout_s = timeout_s


def _note_number(draft: _Draft, line: MenuLine, found: str) -> None:
    draft.note("number-bad", line, found, index=line.argument_index)


def parse_fallback(argument: str) -> tuple[int, ...] | None:
    """Return the numbers of a `fallback`; None where GRUB gives up on the line (fallback_func).

    It does so at anything that is no number, and at whatever follows a number that it had before.
    """
    found: list[int] = []
    rest = argument
    while rest:
        number, rest = _parse_number(rest)
        if number is None:
            return None
        if number in found:
            continue
        found.append(number)
        if len(found) == _MOST_FALLBACKS:
            break
        rest = rest.lstrip(" ") if rest[:1] in {"", " "} else _skip_word(rest)
    return tuple(found)


def _skip_word(text: str) -> str:
    return text.partition(" ")[2].lstrip(" ")


def _parse_number(text: str) -> tuple[int | None, str]:
    """Return the number at the start of a text, and what follows it (safe_parse_maxint)."""
    match = _NUMBER.match(text)
    if match is None or len(match[0]) > 12 or match[0].lower() == "0x":
        return None, text
    number = int(match[0], 16 if match[0][:2].lower() == "0x" else 10)
    if not match[0].isascii() or number > _LARGEST_NUMBER:
        return None, text
    return number, text[match.end() :]


def _end_entry(draft: _Draft) -> None:
    if draft.title is None:
        return
    if draft.commands:
        draft.entries.append(_entry(draft.title, draft.commands))
    else:
        title = shown(draft.title.argument)
        draft.note("title-empty", draft.title, f"title {title} has no command: GRUB drops it")
    draft.title = None
    draft.commands = []


def _entry(title: MenuLine, commands: Iterable[MenuCommand]) -> MenuTitle:
    values: dict[str, str | None] = {"root": None, "kernel_root": None, "initrd_root": None}
    kernel: str | None = None
    initrd: str | None = None
    command_line = ""
    modules: list[str] = []
    for command in commands:
        first = command.argument.partition(" ")[0]
        match command.name:
            case "root" | "rootnoverify":
                values["root"] = first or values["root"]
            case "kernel":
                kernel, command_line = split_kernel(command.argument)
                values["kernel_root"] = values["root"]
            case "initrd":
                initrd = first or None
                values["initrd_root"] = values["root"]
            case "module" | "modulenounzip":
                modules.append(command.argument)
    return MenuTitle(
        title=printable(title.argument.decode(errors="replace")),
        root=values["kernel_root"] if kernel else values["root"],
        kernel=kernel,
        command_line=command_line,
        initrd=initrd,
        initrd_root=values["initrd_root"],
        modules=tuple(modules),
        commands=tuple(commands),
        line=title.place()[0],
    )


def split_kernel(argument: str) -> tuple[str | None, str]:
    """Return path and command line of a `kernel`'s argument; its own options are passed over."""
    rest = argument
    while (match := _KERNEL_OPTION.match(rest)) is not None:
        if match[1] is not None and match[1] not in _KERNEL_TYPES:
            return None, ""  # GRUB's error 9
        rest = rest[match.end() :].lstrip(" ")
    path, _, command_line = rest.partition(" ")
    return path or None, command_line.strip(" ")


def _note_length(draft: _Draft, line: MenuLine) -> None:
    if len(line.text) >= LONGEST_LINE_BYTES:
        draft.note("line-too-long", line, f"more than {LONGEST_LINE_BYTES} bytes: GRUB cuts it")
    if b"\0" in line.raw:
        draft.note("line-with-nul", line, "a NUL ends the line: GRUB reads nothing behind it")


def _note_rest(draft: _Draft, line: MenuLine) -> None:
    whole = LARGEST_PARSED_BYTES + len(line.raw)
    draft.note("file-too-large", line, f"{whole} bytes; {LARGEST_PARSED_BYTES} are read here")
