"""The quarantine: tests whose failure is known and does not count, each until a date."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgforge.errors import BadInputError
from imgforge.report import TestOutcome
from imgforge.toml_position import line_of

_LARGEST_BYTES = 2**20
_EXAMPLE = (
    '[[quarantine]] with test = "tests/test_x.py::test_y", reason = "…", expires = 2027-01-31'
)


class QuarantineEntry(BaseModel):
    """A test, by its node id or a pattern of fnmatch; why; and the last day on which it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    test: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: date

    def matches(self, test: str) -> bool:
        """Tell whether it is about a test, told by its node id."""
        return self.test == test or fnmatchcase(test, self.test)

    def told(self) -> str:
        """Return why and until when, as the report says it."""
        return f"{self.reason} (until {self.expires.isoformat()})"


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    quarantine: list[QuarantineEntry] = []


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The entries of a file, on a day."""

    entries: tuple[QuarantineEntry, ...] = ()
    today: date = date.max

    def reason_of(self, test: str) -> str:
        """Return why a test's failure does not count; "" where it counts."""
        holding = (entry for entry in self.entries if entry.expires >= self.today)
        return next((entry.told() for entry in holding if entry.matches(test)), "")

    def remarks(self, outcomes: Mapping[str, TestOutcome]) -> list[str]:
        """Return what should be changed in the file, after a run that ended in `outcomes`."""
        return [remark for entry in self.entries if (remark := self._remark(entry, outcomes))]

    def _remark(self, entry: QuarantineEntry, outcomes: Mapping[str, TestOutcome]) -> str:
        about = f"{entry.test} ({entry.reason})"
        found = [outcome for test, outcome in outcomes.items() if entry.matches(test)]
        if entry.expires < self.today:
            return f"{about}: expired on {entry.expires.isoformat()}: it counts no more."
        if not found:
            return f"{about}: no test of this run has such a name."
        if all(outcome is TestOutcome.PASSED for outcome in found):
            what = "it passes" if len(found) == 1 else f"all {len(found)} of its tests pass"
            return f"{about}: {what}: take it out."
        return ""


def load_quarantine(path: Path, *, today: date) -> Quarantine:
    """Read a quarantine file.

    Raises BadInputError naming file, line, what was found and what is allowed, for every rule
    broken at once.
    """
    text = _read_text(path)
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInputError(f"Quarantine {path}: not TOML: {error}.", hint=_hint()) from None
    try:
        file = _File.model_validate(values)
    except ValidationError as error:
        problems = [_describe(path, text, dict(problem)) for problem in error.errors()]
        raise BadInputError("\n".join(problems), hint=_hint()) from None
    return Quarantine(tuple(file.quarantine), today)


def _hint() -> str:
    return f"An entry is {_EXAMPLE}."


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInputError(f"Quarantine {path}: cannot be read: {reason}.") from None
    if len(content) > _LARGEST_BYTES:
        raise BadInputError(f"Quarantine {path}: it has more than {_LARGEST_BYTES} bytes.")
    return text.replace("\r\n", "\n")


def _describe(path: Path, text: str, problem: Mapping[str, Any]) -> str:
    place = tuple(problem["loc"])
    line = line_of(text, place)
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    key = key.lstrip(".")
    match problem["type"]:
        case "extra_forbidden":
            return f"{path}:{line}: unknown key {key!r}; allowed here: {_allowed(place)}"
        case "missing":
            return f"{path}:{line}: {key!r} is missing"
        case "date_type":
            found = _show(problem["input"])
            return f"{path}:{line}: {key}: must be a date such as 2027-01-31; found {found}"
        case _:
            message = str(problem["msg"])
            found = _show(problem["input"])
            return f"{path}:{line}: {key}: {message[0].lower()}{message[1:]}; found {found}"


def _allowed(place: Sequence[str | int]) -> str:
    model = _File if len(place) == 1 else QuarantineEntry
    return ", ".join(model.model_fields)


def _show(value: object) -> str:
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 80 else shown[:79] + "…"
