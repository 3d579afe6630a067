"""The two consoles: results on stdout, everything else on stderr."""

import json
from typing import Any

from rich.console import Console

from imgforge import host


def stdout_console() -> Console:
    """Return the console for results."""
    return Console(no_color=not host.wants_color(), highlight=False)


def stderr_console() -> Console:
    """Return the console for progress, warnings and errors."""
    return Console(stderr=True, no_color=not host.wants_color(), highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    print(json.dumps(value, sort_keys=True, default=str), flush=True)
