"""Boot time against earlier boots of the same kind. Pure: where each mark of the plot stands."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgforge.report.report import BootEntry, BootOutcome, PastBoot

PLOT_HEIGHT = 160.0
_TOP, _BOTTOM = 14.0, 136.0
_LEFT_PERCENT, _RIGHT_PERCENT = 11.0, 98.0
_MOST_MARKS = 60


class MarkKind(StrEnum):
    """What a mark of the plot stands for."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOW = "now"


@dataclass(frozen=True, slots=True)
class Mark:
    """A boot in the plot: `x_percent` of its width, `y` in its pixels; `words` tell it."""

    kind: MarkKind
    x_percent: float
    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the plot, and the seconds it stands for."""

    y: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Plot:
    """Seconds to the login of earlier boots and of this one, oldest first."""

    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    median_y: float | None
    median_s: float | None
    words: str


def plot(boot: BootEntry, history: Sequence[PastBoot]) -> Plot | None:
    """Return the plot of a boot; None without an earlier boot of its kind to compare it with.

    Comparable are boots of the same layout and instance type, started in the same way under the
    same accelerator.
    """
    if boot.outcome is BootOutcome.UNJUDGED:
        return None
    kind = _comparable(boot)
    past = [earlier for earlier in history if _comparable(earlier) == kind][-_MOST_MARKS:]
    if not past:
        return None
    logins = [one.login_s for one in past if one.login_s is not None]
    step = _step(max([*logins, boot.login_s or 0.0, 0.001]))
    most = step * math.ceil(max([*logins, boot.login_s or 0.0, 0.001]) / step)
    told = [(_kind(one), one.login_s, _words(one)) for one in past]
    told.append((MarkKind.NOW, boot.login_s, f"this boot: {_login(boot.login_s)}"))
    median_s = statistics.median(logins) if logins else None
    return Plot(
        marks=tuple(
            Mark(kind, _x(number, len(told)), _y(login_s, most), words)
            for number, (kind, login_s, words) in enumerate(told)
        ),
        ticks=tuple(
            Tick(_y(seconds, most), seconds)
            for seconds in (round(step * n, 3) for n in range(round(most / step) + 1))
        ),
        median_y=None if median_s is None else _y(median_s, most),
        median_s=median_s,
        words=_compared(boot.login_s, median_s, count=len(past)),
    )


def _comparable(boot: BootEntry | PastBoot) -> tuple[str, ...]:
    return (boot.accelerator, boot.layout, boot.boot_method, boot.instance_type)


def _step(most: float) -> float:
    """Return a round step that makes three to six ticks up to `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * part for part in (0.2, 0.5, 1, 2) if most / (power * part) <= 6)


def _x(number: int, count: int) -> float:
    part = 1.0 if count == 1 else number / (count - 1)
    return round(_LEFT_PERCENT + part * (_RIGHT_PERCENT - _LEFT_PERCENT), 2)


def _y(seconds: float | None, most: float) -> float:
    return round(_BOTTOM - (seconds or 0.0) / most * (_BOTTOM - _TOP), 1)


def _kind(past: PastBoot) -> MarkKind:
    return MarkKind.ACCEPTED if past.accepted else MarkKind.REJECTED


def _words(past: PastBoot) -> str:
    verdict = "accepted" if past.accepted else "rejected"
    return f"{past.created:%Y-%m-%d %H:%M}: {verdict}, {_login(past.login_s)}"


def _login(seconds: float | None) -> str:
    return "no login" if seconds is None else f"login after {seconds:.1f} s"


def _compared(login_s: float | None, median_s: float | None, *, count: int) -> str:
    boots = "1 earlier boot" if count == 1 else f"{count} earlier boots"
    if median_s is None:
        return f"{_login(login_s)}; no earlier one let anybody in ({boots})"
    if login_s is None:
        return f"no login; the median of {boots} is {median_s:.1f} s"
    change = "" if median_s <= 0 else f" ({100 * (login_s / median_s - 1):+.0f} %)"
    return f"login after {login_s:.1f} s, the median of {boots} is {median_s:.1f} s{change}"
