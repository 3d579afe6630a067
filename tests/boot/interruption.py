"""A command is interrupted at a moment, and must leave nothing that runs."""

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.boot.command_line import Room

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Moment:
    """So many seconds after stderr said `after`; without a text, after Python was up."""

    after: str
    delay_s: float


def interrupt(
    room: Room, words: Iterable[str | Path], moment: Moment, number: signal.Signals
) -> bool:
    """Interrupt a command at a moment; tell whether it still ran then."""
    with room.start(*words) as running:
        running.meets_signals()
        if moment.after:
            running.saw(moment.after)
        if moment.delay_s:
            running.runs_for(moment.delay_s)
        ended = running.interrupt(number)
    room.assert_no_process_is_left()
    assert "Traceback" not in ended.stderr, ended.stderr
    if ended.exit_code == 0:  # it was faster
        return False
    if number is signal.SIGKILL:
        assert ended.exit_code == -signal.SIGKILL
    else:
        assert ended.exit_code == 130, (moment, number, ended)
        assert "Interrupted" in ended.stderr
        if ended.stdout:  # it had told its outcome, and was on its way out
            return False
    return True
