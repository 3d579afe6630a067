"""menu.lst as GRUB Legacy reads it, as far as finding kernel and initrd needs it."""

import re
from dataclasses import dataclass

_LARGEST_BYTES = 2**18
_MOST_ENTRIES = 256
_COMMAND = re.compile(r"([^\s=]+)[\s=]*(.*)", re.DOTALL)
_PLACE = re.compile(r"\(hd0(?:,(\d{1,3}))?\)")
_SINGLE_ARGUMENT = re.compile(r"[\t ]*(\S+)")


@dataclass(frozen=True, slots=True)
class MenuTitle:
    """One entry of menu.lst, as it stands there; None where the command is missing."""

    title: str
    root: str | None
    kernel: str | None
    command_line: str
    initrd: str | None


@dataclass(frozen=True, slots=True)
class Menu:
    """What menu.lst says: entries, and the order in which they are tried."""

    default: int
    fallback: tuple[int, ...]
    entries: tuple[MenuTitle, ...]


def parse_menu(data: bytes) -> Menu:
    """Parse menu.lst, whatever it holds; what is not understood is passed over.

    Grammar: GRUB manual 0.97, chapters 13 and 14; `=` and tabs separate as spaces do, `#` begins
    a comment at the start of a line only, a NUL ends the file.
    """
    text = data[:_LARGEST_BYTES].split(b"\0", 1)[0].decode(errors="replace")
    default = 0
    fallback: tuple[int, ...] = ()
    entries: list[dict[str, str]] = []
    for line in re.split(r"\r\n|\n|\r", text):
        stripped = line.strip(" \t")
        match = _COMMAND.fullmatch(stripped)
        if match is None or stripped.startswith("#"):
            continue
        command, rest = match[1], match[2].strip()
        if command == "title":
            if len(entries) == _MOST_ENTRIES:
                break
            entries.append({"title": printable(rest)})
        elif entries:
            entries[-1].setdefault(command, rest)
        elif command == "default":
            default = _number(rest)
        elif command == "fallback":
            fallback = tuple(_number(word) for word in rest.split() if word.isdigit())
    return Menu(default, fallback, tuple(_entry(values) for values in entries))


def parse_place(text: str) -> int | None:
    """Return the partition of "(hd0,N)", counted from 1, or 0 of "(hd0)"; None for any other."""
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        return None
    return int(match[1]) + 1 if match[1] else 0


def printable(text: str) -> str:
    """Return text of a guest without control characters."""
    return "".join(character for character in text if character.isprintable())


def _entry(values: dict[str, str]) -> MenuTitle:
    words = values.get("kernel", "").split(None)
    while words and words[0].startswith("--"):  # --type=, --no-mem-option
        words.pop(0)
    kernel = words[0] if words else None
    command_line = ""
    if kernel is not None:
        command_line = printable(values["kernel"].split(kernel, 1)[1].strip())
    initrd = _SINGLE_ARGUMENT.match(values.get("initrd", ""))
    return MenuTitle(
        title=values["title"],
        root=values.get("root", values.get("rootnoverify")),
        kernel=kernel,
        command_line=command_line,
        initrd=initrd[1] if initrd else None,
    )


def _number(text: str) -> int:
    digits = re.match(r"\d{1,9}", text)
    return int(digits[0]) if digits else 0
