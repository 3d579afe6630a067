"""The two consoles: results on stdout, everything else on stderr."""

import json
import re
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from imgforge import host

# A pipe has no width: what a program may read is not folded.
_PIPE_COLUMNS = 1000
# What moves a terminal's cursor, changes its colours or turns a line's letters round: C0 and C1
# (ECMA-48), lines' ends, directions (Unicode, UAX #9); halves of surrogates no terminal takes.
_COMMANDS = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class PlainConsole(Console):
    """A console that shows what would command the terminal escaped: others wrote it."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what is printed of a text."""
        return super().render_str(plain_text(text), **options)


def plain_text(text: str) -> str:
    """Return a text in which what would command a terminal is escaped."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def stdout_console() -> Console:
    """Return the console for results."""
    # Else rich would make an emoji of the ":100:" of a file's line and column.
    console = PlainConsole(no_color=not host.wants_color(), highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_COLUMNS
    return console


def stderr_console() -> Console:
    """Return the console for progress, warnings and errors."""
    return PlainConsole(stderr=True, no_color=not host.wants_color(), highlight=False, emoji=False)


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print lines: on a terminal folded between words, never within one, so that it can be copied.

    A folded line goes on where it began, indented as it is.
    """
    for line in plain_text(text).split("\n"):
        start = line[: len(line) - len(line.lstrip(" "))]
        folded = wrap(
            line,
            console.width,
            subsequent_indent=start,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for part in folded if console.is_terminal else [line]:
            console.print(part, markup=False, highlight=False, soft_wrap=True, style=style or None)
        if console.is_terminal and not folded:
            console.print()


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    print(json.dumps(value, sort_keys=True, default=str), flush=True)
