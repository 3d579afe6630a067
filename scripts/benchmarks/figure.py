"""A figure: how many times as long as the bare programs imgforge takes, and its limit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

Measurement = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One ratio of medians; `measured` and `base` are all the single measurements, in `unit`."""

    name: str
    limit: float | None
    measured: tuple[float, ...]
    base: tuple[float, ...]
    words: str
    details: dict[str, float] = field(default_factory=dict)
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """The median measured over the median it is measured against."""
        return median(self.measured) / median(self.base)

    @property
    def is_within(self) -> bool:
        """Whether the limit is kept; a figure without one always does."""
        return self.limit is None or self.ratio <= self.limit

    def line(self) -> str:
        """Return the figure as one line of text."""
        limit = "" if self.limit is None else f"limit {self.limit:<4g}"
        verdict = "" if self.limit is None else "ok  " if self.is_within else "MISS"
        digits = 3 if self.unit == "s" else 0
        medians = " / ".join(
            f"{median(each):.{digits}f} {self.unit}" for each in (self.measured, self.base)
        )
        details = "".join(f"; {name} {value:.2f}" for name, value in self.details.items())
        said = f"{self.name:28} {self.ratio:6.3f}  {limit:10} {verdict:4}  {medians}"
        return f"{said}  {self.words}{details}"

    def as_json(self) -> dict[str, object]:
        """Return the figure for --json."""
        return {
            "name": self.name,
            "ratio": self.ratio,
            "limit": self.limit,
            "within": self.is_within,
            "measured": self.measured,
            "base": self.base,
            "unit": self.unit,
            "words": self.words,
            "details": self.details,
        }


def by_turns(
    measured: Measurement, base: Measurement, *, runs: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure both by turns, `runs` times, so that a busy host slows both alike."""
    pairs = [(base(), measured()) for _ in range(runs)]
    return tuple(ours for _, ours in pairs), tuple(bare for bare, _ in pairs)


def seconds(act: Callable[[], object]) -> float:
    """Return how long `act` takes, on the monotonic clock."""
    started = time.monotonic()
    act()
    return time.monotonic() - started
