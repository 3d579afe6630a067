"""What a guest writes, made fit to read: lines of text without control characters."""

import codecs
import re

MAX_LINE_CHARACTERS = 4096
_LONGEST_ESCAPE = 256

# ECMA-48: CSI; then OSC, DCS, SOS, PM and APC strings with their end; then two-character escapes.
_MOVES = re.compile(r"\x1b(?:\[[0-9;]{0,16}[Hf]|\[[23]?J|c)")
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|[\]PX^_][^\x07\x1b]{0,256}(?:\x07|\x1b\\)"
    r"|[ -/]{1,4}[0-~]"
    r"|[0-Z\\^-~])"
)
_UNFINISHED = re.compile(
    r"(?:\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[\]PX^_][^\x07\x1b]{0,256}\x1b?|[ -/]{0,4})|\r+)\Z"
)
# C0, C1, and what turns the direction of text or is not seen (UAX 9).
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+"
)
_LINE_ENDS = re.compile(r"\r*\n\r*|\r+")
_EMPTY_LINES = re.compile(r"\n{3,}")


class ConsoleText:
    """Turns console bytes into lines, in bounded memory, however the bytes are cut.

    What moves the cursor to a place on the screen or clears it ends a line, as does a carriage
    return: boot menus are drawn with them. More than one empty line in a row becomes one. A line
    of more than 4096 characters is cut.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._line = ""
        self._after_empty = True

    @property
    def pending(self) -> str:
        """The text of the line that has no end yet."""
        return self._line

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes and return the lines they end."""
        return self._take(self._held + self._decoder.decode(data), final=False)

    def finish(self) -> list[str]:
        """Return what is left when the console is closed."""
        lines = self._take(self._held + self._decoder.decode(b"", final=True), final=True)
        rest, self._line = self._line, ""
        return [*lines, rest] if rest else lines

    def _take(self, text: str, *, final: bool) -> list[str]:
        self._held = ""
        if not final:
            start = max(0, len(text) - _LONGEST_ESCAPE - 4)
            unfinished = _UNFINISHED.search(text, start)
            if unfinished:
                self._held = text[unfinished.start() :]
                text = text[: unfinished.start()]
        return self._split(_clean(text))

    def _split(self, text: str) -> list[str]:
        lines = (self._line + text).split("\n")
        self._line = lines.pop()
        ended = []
        for line in lines:
            if line or not self._after_empty:
                ended.extend(_cut(line))
            self._after_empty = not line
        if len(self._line) > MAX_LINE_CHARACTERS:
            *whole, self._line = _cut(self._line)
            ended.extend(whole)
        return ended


def strip_controls(text: str) -> str:
    """Return `text` on one line, without escapes and control characters, to be shown."""
    return _CONTROLS.sub("", _clean(text).replace("\n", " "))


def _clean(text: str) -> str:
    if "\x1b" in text:
        text = _ESCAPES.sub("", _MOVES.sub("\r", text))
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    return _EMPTY_LINES.sub("\n\n", _CONTROLS.sub("", text))


def _cut(line: str) -> list[str]:
    if len(line) <= MAX_LINE_CHARACTERS:
        return [line]
    return [line[i : i + MAX_LINE_CHARACTERS] for i in range(0, len(line), MAX_LINE_CHARACTERS)]
