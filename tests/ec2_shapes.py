"""Values for the shapes of botocore's models, made by hypothesis."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

_DEEPEST = 4
# What XML can carry; a carriage return becomes a line feed in it (XML 1.0, 2.11).
TEXT = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"
    ),
    max_size=40,
)
_TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
_WORDS = st.sampled_from(["a", "ami-12345678", "snap-0123456789abcdef0", "self", "all", "1", "*"])


def values_of(shape: Any, *, depth: int = 0) -> st.SearchStrategy[Any]:
    """Return a strategy for values that the model allows; none is empty where that says nothing."""
    match shape.type_name:
        case "structure":
            return _structures(shape, depth)
        case "list":
            inner = values_of(shape.member, depth=depth + 1)
            least, most = shape.metadata.get("min", 1), shape.metadata.get("max", 3)
            return st.lists(inner, min_size=max(1, least), max_size=max(1, least, min(3, most)))
        case "integer" | "long":
            bits = 31 if shape.type_name == "integer" else 63
            least = shape.metadata.get("min", -(2**bits))
            return st.integers(least, shape.metadata.get("max", 2**bits - 1))
        case "boolean":
            return st.booleans()
        case "float" | "double":
            return st.integers(-1000, 1000).map(lambda number: number / 4)
        case "timestamp":
            return _TIMES.map(lambda time: time.replace(microsecond=0))
        case "blob":
            return st.binary(max_size=20)
        case _:
            return _texts(shape)


def _texts(shape: Any) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 40)
    fitting = st.one_of(_WORDS, TEXT).filter(lambda text: least <= len(text) <= most)
    return fitting if least < 2 else st.text("abc-", min_size=least, max_size=most)


def _structures(shape: Any, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    members = {
        name: values_of(inner, depth=depth + 1)
        for name, inner in shape.members.items()
        if depth < _DEEPEST or inner.type_name not in {"structure", "list"}
    }
    needed = {name: members[name] for name in shape.required_members if name in members}
    rest = {name: strategy for name, strategy in members.items() if name not in needed}
    return st.fixed_dictionaries(needed, optional=rest).filter(bool)
