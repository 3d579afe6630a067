"""A command that a test gives a machine: what can be asked, what is kept of it, how it is told."""

import asyncio
import math
import time
from dataclasses import replace

from imgforge.machine import COMMAND_LIMIT_BYTES
from imgforge.report import CommandEntry
from imgforge.testing.failure import ImageFailure
from imgforge.testing.live import LiveInstance
from imgforge.testing.machine_files import note_command
from imgforge.testing.shell import CommandRun, Shell

_TOLD_LINES = 30


async def run_kept(
    command: str, live: LiveInstance, *, shell: Shell, kept: list[CommandRun], timeout_s: float
) -> CommandRun:
    """Run a command line in a machine; add it to `kept`, and to the machine's evidence.

    Raises ImageFailure where it does not end in time or nobody answers, ValueError for what
    cannot be asked.
    """
    require_command(command)
    limit_s = whole_seconds(timeout_s)
    started_s = time.monotonic()
    try:
        done = await shell.run(command, timeout_s=limit_s)
    except ImageFailure as failure:
        await _note(live, command, None, started_s=started_s, said=str(failure))
        # It may not have answered because the machine, or the host, ended it.
        await live.settle()
        live.require_running()
        raise ImageFailure(f"{failure}{live.told_console()}") from None
    done = replace(done, seconds=round(time.monotonic() - started_s, 3))
    kept.append(done)
    await _note(live, command, done.exit_code, started_s=started_s, said=done.output)
    return done


async def _note(
    live: LiveInstance, command: str, status: int | None, *, started_s: float, said: str
) -> None:
    entry = CommandEntry(command, status, said, round(time.monotonic() - started_s, 3))
    await asyncio.to_thread(note_command, live.place.evidence, entry)


def require_command(command: str) -> None:
    """Raise ValueError for a text that no shell of a machine could be given."""
    size_bytes = len(command.encode("utf-8", "surrogateescape"))
    if size_bytes > COMMAND_LIMIT_BYTES:
        raise ValueError(
            f"a command of {size_bytes} bytes: {COMMAND_LIMIT_BYTES} are the most; "
            "let it fetch or write a script, and run that"
        )
    if "\0" in command:
        raise ValueError("a command with a NUL in it: no program can be given that")


def whole_seconds(timeout_s: float) -> int:
    """Return a limit on a command in whole seconds, rounded up. Raises ValueError below one."""
    if not 1 <= timeout_s < math.inf:
        raise ValueError(f"timeout_s={timeout_s!r}: a command is given 1 s at least")
    return math.ceil(timeout_s)


def told_run(done: CommandRun, what: str) -> str:
    """Return how a command that ended wrongly is told: what it must do, and what it said."""
    said = "".join(f"\n  | {line}" for line in done.output.splitlines()[-_TOLD_LINES:])
    return f"{done.command}: {what}, ended with {done.exit_code}.{said or ' It said nothing.'}"
