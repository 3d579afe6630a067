"""`imgforge replay`: a failed test's machine, started again where it failed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import ExitCode, ImageRejectedError
from imgforge.interruption import run_async

if TYPE_CHECKING:
    from imgforge.testing.replay import Replayed


def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A failed test's evidence.")],
    command: Annotated[
        str, typer.Argument(help="Run this in the machine, as root, and end it.")
    ] = "",
    *,
    as_json: JsonOption = False,
) -> int:
    """Start a failed test's machine where it failed, and print how to get in.

    It runs until it powers itself off or is interrupted; what it writes is thrown away. With a
    COMMAND it prints what that said, and ends with its exit code.
    """
    from imgforge.testing.failure import ImageFailure
    from imgforge.testing.replay import replay as replay_machine

    def announce(replayed: "Replayed") -> None:
        if not command:
            _show(replayed, as_json=as_json)

    with shown_progress(stderr_console()):
        try:
            done = run_async(replay_machine(folder, command=command, announce=announce))
        except ImageFailure as failure:
            raise ImageRejectedError(str(failure)) from None
    if done is None:
        return ExitCode.DONE
    if as_json:
        print_json({"exit_code": done.exit_code, "stdout": done.stdout, "stderr": done.stderr})
        return ExitCode.DONE
    for console, text in ((stdout_console(), done.stdout), (stderr_console(), done.stderr)):
        console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
    return done.exit_code


def _show(replayed: "Replayed", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "test": replayed.test,
                "point": replayed.point,
                "instance_id": replayed.instance_id,
                "ssh": replayed.ssh,
                "console": str(replayed.console),
            }
        )
        return
    from imgforge.testing.replay import Point

    where = "where it failed" if replayed.point is Point.FAILURE else "from its beginning"
    lines = [f"{replayed.test}: {replayed.instance_id} goes on {where}."]
    lines += [replayed.ssh] if replayed.ssh else ["Nobody can log in by SSH: give a COMMAND."]
    lines.append(f"console: {replayed.console}")
    stdout_console().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
