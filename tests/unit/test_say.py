"""Lines for people: folded between words on a terminal, whole everywhere else."""

import io

import pytest

from imgforge.cli.terminal import PlainConsole, say

LINE = "    needed: an EFI system partition (/a/very/long/path/of/one/file/that/is/copied) there"


def said(text: str, *, width: int, is_terminal: bool) -> list[str]:
    written = io.StringIO()
    console = PlainConsole(file=written, width=width, force_terminal=is_terminal, no_color=True)
    say(console, text)
    return written.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60])
def test_no_word_is_cut_on_a_narrow_terminal(width: int) -> None:
    lines = said(LINE, width=width, is_terminal=True)
    assert [word for line in lines for word in line.split()] == LINE.split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)


def test_a_folded_line_goes_on_where_it_began() -> None:
    assert all(line.startswith("    ") for line in said(LINE, width=40, is_terminal=True))


def test_a_pipe_gets_each_line_whole() -> None:
    assert said(f"one\n\n{LINE}", width=40, is_terminal=False) == ["one", "", LINE]


def test_empty_lines_stay_on_a_terminal() -> None:
    assert said("one\n\ntwo", width=40, is_terminal=True) == ["one", "", "two"]
