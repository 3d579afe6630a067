"""What the endpoint gets wrong on request: throttling, errors, time-outs and cut connections."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgforge.errors import BadInputError

_SPEC = re.compile(
    r"([a-z-]+)(?:=([0-9]{1,6})ms)?(?::(\w+|\*))?(?:@([0-9]{1,6})(\+|/[1-9][0-9]{0,5})?)?"
)


class FaultKind(StrEnum):
    """What goes wrong. `cut-after` does what is asked, and the answer is lost."""

    THROTTLE = "throttle"
    ERROR = "error"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    EXPIRED = "expired"
    TIMEOUT = "timeout"
    SLOW = "slow"
    CUT = "cut"
    CUT_AFTER = "cut-after"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one action, or of all ("*").

    It comes with the `first` request for it, counted from 1, and then with every `step`th; 0 is
    never again.
    """

    kind: FaultKind
    action: str = "*"
    first: int = 1
    step: int = 1
    delay_ms: int = 0

    def hits(self, number: int) -> bool:
        """Tell whether it comes with this request, counted from 1."""
        past = number - self.first
        return past == 0 or (past > 0 and self.step > 0 and past % self.step == 0)


def parse_fault(text: str) -> Fault:
    """Return the fault that KIND[=MSms][:ACTION][@N[+|/STEP]] says. Raises BadInputError."""
    match = _SPEC.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        kind = FaultKind(match[1])
    except ValueError:
        raise BadInputError(
            f"Fault {text!r}: is none. KIND[:ACTION][@N] is needed, KIND being one of "
            f"{', '.join(FaultKind)}.",
            hint="As in throttle:PutSnapshotBlock@3/5: the third of its requests, then each fifth.",
        ) from None
    first, rest = match[4], match[5]
    step = 1 if first is None or rest == "+" else int(rest[1:]) if rest else 0
    return Fault(kind, match[3] or "*", int(first or 1), step, int(match[2] or 0))


class CutError(Exception):
    """The connection ends without an answer: a fault that was asked for."""


class Faults:
    """Those that are asked for, and how often each action was; safe between threads."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._asked = [0] * len(self._faults)
        self._turn = threading.Lock()

    def meet(self, action: str) -> Fault | None:
        """Count a request for an action; return the fault that comes with it, if one does."""
        with self._turn:
            met = None
            for index, fault in enumerate(self._faults):
                if fault.action in {"*", action}:
                    self._asked[index] += 1
                    if met is None and fault.hits(self._asked[index]):
                        met = fault
            return met
