"""menu.lst's lines as GRUB Legacy cuts them, each with every byte it came from.

The rules are those of get_line_from_config, stage2/stage2.c of GRUB 0.97: carriage returns are
passed over, tabs are spaces, a backslash before the end of a line joins the next one, `#` begins a
comment at the start of a line only, and a NUL ends its line, not the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

LARGEST_PARSED_BYTES = 2**18
_BLANK = re.compile(rb"(?:[ \t\r]*+\n)++")  # several lines in one piece
LONGEST_LINE_BYTES = 1500  # NEW_HEAPSIZE, stage2/shared.h


class LineKind(StrEnum):
    """What a line is; the rest is what lies beyond LARGEST_PARSED_BYTES, in one piece."""

    BLANK = "blank"
    COMMENT = "comment"
    COMMAND = "command"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class MenuLine:
    """A line, or several joined by backslashes: its bytes, and its text as GRUB has it.

    `number` counts from 1. The text of a comment or a blank line is empty.
    """

    raw: bytes
    number: int
    kind: LineKind
    text: bytes = b""

    @property
    def command(self) -> bytes:
        """The name of the command: up to the first space or `=`."""
        return self.text[: _end_of_word(self.text)]

    @property
    def argument_index(self) -> int:
        """Where in the text the argument begins: spaces and `=` lie between (skip_to)."""
        index = _end_of_word(self.text)
        while index < len(self.text) and self.text[index] in b" =":
            index += 1
        return index

    @property
    def argument(self) -> bytes:
        """What follows the command."""
        return self.text[self.argument_index :]

    @property
    def ending(self) -> bytes:
        """The bytes that end it: a line feed, with its carriage return; empty at a file's end."""
        if not self.raw.endswith(b"\n"):
            return b""
        return b"\r\n" if self.raw.endswith(b"\r\n") else b"\n"

    def place(self, index: int = 0) -> tuple[int, int]:
        """Return the line and column, from 1 and in bytes, of the byte `index` of the text."""
        if not self.text:
            return self.number, 1
        position = self.position(index)
        before = self.raw[:position]
        return self.number + before.count(b"\n"), position - (before.rfind(b"\n") + 1) + 1

    def position(self, index: int) -> int:
        """Return where in `raw` the byte `index` of the text stands, or its end."""
        seen = 0
        for position, byte in _kept(self.raw):
            if seen == 0 and byte == 0x20:
                continue
            if seen == index:
                return position
            seen += 1
        return len(self.raw.rstrip(b"\r\n"))


def _end_of_word(text: bytes) -> int:
    for index, byte in enumerate(text):
        if byte in b" =":
            return index
    return len(text)


def _kept(raw: bytes) -> Iterator[tuple[int, int]]:
    """Walk the bytes of a line that GRUB keeps: where each stands, and what it becomes."""
    position = 0
    while position < len(raw):
        byte = raw[position]
        if byte == 0x5C:
            end = position + 1
            while end < len(raw) and raw[end] == 0x0D:
                end += 1
            if end < len(raw) and raw[end] == 0x0A:
                yield position, 0x20
                position = end + 1
                continue
        if byte not in b"\r\n":
            yield position, 0x20 if byte == 0x09 else byte
        position += 1


def read_lines(data: bytes) -> Iterator[MenuLine]:
    """Cut menu.lst into lines, whatever it holds: their `raw` one after the other is `data`."""
    parsed = memoryview(data)[:LARGEST_PARSED_BYTES].tobytes()
    start, number = 0, 1
    while start < len(parsed):
        blank = _BLANK.match(parsed, start)
        end = blank.end() if blank else _end_of_line(parsed, start)
        raw = parsed[start:end]
        yield MenuLine(raw, number, LineKind.BLANK) if blank else _line(raw, number)
        number += raw.count(b"\n")
        start = end
    if len(data) > len(parsed):
        yield MenuLine(data[len(parsed) :], number, LineKind.REST)


def _end_of_line(data: bytes, start: int) -> int:
    """Return where the line ends that begins at `start`, behind its line feed."""
    position = start
    while True:
        feed = data.find(b"\n", position)
        if feed < 0:
            return len(data)
        before = feed - 1
        while before >= start and data[before] == 0x0D:
            before -= 1
        if before < start or data[before] != 0x5C:
            return feed + 1
        position = feed + 1


def _line(raw: bytes, number: int) -> MenuLine:
    stripped = raw.strip(b" \t\r\n")
    if not stripped:
        return MenuLine(raw, number, LineKind.BLANK)
    simple = b"\\" not in raw and b"\r" not in stripped
    text = stripped.replace(b"\t", b" ") if simple else _text(raw)
    if not text:
        return MenuLine(raw, number, LineKind.BLANK)
    if text.startswith(b"#"):
        return MenuLine(raw, number, LineKind.COMMENT)
    return MenuLine(raw, number, LineKind.COMMAND, text.partition(b"\0")[0][:LONGEST_LINE_BYTES])


def _text(raw: bytes) -> bytes:
    return bytes(byte for _, byte in _kept(raw)).strip(b" ")
