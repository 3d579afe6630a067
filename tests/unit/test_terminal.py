"""What is printed stands there as it is: rich's own language is not for file names and lines."""

import io
import logging

import pytest
from rich.console import Console

from imgforge.cli.bars import shown_bars
from imgforge.cli.command_line import run_command_line
from imgforge.cli.terminal import stderr_console, stdout_console

WORDS = "(hd0)/boot/grub/menu.lst:100:1: :smile: [bold]x[/bold] \\[y"


def test_no_colon_word_becomes_an_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (stdout_console(), stderr_console()):
        console.print(WORDS, markup=False, soft_wrap=True)
        console.print("[bold]menu.lst:100:1[/bold]", soft_wrap=True)
    said = capsys.readouterr()
    assert said.out == said.err == f"{WORDS}\nmenu.lst:100:1\n"


def test_a_bar_shows_its_words_as_they_are() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, emoji=False)
    with shown_bars(console) as handler:
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, WORDS, None, None))
    assert WORDS in written.getvalue()


HOSTILE = "a\x1b[31m\x9b2J\r\x07\u202eb\udcff\tc\nd\u00a0é"
SHOWN = "a\\x1b[31m\\x9b2J\\r\\x07\\u202eb\\udcff"


def test_what_would_command_the_terminal_is_shown_and_not_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for console in (stdout_console(), stderr_console()):
        console.print(HOSTILE, markup=False, soft_wrap=True)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert text.startswith(SHOWN)
        assert "\x1b" not in text.replace("\\x1b", "")
        assert text.endswith("c\nd\u00a0é\n")


def test_a_bar_sends_no_command_to_the_terminal() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, emoji=False)
    with shown_bars(console) as handler:
        for level in (logging.INFO, logging.WARNING):
            handler.emit(logging.LogRecord("x", level, "", 0, "a\x1b[31mb\x9b", None, None))
    assert written.getvalue().count("a\\x1b[31mb\\x9b") == 2
    assert "\x9b" not in written.getvalue()


def test_an_argument_that_is_echoed_commands_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command_line(["images", "copy", "x", "--to", "\x1b[31m\x9b="]) == 2
    assert run_command_line(["images", "sh\x1b[31m"]) == 2
    assert run_command_line(["recipe", "check", "/\x1b[31m.toml"]) == 2
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\x9b" not in said.out + said.err
