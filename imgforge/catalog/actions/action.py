"""The table of actions: by name, what does them and how."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from imgforge.catalog.session import Parameters, Result, Session

Doing = Callable[[Session, Parameters], Result]


class Access(StrEnum):
    """What an action does with the records: reads, changes them, or takes its own turns."""

    READ = "read"
    WRITE = "write"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Action:
    """An action: what does it, and whether the database is locked for it."""

    do: Doing
    access: Access


ACTIONS: dict[str, Action] = {}


def action(name: str, access: Access = Access.WRITE) -> Callable[[Doing], Doing]:
    """Put a function into the table."""

    def put(function: Doing) -> Doing:
        ACTIONS[name] = Action(function, access)
        return function

    return put
