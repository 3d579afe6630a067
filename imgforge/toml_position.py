"""Where in a TOML text a key stands: what tomllib does not tell."""

import re
from collections.abc import Iterator, Sequence

# What decides whether a line begins inside a value: strings hide everything, brackets nest.
_VALUE_PART = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]""",
    re.DOTALL,
)
_NAME = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\]|\\.)*)"|'([^']*)')[ \t]*""")

Step = str | int


def line_of(text: str, path: Sequence[Step]) -> int:
    """Return the 1-based line of `path` in `text`, or of its nearest parent that is written there.

    `path` is a list of keys and array indexes, as pydantic gives the place of an error. What
    stands inside a multi-line or inline value is found at the line where that value begins.
    """
    best_line, best_length = 1, 0
    for line_number, found in _written_paths(text):
        if len(found) > best_length and found == tuple(path[: len(found)]):
            best_line, best_length = line_number, len(found)
    return best_line


def _written_paths(text: str) -> Iterator[tuple[int, tuple[Step, ...]]]:
    table: tuple[Step, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for line_number, line in _statements(text):
        brackets = len(line) - len(line.lstrip("["))
        names, end = _read_key(line, brackets)
        if not names:
            continue
        if brackets == 0 and line[end : end + 1] == "=":
            yield line_number, (*table, *names)
        elif brackets in (1, 2) and line[end : end + brackets] == "]" * brackets:
            if brackets == 2:
                counts[names] = counts.get(names, -1) + 1
            table = _with_indexes(names, counts)
            yield line_number, table


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that begins outside of any value."""
    lines = text.split("\n")
    yield 1, lines[0].strip()
    line_number, depth = 1, 0
    for part in _VALUE_PART.finditer(text):
        match part[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth = max(0, depth - 1)
            case "\n":
                line_number += 1
                if depth == 0:
                    yield line_number, lines[line_number - 1].strip()
            case string_or_comment:
                line_number += string_or_comment.count("\n")


def _read_key(line: str, start: int) -> tuple[tuple[str, ...], int]:
    """Read a dotted key; return its names, none where there is no key, and where it ends."""
    names: list[str] = []
    while found := _NAME.match(line, start):
        names.append(next(group for group in found.groups() if group is not None))
        start = found.end()
        if line[start : start + 1] != ".":
            return tuple(names), start
        start += 1
    return (), start


def _with_indexes(names: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for depth, name in enumerate(names, start=1):
        steps.append(name)
        if names[:depth] in counts:
            steps.append(counts[names[:depth]])
    return tuple(steps)
