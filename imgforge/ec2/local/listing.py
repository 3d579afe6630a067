"""A page of a listing: keys below a prefix, those behind a delimiter as one."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """Keys and common prefixes in order; `last` is where the next page goes on, None at the end."""

    keys: tuple[str, ...]
    prefixes: tuple[str, ...]
    last: str | None


def paginate(keys: Iterable[str], *, prefix: str, delimiter: str, after: str, most: int) -> Page:
    """Return the page of `keys`, which are in order, that begins behind `after`."""
    found: list[str] = []
    prefixes: list[str] = []
    last = after
    for key in keys:
        if not key.startswith(prefix):
            continue
        common = _common(key, prefix, delimiter)
        name = common or key
        if name.encode() <= after.encode() or (prefixes and common == prefixes[-1]):
            continue
        if len(found) + len(prefixes) >= most:
            return Page(tuple(found), tuple(prefixes), last if most else None)
        (prefixes if common else found).append(name)
        last = name
    return Page(tuple(found), tuple(prefixes), None)


def _common(key: str, prefix: str, delimiter: str) -> str:
    if not delimiter:
        return ""
    head, found, _ = key[len(prefix) :].partition(delimiter)
    return prefix + head + delimiter if found else ""
