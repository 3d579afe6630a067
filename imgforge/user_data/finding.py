"""What is to be said of user data."""

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """How much a finding matters: an error keeps something from taking effect."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about user data, by its id: what was found, what is needed, what to do."""

    id: str
    weight: Weight
    found: str
    needed: str = ""
    hint: str = ""

    def __str__(self) -> str:
        needed = f"; {self.needed}" if self.needed else ""
        return f"{self.id}: {self.found}{needed}"


def error(identity: str, found: str, needed: str = "", *, hint: str = "") -> Finding:
    """Return a finding that keeps something from taking effect."""
    return Finding(identity, Weight.ERROR, found, needed, hint)


def warning(identity: str, found: str, needed: str = "", *, hint: str = "") -> Finding:
    """Return a finding that hardly anybody means."""
    return Finding(identity, Weight.WARNING, found, needed, hint)


def note(identity: str, found: str, needed: str = "", *, hint: str = "") -> Finding:
    """Return a finding that is good to know."""
    return Finding(identity, Weight.NOTE, found, needed, hint)
