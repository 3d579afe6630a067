"""Values for the shapes of botocore's models, made by hypothesis."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

_DEEPEST = 4
Words = Mapping[str, Sequence[str]]
# What XML can carry; a carriage return becomes a line feed in it (XML 1.0, 2.11).
TEXT = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"
    ),
    max_size=40,
)
_TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
_WORDS = ("a", "ami-12345678", "snap-0123456789abcdef0", "self", "all", "1", "*")


def values_of(
    shape: Any, *, depth: int = 0, words: Words | None = None, name: str = ""
) -> st.SearchStrategy[Any]:
    """Return a strategy for values that the model allows; none is empty where that says nothing.

    `words` are texts that are likely, by the end of their member's name ("" is any), beside others.
    """
    match shape.type_name:
        case "structure":
            return _structures(shape, depth, words)
        case "list":
            inner = values_of(shape.member, depth=depth + 1, words=words, name=name)
            least, most = shape.metadata.get("min", 1), shape.metadata.get("max", 3)
            return st.lists(inner, min_size=max(1, least), max_size=max(1, least, min(3, most)))
        case "map":
            values = values_of(shape.value, depth=depth + 1, words=words, name=name)
            return st.dictionaries(values_of(shape.key, depth=depth + 1), values, max_size=2)
        case "integer" | "long":
            bits = 31 if shape.type_name == "integer" else 63
            least = shape.metadata.get("min", -(2**bits))
            most = shape.metadata.get("max", 2**bits - 1)
            small = st.integers(max(least, 0), min(most, 10)) if least <= 10 else st.just(least)
            return st.one_of(small, st.integers(least, most))
        case "boolean":
            return st.booleans()
        case "float" | "double":
            return st.integers(-1000, 1000).map(lambda number: number / 4)
        case "timestamp":
            return _TIMES.map(lambda time: time.replace(microsecond=0))
        case "blob":
            return st.binary(max_size=20)
        case _:
            return _texts(shape, words, name)


def _texts(shape: Any, words: Words | None, name: str) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 40)
    known = words or {"": _WORDS}
    likely = st.sampled_from(next(found for end, found in known.items() if name.endswith(end)))
    anything = st.one_of(likely, likely, likely, st.sampled_from(known[""]), TEXT)
    if words is None and least >= 2:
        return st.text("abc-", min_size=least, max_size=most)
    return anything.filter(lambda text: least <= len(text) <= most)


def _structures(shape: Any, depth: int, words: Words | None) -> st.SearchStrategy[dict[str, Any]]:
    members = {
        name: values_of(inner, depth=depth + 1, words=words, name=name)
        for name, inner in shape.members.items()
        if depth < _DEEPEST or inner.type_name not in {"structure", "list"}
    }
    needed = {name: members[name] for name in shape.required_members if name in members}
    rest = {name: strategy for name, strategy in members.items() if name not in needed}
    if words is None or not rest:
        return st.fixed_dictionaries(needed, optional=rest).filter(bool)
    # A few at a time: what is asked together seldom makes sense.
    return st.lists(st.sampled_from(sorted(rest)), max_size=4, unique=True).flatmap(
        lambda some: st.fixed_dictionaries({**needed, **{name: rest[name] for name in some}})
    )
