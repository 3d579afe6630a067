"""The console script: signals become one interruption, errors become words and exit codes."""

import os
import signal
import sys
import traceback
from types import FrameType

import click
from rich.console import Console

from imgforge.cli.app import app
from imgforge.cli.terminal import stderr_console
from imgforge.errors import ExitCode, ImgforgeError


def main() -> None:
    """Run the command line and exit with one of the documented codes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    sys.exit(run_command_line(sys.argv[1:]))


def run_command_line(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    console = stderr_console()
    try:
        result = app(args=arguments, prog_name="imgforge", standalone_mode=False)
    except ImgforgeError as error:
        _explain(console, error, debug="--debug" in arguments)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.print("Interrupted: nothing half made is left.", style="yellow")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:  # the last net: a bug of ours must not look like a verdict
        if "--debug" in arguments:
            traceback.print_exc()
        console.print(f"imgforge failed unexpectedly: {error!r}", markup=False, style="red")
        console.print("It says nothing of the image. Run it again as imgforge --debug … for more.")
        return ExitCode.HOST_OR_TOOL
    return result if isinstance(result, int) else ExitCode.DONE


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # One way out for all signals: the one that asyncio turns into an orderly cancellation.
    signal.raise_signal(signal.SIGINT)


def _explain(console: Console, error: ImgforgeError, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    console.print(str(error), markup=False, highlight=False, style="red", soft_wrap=True)
    if error.hint:
        console.print(error.hint, markup=False, highlight=False, soft_wrap=True)
