"""What was looked at in a bundle, and what came of it."""

from dataclasses import dataclass
from enum import StrEnum

_PROOFS = ("signature", "digest")
_OF_KEYS = ("certificate-key", "key", "ec2-key")


class Outcome(StrEnum):
    """What came of a check: one that could not be made is no good one."""

    OK = "ok"
    FAILED = "failed"
    WARNING = "warning"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Check:
    """One look at a bundle; `id` stays the same from version to version."""

    id: str
    outcome: Outcome
    words: str


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of a bundle, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def is_good(self) -> bool:
        """Tell whether nothing failed; warnings, and what could not be checked, leave it good."""
        return all(check.outcome is not Outcome.FAILED for check in self.checks)

    @property
    def is_proved(self) -> bool:
        """Tell whether nothing failed, and it is known whose it is, and that it holds an image."""
        return self.is_good and not set(_PROOFS) & set(self.unchecked)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The ids of what was not checked of the bundle; keys that were not given are none."""
        found = (check.id for check in self.checks if check.outcome is Outcome.UNCHECKED)
        return tuple(one for one in dict.fromkeys(found) if one not in _OF_KEYS)

    @property
    def failed(self) -> tuple[str, ...]:
        """The ids of what failed, each once."""
        failed = (check.id for check in self.checks if check.outcome is Outcome.FAILED)
        return tuple(dict.fromkeys(failed))
