"""Where in a TOML text a key stands: what tomllib does not tell."""

import re
from collections.abc import Sequence

_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=""")

Step = str | int


def line_of(text: str, path: Sequence[Step]) -> int:
    """Return the 1-based line of `path` in `text`, or of its nearest parent that is written there.

    `path` is a list of keys and array indexes, as pydantic gives the place of an error. What
    stands inside a multi-line or inline value is found at the line where that value begins.
    """
    best_line, best_length = 1, 0
    for line_number, found in _written_paths(text):
        length = _shared_length(found, path)
        if length == len(found) and length > best_length:
            best_line, best_length = line_number, length
    return best_line


def _written_paths(text: str) -> list[tuple[int, tuple[Step, ...]]]:
    paths: list[tuple[int, tuple[Step, ...]]] = []
    table: tuple[Step, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for line_number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            names = _split(header[2])
            if header[1] == "[[":
                counts[names] = counts.get(names, -1) + 1
            table = _with_indexes(names, counts)
            paths.append((line_number, table))
        elif key := _KEY.match(line):
            paths.append((line_number, (*table, *_split(key[1]))))
    return paths


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))


def _with_indexes(names: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for depth, name in enumerate(names, start=1):
        steps.append(name)
        if names[:depth] in counts:
            steps.append(counts[names[:depth]])
    return tuple(steps)


def _shared_length(left: Sequence[Step], right: Sequence[Step]) -> int:
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length
