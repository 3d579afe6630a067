"""One command, run: errors become words and exit codes."""

import errno
import logging
import os
import sys
import traceback
import warnings

import typer
from rich.console import Console
from typer.exceptions import TyperException

from imgforge.cli.app import app
from imgforge.cli.terminal import say, stderr_console
from imgforge.errors import ExitCode, HostError, ImgforgeError

_USAGE_HINTS = {"imgforge": "imgforge --help, or imgforge COMMAND --help, lists what there is."}
_PYDANTIC_WORDS = ": Value error, "
"""What typer lets through of pydantic's own words."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


def run_command_line(
    arguments: list[str], *, command: typer.Typer = app, name: str = "imgforge"
) -> int:
    """Run one command; return its exit code."""
    console = stderr_console()
    debug = "--debug" in arguments
    if not debug:
        _keep_quiet()
    try:
        result = command(args=arguments, prog_name=name, standalone_mode=False)
        if sys.stdout is not None:  # where it was closed from the start
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return _tell_interrupted(console)
    except Exception as error:  # the last net: a bug of ours must not look like a verdict
        return _tell(console, error, debug=debug, name=name)
    if result == ExitCode.INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        return _tell_interrupted(console)
    return result if isinstance(result, int) else ExitCode.DONE


def _tell(console: Console, error: Exception, *, debug: bool, name: str) -> int:
    """Tell an error in words; return its exit code."""
    match error:
        case ImgforgeError():
            _explain(console, error, debug=debug)
            return error.exit_code
        case TyperException():
            if message := error.format_message().replace(_PYDANTIC_WORDS, ": "):
                say(console, message)
            say(console, _USAGE_HINTS.get(name, f"{name} --help lists what there is."))
            return ExitCode.BAD_INPUT
        case OSError(errno=number, strerror=reason) if number in _FULL:
            where = f"File {error.filename}" if error.filename else "A file of this command"
            return _tell_host(console, f"{where}: cannot be written: {reason}.", debug=debug)
        case OSError(filename=path, strerror=str(reason)) if path:
            what = f"File {os.fsdecode(path)}: {reason.lower()}."
            return _tell_host(console, what, debug=debug)
        case _:
            if debug:
                traceback.print_exc()
            console.print(f"imgforge failed unexpectedly: {error!r}", markup=False, style="red")
            console.print(
                "It says nothing of the image. Run it again as imgforge --debug … for more."
            )
            return ExitCode.HOST_OR_TOOL


def _silence_stdout() -> None:
    """Whatever our output goes to cannot take it: Python must not try once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _tell_host(console: Console, message: str, *, debug: bool) -> int:
    _silence_stdout()
    error = HostError(message, hint="Is it the right place, and may this user write there?")
    _explain(console, error, debug=debug)
    return error.exit_code


def _keep_quiet() -> None:
    """Let Python say nothing by itself: an interruption leaves tasks and coroutines unfinished."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None


def _tell_interrupted(console: Console) -> int:
    console.print(
        "Interrupted: nothing half made looks finished; run again, what was begun goes on.",
        style="yellow",
    )
    return ExitCode.INTERRUPTED


def _explain(console: Console, error: ImgforgeError, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    say(console, str(error), style="red")
    if error.hint:
        say(console, error.hint)
