"""Waiting for what EC2 makes: it tells nobody when that is done, so it is asked again."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from imgforge.errors import CloudError, HostError
from imgforge.progress import report

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 15.0
_UNKNOWN_LIMIT_S = 60.0
"""EC2 may not know for a while what it has just made (EC2 API, Eventual consistency)."""
# Such as InvalidAMIID.NotFound, InvalidSnapshot.NotFound.
_NOT_FOUND = ".NotFound"
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for, and how long at most; `what` is the object, as "Image ami-…"."""

    what: str
    needed: str
    limit_s: float


def wait_for(
    wait: Wait, look: Callable[[], Found], *, state_of: Callable[[Found], str], pending: set[str]
) -> Found:
    """Look until the state is the one that is needed; return what was seen then.

    Raises CloudError (the state) for a state that leads nowhere, HostError where it lasts longer
    than the limit.
    """
    began_s = time.monotonic()
    pause_s, told = _FIRST_PAUSE_S, ""
    unknown_end_s = began_s + min(_UNKNOWN_LIMIT_S, wait.limit_s)
    while True:
        try:
            found = look()
        except CloudError as error:
            if not error.code.endswith(_NOT_FOUND) or time.monotonic() >= unknown_end_s:
                raise
            state = "not known yet"
        else:
            state = state_of(found)
            if state == wait.needed:
                return found
            if state not in pending:
                raise CloudError(
                    f"{wait.what}: is {state}; {wait.needed} was waited for.", code=state
                )
        passed_s = time.monotonic() - began_s
        if passed_s >= wait.limit_s:
            raise HostError(
                f"{wait.what}: was still {state} after {wait.limit_s:g} s; {wait.needed} was "
                "waited for.",
                hint="It may become so yet: run the command again, it goes on from there.",
            )
        if state != told:
            report(f"{wait.what}: {state}, waiting until it is {wait.needed}")
            told = state
        threading.Event().wait(min(pause_s, wait.limit_s - passed_s))
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
