"""One command, run: errors become words and exit codes."""

import errno
import logging
import os
import signal
import sys
import traceback
import warnings

import typer
from rich.console import Console
from typer.exceptions import TyperException

from imgforge.cli.app import app
from imgforge.cli.terminal import stderr_console
from imgforge.errors import ExitCode, HostError, ImgforgeError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def run_command_line(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    console = stderr_console()
    if "--debug" not in arguments:
        _keep_quiet()
    try:
        result = app(args=arguments, prog_name="imgforge", standalone_mode=False)
    except ImgforgeError as error:
        _explain(console, error, debug="--debug" in arguments)
        return error.exit_code
    except TyperException as error:
        if message := error.format_message():
            console.print(message, markup=False, highlight=False, soft_wrap=True)
        console.print("imgforge --help, or imgforge COMMAND --help, lists what there is.")
        return ExitCode.BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return _tell_interrupted(console)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:  # the last net: a bug of ours must not look like a verdict
        return _tell_unexpected(console, error, debug="--debug" in arguments)
    if result == ExitCode.INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        return _tell_interrupted(console)
    return result if isinstance(result, int) else ExitCode.DONE


def _tell_unexpected(console: Console, error: Exception, *, debug: bool) -> int:
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f"File {error.filename}" if error.filename else "A file of this command"
        full = HostError(f"{where}: cannot be written: {error.strerror}.")
        _explain(console, full, debug=debug)
        return full.exit_code
    if debug:
        traceback.print_exc()
    console.print(f"imgforge failed unexpectedly: {error!r}", markup=False, style="red")
    console.print("It says nothing of the image. Run it again as imgforge --debug … for more.")
    return ExitCode.HOST_OR_TOOL


def _keep_quiet() -> None:
    """Let Python say nothing by itself: an interruption leaves tasks and coroutines unfinished."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None


def _tell_interrupted(console: Console) -> int:
    # All is cleaned up: an impatient second interrupt must not become a traceback now.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    console.print("Interrupted: nothing half made is left.", style="yellow")
    return ExitCode.INTERRUPTED


def _explain(console: Console, error: ImgforgeError, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    console.print(str(error), markup=False, highlight=False, style="red", soft_wrap=True)
    if error.hint:
        console.print(error.hint, markup=False, highlight=False, soft_wrap=True)
