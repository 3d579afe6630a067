"""What is printed stands there as it is: rich's own language is not for file names and lines."""

import io
import logging

import pytest
from rich.console import Console

from imgforge.cli.bars import shown_bars
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
