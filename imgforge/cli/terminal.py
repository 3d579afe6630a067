"""The two consoles: results on stdout, everything else on stderr."""

import json
from typing import Any

from rich.console import Console

from imgforge import host

# A pipe has no width: what a program may read is not folded.
_PIPE_COLUMNS = 1000


def stdout_console() -> Console:
    """Return the console for results."""
    # Else rich would make an emoji of the ":100:" of a file's line and column.
    console = Console(no_color=not host.wants_color(), highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_COLUMNS
    return console


def stderr_console() -> Console:
    """Return the console for progress, warnings and errors."""
    return Console(stderr=True, no_color=not host.wants_color(), highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    print(json.dumps(value, sort_keys=True, default=str), flush=True)
