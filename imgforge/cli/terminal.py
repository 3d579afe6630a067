"""The two consoles: results on stdout, everything else on stderr."""

import json
import re
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


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    print(json.dumps(value, sort_keys=True, default=str), flush=True)
