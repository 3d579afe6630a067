"""Whether an answer has the form that botocore's model gives it: botocore itself does not look."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_MOST_INTEGER = 2**31
_MOST_LONG = 2**63
_KINDS: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "character": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (float, int),
    "double": (float, int),
    "timestamp": datetime,
    "blob": bytes,
}


def find_deformity(told: Any, shape: Any, *, name: str = "") -> str:
    """Return the first member that is not of its type, as "Images[0].Name"; "" where all are.

    `shape` is botocore's. Members that are missing are not told: most may be.
    """
    kind = shape.type_name
    if not _is_of(told, kind):
        return name or "what it is"
    for inner, value, member in _inside(told, shape, name):
        if found := find_deformity(value, member, name=inner):
            return found
    return ""


def _inside(told: Any, shape: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is within: its name, its value, its shape."""
    match shape.type_name:
        case "structure":
            members = shape.members
            for key, value in told.items():
                if key in members:
                    yield f"{name}.{key}" if name else key, value, members[key]
        case "list":
            for number, value in enumerate(told):
                yield f"{name}[{number}]", value, shape.member
        case "map":
            for key, value in told.items():
                yield f"{name}[{key!r:.40}]", value, shape.value


def _is_of(told: Any, kind: str) -> bool:
    kinds: Any = _KINDS.get(kind, object)
    if not isinstance(told, kinds) or (kind != "boolean" and isinstance(told, bool)):
        return False
    match kind:
        case "integer":
            return bool(-_MOST_INTEGER <= told < _MOST_INTEGER)
        case "long":
            return bool(-_MOST_LONG <= told < _MOST_LONG)
        case "timestamp":
            try:
                told.astimezone(UTC)
            except (OverflowError, ValueError):  # of the year 1, or 9999
                return False
    return True
