r"""EC2's filters: names, values with wildcards, and pages, as conditions of SQL.

Source: EC2 API, Filter: * stands for any characters, ? for one, \ takes their meaning away;
values of a filter are alternatives, filters hold together.
"""

import base64
import binascii
import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgforge.catalog.refusal import RefusedError, combination, invalid_value
from imgforge.catalog.session import Parameters

_MOST_FILTERS = 50
_MOST_VALUES = 200
_MOST_LETTERS = 4096


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of SQL, with its values."""

    text: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Among:
    """What a filter looks at in rows of another table: EXISTS (`rows` AND `expression` …)."""

    rows: str
    expression: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The same where an index finds the rows: IN (`ids` AND `expression` …), which leads to few."""

    ids: str
    expression: str


Filterable = Mapping[str, str | Among | Chosen]
"""By the filter's name: an expression of text, or what to look at in other rows."""


def conditions(
    parameters: Parameters, filterable: Filterable, *, resource_id: str
) -> list[Condition]:
    """Return what a request's filters mean. Raises RefusedError for one that is not known.

    `resource_id` is the expression of a resource's id, for its tags; "" where rows t are tags.
    """
    given = parameters.get("Filters", [])
    if len(given) > _MOST_FILTERS:
        raise RefusedError(
            "FilterLimitExceeded", f"The maximum number of filters is {_MOST_FILTERS}."
        )
    return [_condition(one, filterable, resource_id) for one in given]


def _condition(given: Mapping[str, Any], filterable: Filterable, resource_id: str) -> Condition:
    name = given.get("Name", "")
    values = given.get("Values", [])
    if not values:
        raise RefusedError(
            "InvalidParameterValue", f"The filter '{name[:100]}' needs values: none are given"
        )
    if len(values) > _MOST_VALUES:
        raise RefusedError(
            "FilterLimitExceeded", f"The maximum number of values of a filter is {_MOST_VALUES}."
        )
    if name.startswith("tag:"):
        matched = _matches("t.value", values)
        if not resource_id:  # the tag itself is looked for
            return Condition(f"(t.key = ? AND {matched.text})", (name[4:], *matched.values))
        rows = f"SELECT t.resource_id FROM tags t WHERE t.key = ? AND {matched.text}"  # noqa: S608 (this room's names)
        return Condition(f"{resource_id} IN ({rows})", (name[4:], *matched.values))
    if name == "tag-key" and resource_id:
        matched = _matches("t.key", values)
        rows = f"SELECT 1 FROM tags t WHERE t.resource_id = {resource_id} AND {matched.text}"  # noqa: S608 (this room's names)
        return Condition(f"EXISTS ({rows})", matched.values)
    place = filterable.get(name)
    if place is None:
        raise RefusedError("InvalidParameterValue", f"The filter '{name[:100]}' is invalid")
    if isinstance(place, Among):
        matched = _matches(place.expression, values)
        return Condition(f"EXISTS ({place.rows} AND {matched.text})", matched.values)
    if isinstance(place, Chosen):
        matched = _matches(place.expression, values)
        return Condition(f"{resource_id} IN ({place.ids} AND {matched.text})", matched.values)
    return _matches(place, values)


def _matches(expression: str, values: Sequence[str]) -> Condition:
    parts = []
    arguments = []
    for value in values:
        if len(value) > _MOST_LETTERS:
            raise invalid_value(value[:40] + "…", "Value", why="It is too long.")
        pattern = glob_of(value)
        if pattern is None:
            parts.append(f"{expression} = ?")
            arguments.append(_unescape(value))
        else:
            parts.append(f"{expression} GLOB ?")
            arguments.append(pattern)
    return Condition(f"({' OR '.join(parts)})", tuple(arguments))


def glob_of(value: str) -> str | None:
    """Return SQLite's GLOB of a filter's value; None where it has no wildcard."""
    pieces: list[str] = []
    is_pattern = False
    letters = iter(value)
    for letter in letters:
        if letter == "\\":
            letter = next(letters, "\\")
            pieces.append(f"[{letter}]" if letter in "*?[" else letter)
        elif letter in "*?":
            is_pattern = True
            # GLOB takes time by each star: two of them mean one.
            if letter != "*" or pieces[-1:] != ["*"]:
                pieces.append(letter)
        else:
            pieces.append("[[]" if letter == "[" else letter)
    return "".join(pieces) if is_pattern else None


def _unescape(value: str) -> str:
    letters = iter(value)
    return "".join(next(letters, "\\") if letter == "\\" else letter for letter in letters)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of what is found is asked for: rows after `after`, at most `size` of them."""

    after: int
    size: int | None
    digest: str

    @property
    def limit(self) -> str:
        """The end of a statement that finds one row more than the page has."""
        return "" if self.size is None else f" LIMIT {self.size + 1}"

    def cut(self, rows: list[sqlite3.Row]) -> tuple[list[sqlite3.Row], dict[str, str]]:
        """Return the page's rows, each with its `number`, and NextToken where more follow."""
        if self.size is None or len(rows) <= self.size:
            return rows, {}
        rows = rows[: self.size]
        return rows, {"NextToken": self.token(rows[-1]["number"])}

    def token(self, last: int) -> str:
        """Return the token of the page that follows the row `last`."""
        text = json.dumps([last, self.digest]).encode()
        return base64.urlsafe_b64encode(text).decode("ascii")


def read_page(parameters: Parameters, *, least: int, most: int, ids: str = "") -> Page:
    """Return the page that a request wants.

    `ids` is the parameter that goes with no paging. Raises RefusedError for a size that is not
    allowed, and for a token of another request.
    """
    size = parameters.get("MaxResults")
    if size is not None:
        if not least <= size <= most:
            message = f"Value ( {size} ) for parameter maxResults is invalid. "
            raise RefusedError(
                "InvalidParameterValue", f"{message}Expecting a value from {least} to {most}."
            )
        if ids and parameters.get(ids):
            raise combination(f"The parameter {ids} cannot be used with the parameter maxResults")
    asked = {
        key: value for key, value in parameters.items() if key not in {"NextToken", "MaxResults"}
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[
        :16
    ]
    token = parameters.get("NextToken")
    if not token:
        return Page(0, size, digest)
    try:
        after, of = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        after, of = None, None
    if (
        not isinstance(after, int)
        or isinstance(after, bool)
        or of != digest
        or not 0 <= after < 2**62
    ):
        raise RefusedError("InvalidNextToken", "The specified NextToken is not valid.")
    return Page(after, size, digest)
