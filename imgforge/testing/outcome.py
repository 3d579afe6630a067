"""How a test ended, concluded from its phases, and how the whole run is told and ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgforge.errors import ExitCode
from imgforge.report import TestOutcome, visible
from imgforge.testing.told import FailureKind, fill, reason_of, said_of

_NAME_ROWS = 3


class PhaseEnd(StrEnum):
    """How setup, call or teardown of a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Phase:
    """A test's setup, call or teardown, of its first attempt (0) or a later one.

    `kind` and `text` are of a failure; `reason` is why it was skipped; after the one that
    `is_last` (its teardown, or a worker's death) the test has come to its end.
    """

    attempt: int
    end: PhaseEnd
    seconds: float = 0.0
    kind: FailureKind = FailureKind.TEST
    text: str = ""
    reason: str = ""
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a test ended; `failure` is the text of the attempt that failed."""

    outcome: TestOutcome
    seconds: float = 0.0
    failure: str = ""
    reason: str = ""


def conclude(phases: Sequence[Phase], *, quarantine: str = "") -> Conclusion:
    """Return how a test ended; `quarantine` says why and until when its failure is not counted."""
    last = max((phase.attempt for phase in phases), default=0)
    seconds = round(sum(phase.seconds for phase in phases), 3)
    failed = [phase for phase in phases if phase.end is PhaseEnd.FAILED]
    now = [phase for phase in failed if phase.attempt == last]
    if now:
        # A quarantine is about the image: it hides no failure of the host.
        counted = [phase for phase in now if phase.kind is FailureKind.HARNESS or not quarantine]
        text = "\n\n".join(phase.text for phase in counted or now)
        if not counted:
            return Conclusion(TestOutcome.QUARANTINED, seconds, text, quarantine)
        now = counted
        harness = all(phase.kind is FailureKind.HARNESS for phase in now)
        outcome = TestOutcome.HARNESS if harness else TestOutcome.IMAGE
        return Conclusion(outcome, seconds, text)
    if not any(phase.is_last for phase in phases if phase.attempt == last):
        return Conclusion(TestOutcome.HARNESS, seconds, "The run ended before the test did.")
    if failed:
        harness = all(phase.kind is FailureKind.HARNESS for phase in failed)
        reason = "it was the harness that failed, not the image" if harness else ""
        return Conclusion(TestOutcome.FLAKY, seconds, failed[0].text, reason)
    for phase in phases:
        if phase.end is PhaseEnd.SKIPPED:
            return Conclusion(TestOutcome.SKIPPED, seconds, reason=phase.reason)
    return Conclusion(TestOutcome.PASSED, seconds)


def exit_code(conclusions: Sequence[Conclusion]) -> int:
    """Return what a run ends with whose only trouble is its tests."""
    outcomes = {conclusion.outcome for conclusion in conclusions}
    if TestOutcome.IMAGE in outcomes:
        return ExitCode.IMAGE_REJECTED
    return ExitCode.HOST_OR_TOOL if TestOutcome.HARNESS in outcomes else ExitCode.DONE


def closing_lines(
    conclusions: Mapping[str, Conclusion], *, width: int, most_lines: int
) -> list[str]:
    """Return the last words on a run that failed: what, where and what to do, in few lines.

    `conclusions` are by test. None where nothing failed. The first failure of the image is told,
    or, without one, the first of the harness; those with the same reason are counted with it, and
    the others are named in a line of their own.
    """
    by_image = _failed(conclusions, TestOutcome.IMAGE)
    failed = {**by_image, **_failed(conclusions, TestOutcome.HARNESS)}
    if not failed:
        return []
    first, conclusion = next(iter(failed.items()))
    reason = reason_of(conclusion.failure)
    others = [
        test
        for test, other in failed.items()
        if (other.outcome, reason_of(other.failure)) != (conclusion.outcome, reason)
    ]
    same = len(failed) - len(others)
    word = "FAILED" if conclusion.outcome is TestOutcome.IMAGE else "HARNESS"
    count = f" (and {same - 1} more for the same reason)" if same > 1 else ""
    # Whole, for the terminal to wrap: a name that was cut cannot be given to pytest.
    name = visible(f"{word} {first}{count}").replace("\n", " ")
    name_rows = -(-len(name) // width)
    lines = [name] if name_rows <= _NAME_ROWS else fill(name, width=width, most_lines=_NAME_ROWS)
    said = [] if len(reason) > 1 else said_of(conclusion.failure)[-2:]
    parts = [*reason[:2], *(f"| {line}" for line in said if line.strip())]
    needed = [len(fill(part, width=width, most_lines=most_lines)) for part in parts]
    room = most_lines - min(name_rows, _NAME_ROWS) - bool(others)
    for part, share in zip(parts, _shares(needed, room), strict=True):
        lines += fill(part, width=width, most_lines=share)
    return [*lines, *_name_others(others, width=width)]


def _name_others(others: Sequence[str], *, width: int) -> list[str]:
    """Return a line that says how many other tests failed, and names as many as it has room for."""
    if not others:
        return []
    count = f"and {len(others)} other{'s' if len(others) > 1 else ''}:"
    names = [test.rpartition("/")[2].partition("::")[2] or test for test in others]
    return fill(f"{count} {', '.join(names)}", width=width, most_lines=1)


def _shares(needed: Sequence[int], most: int) -> list[int]:
    """Return how many lines each part gets of `most`: those that need the most give way."""
    shares = list(needed)
    while sum(shares) > most and max(shares) > 1:
        shares[shares.index(max(shares))] -= 1
    return shares


def _failed(conclusions: Mapping[str, Conclusion], outcome: TestOutcome) -> dict[str, Conclusion]:
    return {test: ended for test, ended in conclusions.items() if ended.outcome is outcome}
