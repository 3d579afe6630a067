"""Console bytes become lines."""

import random
import time

import pytest

from imgforge.machine.console_text import MAX_LINE_CHARACTERS, ConsoleText, strip_controls


def lines_of(*pieces: bytes) -> list[str]:
    text = ConsoleText()
    return [line for piece in pieces for line in text.feed(piece)] + text.finish()


def test_lines_end_with_any_mix_of_returns_and_feeds() -> None:
    assert lines_of(b"a\nb\r\nc\r\r\nd\n\re\rf") == ["a", "b", "c", "d", "e", "f"]


def test_an_unfinished_line_is_pending() -> None:
    text = ConsoleText()
    assert text.feed(b"GNU GRUB\r\ngrub> ") == ["GNU GRUB"]
    assert text.pending == "grub> "
    assert text.feed(b"boot\n") == ["grub> boot"]
    assert text.pending == ""


def test_escapes_are_stripped_however_they_are_cut() -> None:
    whole = b"\x1b[1;31mred\x1b[0m\x1b]0;title\x07 \x1bP1;2q\x1b\\text\x1b(B \xe2\x82\xac\r\nnext\n"
    expected = ["red text €", "next"]
    assert lines_of(whole) == expected
    for cut in range(len(whole)):
        assert lines_of(whole[:cut], whole[cut:]) == expected
    assert lines_of(*(whole[i : i + 1] for i in range(len(whole)))) == expected


def test_what_is_drawn_at_another_place_is_another_line() -> None:
    assert lines_of(b"\x1bc\x1b[2JGRUB\x1b[5;1Hminimal\x1b[6;1Hother") == [
        "GRUB",
        "minimal",
        "other",
    ]


def test_a_line_without_an_end_is_cut() -> None:
    text = ConsoleText()
    lines = [line for _ in range(100) for line in text.feed(b"x" * 1000)]
    assert {len(line) for line in lines} == {MAX_LINE_CHARACTERS}
    assert len(text.pending) <= MAX_LINE_CHARACTERS
    assert sum(map(len, lines)) + len(text.pending) == 100_000


def test_an_escape_without_an_end_takes_no_memory_and_hides_nothing_for_long() -> None:
    for start in (b"\x1b[", b"\x1b]", b"\x1bP", b"\x1b"):
        text = ConsoleText()
        for _ in range(100):
            text.feed(start + b"0" * 1000)
        lines = text.feed(b"\x07\nKernel panic\n")
        assert lines[-1] == "Kernel panic"
        assert len(text.pending) <= MAX_LINE_CHARACTERS


def test_bytes_that_are_not_utf8_and_tricks_with_direction_are_shown_harmlessly() -> None:
    (line,) = lines_of(b"a\xff\x00\x08b\xc3\x28 \xe2\x80\xaetxt.exe\xc2\x9b31m\n")
    assert line.startswith("a�b�( txt.exe")
    assert line.isprintable()


def test_empty_lines_are_told_once_in_a_row() -> None:
    assert lines_of(b"a\n\n\n\n", b"\n\n\nb\n") == ["a", "", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_give_printable_lines_of_bounded_length(seed: int) -> None:
    source = random.Random(seed)
    alphabet = b"\x1b[]P0;mHJ\r\n\x07\\ab\xe2\x82\xac\xff\x00"
    data = bytes(source.choices(alphabet, k=20_000))
    cuts = sorted(source.choices(range(len(data)), k=50))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    for line in lines_of(*pieces):
        assert len(line) <= MAX_LINE_CHARACTERS
        assert "\x1b" not in line
        assert "\n" not in line
        assert "\r" not in line


def test_a_flood_of_escapes_is_read_at_ten_megabytes_a_second_or_more() -> None:
    piece = b"\x1b[31mflood\x1b[0m of \x1b[2;5Htext\r\n" * 2000
    text = ConsoleText()
    started = time.process_time()
    for _ in range(100):
        text.feed(piece)
    seconds = time.process_time() - started
    assert 100 * len(piece) / seconds > 10e6


def test_what_is_shown_of_a_guest_is_one_clean_line() -> None:
    assert strip_controls("a\x1b[2Jb\r\nc\x00") == "a b c"
