"""A boot's stages as bars. Pure: where each begins and ends, in percent of the whole width."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgforge.report.report import BootEntry, StageEntry

_LEAST_WIDTH_PERCENT = 0.6


class BarState(StrEnum):
    """What became of a stage; UNSEEN: it was passed without a word of its own."""

    REACHED = "reached"
    UNSEEN = "unseen"
    FAILED = "failed"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Bar:
    """A stage: from its first sign to that of the next. The seconds are None where unknown."""

    name: str
    state: BarState
    start_percent: float = 0.0
    width_percent: float = 0.0
    at_s: float | None = None
    lasted_s: float | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The bars of a boot, from power-on to `end_s`."""

    bars: tuple[Bar, ...]
    end_s: float


def timeline(boot: BootEntry) -> Timeline | None:
    """Return a boot's bars; None where no stage is known.

    The last stage lasts to its own login or, without one, to the end of what was watched.
    """
    if not boot.stages:
        return None
    times = [stage.seconds for stage in boot.stages]
    sign_s = boot.sign.at_s if boot.sign else None
    watched_s = boot.seconds if boot.login_s is None else None
    ends = [value for value in (*times, boot.login_s, sign_s, watched_s) if value is not None]
    end_s = max(ends, default=0.0)
    bars = (
        _bar(stage, boot=boot, later=times[number:], end_s=end_s)
        for number, stage in enumerate(boot.stages, 1)
    )
    return Timeline(tuple(bars), end_s)


def _bar(stage: StageEntry, *, boot: BootEntry, later: Sequence[float | None], end_s: float) -> Bar:
    state = _state(stage, boot)
    at_s = stage.seconds
    if at_s is None or end_s <= 0:
        return Bar(stage.name, state, at_s=at_s)
    until_s = next((seconds for seconds in later if seconds is not None and seconds >= at_s), end_s)
    width = max(_LEAST_WIDTH_PERCENT, 100 * (until_s - at_s) / end_s)
    return Bar(
        stage.name,
        state,
        start_percent=round(min(100 * at_s / end_s, 100 - width), 2),
        width_percent=round(width, 2),
        at_s=at_s,
        lasted_s=until_s - at_s,
    )


def _state(stage: StageEntry, boot: BootEntry) -> BarState:
    if stage.name == boot.failed_stage:
        return BarState.FAILED
    if not stage.reached:
        return BarState.MISSED
    return BarState.UNSEEN if stage.seconds is None else BarState.REACHED
