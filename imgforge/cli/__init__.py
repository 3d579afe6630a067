"""What a person types: commands, progress, plain words, exit codes."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from imgforge.cli.streams import outlast_readers
from imgforge.errors import ExitCode
from imgforge.interruption import SIGNALS, ignore_interruptions, interrupt_once

__all__ = ["main", "main_of_tool"]


def main() -> None:
    """Run the command line and exit with one of the documented codes."""

    def load() -> Callable[[list[str]], int]:
        from imgforge.cli.command_line import run_command_line

        return run_command_line

    _run(load)


def main_of_tool() -> None:
    """Run the ec2-… tool by whose name this was called; exit with 0, 1 or 130."""

    def load() -> Callable[[list[str]], int]:
        from imgforge.cli.ec2_tools import run_tool

        return lambda arguments: run_tool(Path(sys.argv[0]).name, arguments)

    _run(load)


def _run(load: Callable[[], Callable[[list[str]], int]]) -> None:
    for number in SIGNALS:
        signal.signal(number, _leave)
    outlast_readers()
    # What is imported stays: looking through it for garbage takes a tenth of the start.
    gc.disable()
    # Here, since it takes a quarter of a second: an interruption in it must be met, too.
    run = load()
    gc.enable()
    gc.freeze()
    for number in SIGNALS:
        signal.signal(number, interrupt_once)
    code = run(sys.argv[1:])
    ignore_interruptions()  # too late: the result is told
    if code == ExitCode.INTERRUPTED:
        # All is cleaned up. Python's own way out would end in a SIGINT where a KeyboardInterrupt
        # came through an import (CPython's unhandled_keyboard_interrupt).
        os._exit(code)
    sys.exit(code)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Exit at once: nothing was started yet."""
    os.write(2, b"Interrupted.\n")
    os._exit(ExitCode.INTERRUPTED)
