"""Where a key stands in a TOML text."""

import random
import tomllib

import pytest

from imgforge.toml_position import Step, line_of

TEXT = """\
# a comment with key = 1
name = "x"
"quoted key" = 1
a.b = 2  # dotted

[disk]
size = "1G"
layouts = [
    "pv",
    "hvm-mbr",
]
inline = { one = 1, two = 2 }

[[boot.entries]]
title = "first"
[[boot.entries]]
title = "second"  # [not a table]
[boot.entries.extra]
deep = true

[ spaced . name ]
key=1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("quoted key",), 3),
        (("a", "b"), 4),
        (("disk",), 6),
        (("disk", "size"), 7),
        (("disk", "layouts"), 8),
        (("disk", "layouts", 1), 8),
        (("disk", "inline", "two"), 12),
        (("disk", "not written"), 6),
        (("boot", "entries", 0), 14),
        (("boot", "entries", 0, "title"), 15),
        (("boot", "entries", 1, "title"), 17),
        (("boot", "entries", 1, "extra", "deep"), 19),
        (("boot", "entries", 7, "title"), 1),
        (("spaced", "name", "key"), 22),
        (("nowhere",), 1),
        ((), 1),
    ],
)
def test_finds_the_line_of_a_key_or_of_its_nearest_parent(
    path: tuple[Step, ...], line: int
) -> None:
    tomllib.loads(TEXT)
    assert line_of(TEXT, path) == line


def test_a_key_inside_a_multi_line_string_is_not_taken_for_one() -> None:
    text = 'text = """\nname = "no"\n[disk]\n"""\nname = "yes"\n'
    assert tomllib.loads(text)["name"] == "yes"
    assert line_of(text, ("name",)) == 5


def test_a_table_inside_a_multi_line_literal_is_not_taken_for_one() -> None:
    text = "text = '''\n[disk]\n'''\nname = 1\n[disk]\nsize = 2\n"
    tomllib.loads(text)
    assert line_of(text, ("name",)) == 4
    assert line_of(text, ("disk", "size")) == 6


def test_elements_of_a_multi_line_array_are_not_taken_for_tables() -> None:
    text = "[disk]\nmatrix = [\n[1],\n]\nsize = 2\n"
    tomllib.loads(text)
    assert line_of(text, ("disk", "size")) == 5


def test_strings_that_open_and_close_on_one_line_hide_nothing() -> None:
    text = 'a = """one line"""\nb = "\\"\\"\\""  # """\nc = 3\n'
    tomllib.loads(text)
    assert line_of(text, ("c",)) == 3


@pytest.mark.parametrize(
    "text", ["", "\n", "[[[", "]]", "= = =", '"""', "\x00\xff", "[a\n[b", "[]"]
)
def test_garbage_gives_some_line_and_never_fails(text: str) -> None:
    assert line_of(text, ("a", 0, "b")) >= 1


def test_random_cuts_never_fail() -> None:
    dice = random.Random(2)  # a fixed seed
    for _ in range(300):
        start, end = sorted(dice.sample(range(len(TEXT)), 2))
        text = TEXT[start:end]
        assert 1 <= line_of(text, ("boot", "entries", 1, "title")) <= max(1, text.count("\n") + 1)


def test_a_long_hostile_line_takes_no_time() -> None:
    assert line_of("[" + " " * 50_000 + "x", ("x",)) == 1
    assert line_of("a" + ".a" * 50_000, ("x",)) == 1
    assert line_of("a" + " ." * 50_000, ("x",)) == 1
