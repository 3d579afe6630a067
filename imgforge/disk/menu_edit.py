"""menu.lst changed as the guide says: a new kernel's entry first, the old one as its fallback."""

import re
from dataclasses import dataclass

from imgforge.disk.menu_lines import LONGEST_LINE_BYTES, LineKind, MenuLine, read_lines
from imgforge.disk.menu_parser import Menu, MenuTitle, parse_menu
from imgforge.errors import BadInputError

_PATH = re.compile(r"(?:\(hd0(?:,\d{1,3})?\))?/[^\s\0\\]+")
_MOST_TRIED = 9  # the default and eight fallbacks
_ROOT = re.compile(r"\(hd0(?:,\d{1,3})?\)")


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be added; `root` and `command_line` None are those of the entry that boots now.

    As far as the file alone tells: the first that names a kernel, in the order in which they are
    tried.

    Raises BadInputError for what menu.lst cannot express.
    """

    title: str
    kernel: str
    initrd: str | None = None
    root: str | None = None
    command_line: str | None = None

    def __post_init__(self) -> None:
        for name, text in (("title", self.title), ("command line", self.command_line or "")):
            if not text.isprintable() or "\\" in text:
                raise BadInputError(
                    f"The {name} {text!r}: menu.lst cannot express line ends, backslashes, control "
                    "characters, and what is no UTF-8."
                )
        if not self.title.strip(" ="):
            raise BadInputError("The new entry needs a title.")
        for name, path in (("kernel", self.kernel), ("initrd", self.initrd)):
            if path is not None and not (_PATH.fullmatch(path) and path.isprintable()):
                raise BadInputError(
                    f"The {name} {path!r}: a path on the disk is needed, as /boot/vmlinuz-4.7.4, "
                    "without white space."
                )
        if self.root is not None and _ROOT.fullmatch(self.root) is None:
            raise BadInputError(f"The root {self.root!r}: (hd0) or (hd0,0) is needed.")


def add_entry(data: bytes, entry: NewEntry) -> bytes:
    """Return menu.lst with `entry` before all others, as the default; every other byte is kept.

    What booted so far becomes the first fallback, and the fallbacks so far follow it. Source: "User
    Provided Kernels". Raises BadInputError for a file too large to be read whole.
    """
    lines = list(read_lines(data))
    if lines and lines[-1].kind is LineKind.REST:
        raise BadInputError(f"menu.lst has {len(data)} bytes: too many to be edited.")
    menu = parse_menu(data)
    ending = next((line.ending for line in lines if line.ending), b"\n")
    first = _first_title(lines)
    if first == len(lines) and _is_open(data):
        raise BadInputError("menu.lst ends with a backslash: what follows would join its line.")
    settings, rest = lines[:first], lines[first:]
    fallback = " ".join(str(index + 1) for index in menu.order) if menu.entries else ""
    new: list[bytes] = [line.raw for line in settings]
    for name, value in (("default", "0"), ("fallback", fallback)):
        if value:
            _set(new, settings, name=name, value=value, ending=ending)
    if new and not new[-1].endswith(b"\n"):
        new[-1] += ending
    if settings and settings[-1].kind is not LineKind.BLANK:
        new.append(ending)
    new += [line + ending for line in _entry_lines(entry, menu)]
    new += [ending] if rest else []
    edited = b"".join([*new, *(line.raw for line in rest)])
    return _checked(edited, menu, entry)


def first_with_kernel(menu: Menu) -> MenuTitle | None:
    """Return the first entry that names a kernel, in the order in which they are tried."""
    tried = (menu.entries[index] for index in menu.order)
    return next((entry for entry in tried if entry.kernel is not None), None)


def _is_open(data: bytes) -> bool:
    """Tell whether a backslash at the end would join what follows; carriage returns are nothing."""
    return data.rstrip(b"\r").removesuffix(b"\n").rstrip(b"\r").endswith(b"\\")


def _first_title(lines: list[MenuLine]) -> int:
    titles = (index for index, line in enumerate(lines) if line.command == b"title")
    return next(titles, len(lines))


def _set(
    new: list[bytes], settings: list[MenuLine], *, name: str, value: str, ending: bytes
) -> None:
    """Change the last line that sets `name`, or add one where none does."""
    command = name.encode()
    found = [index for index, line in enumerate(settings) if line.command == command]
    if not found:
        # Behind the last command, so that it stays together with the others.
        places = [i for i, line in enumerate(settings) if line.kind is LineKind.COMMAND]
        index = places[-1] if places else -1
        text = command + b" " + value.encode() + ending
        if index < 0:
            new[:0] = [b""] if not new else []
            new[0] = text + new[0]
        else:
            whole = new[index] if new[index].endswith(b"\n") else new[index] + ending
            new[index] = whole + text
        return
    line = settings[found[-1]]
    start = line.position(line.argument_index)
    end = line.position(len(line.text) - 1) + 1 if line.argument else start
    separator = b"" if line.argument_index > len(command) else b" "
    # What an earlier turn added behind this line stays there.
    added = new[found[-1]][len(line.raw) :]
    new[found[-1]] = line.raw[:start] + separator + value.encode() + line.raw[end:] + added


def _entry_lines(entry: NewEntry, menu: Menu) -> list[bytes]:
    old = first_with_kernel(menu)
    root = entry.root or (old.root if old else None)
    command_line = entry.command_line
    if command_line is None:
        command_line = old.command_line if old else ""
    lines = [f"title {entry.title}"]
    lines += [f"root {root}"] if root else []
    lines.append(f"kernel {entry.kernel} {command_line}".rstrip())
    lines += [f"initrd {entry.initrd}"] if entry.initrd else []
    told = [line.encode() for line in lines]
    if any(len(line) >= LONGEST_LINE_BYTES for line in told):
        raise BadInputError(
            f"A line of the new entry has {max(map(len, told))} bytes: GRUB cuts it at "
            f"{LONGEST_LINE_BYTES}."
        )
    return told


def _checked(edited: bytes, before: Menu, entry: NewEntry) -> bytes:
    """Read the edited file again: it must say what was meant."""
    menu = parse_menu(edited)
    wanted = tuple((old.title, len(old.commands)) for old in before.entries)
    kept = tuple((old.title, len(old.commands)) for old in menu.entries[1:])
    first = menu.entries[0] if menu.entries else None
    said = first is not None and (first.kernel, first.initrd) == (entry.kernel, entry.initrd)
    order = (0, *(index + 1 for index in before.order)) if before.entries else (0,)
    if not said or kept != wanted or menu.order != order[:_MOST_TRIED]:
        raise BadInputError(
            "menu.lst cannot be edited: read again, it would not say what was meant.",
            hint="imgforge menu-lst check names what is odd in it; correct that first.",
        )
    return edited
