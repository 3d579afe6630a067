"""What stands in an evidence folder is read within bounds, whatever it is."""

import json
from pathlib import Path

import pytest

from imgforge.report import (
    ConsoleExcerpt,
    ConsoleLine,
    RequestEntry,
    read_boot,
    read_console,
    read_requests,
    read_screenshot,
)
from imgforge.report.evidence import last_lines, shorten
from imgforge.report.text import console_text, cut, visible

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
REQUEST = {
    "at_s": 4.5,
    "method": "GET",
    "path": "/latest/",
    "status": 200,
    "token": True,
    "user_agent": "curl/7",
    "version": "latest",
}


def test_a_line_of_the_console_has_its_time_and_its_text(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text("[    0.122] SeaBIOS\n[  100.000] \n[12345.678]  x ]\n")
    console = read_console(tmp_path)
    assert console == ConsoleExcerpt(
        (ConsoleLine(0.122, "SeaBIOS"), ConsoleLine(100.0, ""), ConsoleLine(12345.678, " x ]"))
    )


@pytest.mark.parametrize(
    ("line", "at_s", "text"),
    [
        (b"no stamp", None, "no stamp"),
        (b"[    0.1", None, "[    0.1"),
        (b"[   -1.000] x", None, "[   -1.000] x"),
        (b"[    1.000]x", 1.0, "x"),
        (b"[    1.000] \xff\xfe", 1.0, "\ufffd\ufffd"),
        ("[    1.000] a\u2028b\x85c\x0bd\re".encode(), 1.0, "a\u2028b\x85c\x0bd\re"),
        (b"[9999999999999999.000] x", None, "[9999999999999999.000] x"),
    ],
)
def test_a_line_of_the_console_that_is_torn_or_hostile_is_one_line(
    tmp_path: Path, line: bytes, at_s: float | None, text: str
) -> None:
    (tmp_path / "console.log").write_bytes(line)
    assert read_console(tmp_path) == ConsoleExcerpt((ConsoleLine(at_s, text),))


def test_an_empty_console_is_told_from_none(tmp_path: Path) -> None:
    assert read_console(tmp_path) is None
    (tmp_path / "console.log").touch()
    assert read_console(tmp_path) == ConsoleExcerpt(())


def test_of_a_long_console_the_beginning_and_the_end_are_read(tmp_path: Path) -> None:
    lines = [f"[{number:9.3f}] line {number}\n" for number in range(100_000)]
    (tmp_path / "console.log").write_text("".join(lines))
    console = read_console(tmp_path, limit_bytes=40_000)
    assert console is not None
    assert console.head[0].text == "line 0"
    assert console.tail[-1].text == "line 99999"
    kept = len(console.lines)
    assert [line.text for line in console.lines] == [
        *(f"line {number}" for number in range(len(console.head))),
        *(f"line {number}" for number in range(100_000 - len(console.tail), 100_000)),
    ]
    assert console.left_out_bytes == sum(map(len, lines[len(console.head) : -len(console.tail)]))
    assert 1500 < kept < 2500


def test_a_console_of_one_endless_line_is_cut(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_bytes(b"\x00" * 10_000_000)
    console = read_console(tmp_path, limit_bytes=100_000)
    assert console is not None
    assert len(console.lines) == 2
    assert all(len(line.text) < 5000 for line in console.lines)
    assert console.lines[0].text.endswith("[… 20904 characters left out]")


def test_a_console_is_shortened_in_its_middle() -> None:
    whole = ConsoleExcerpt(tuple(ConsoleLine(1.0, f"line {number}") for number in range(1000)))
    assert shorten(whole, 100_000) is whole
    short = shorten(whole, 4000)
    assert short.head[0].text == "line 0"
    assert short.tail[-1].text == "line 999"
    assert len(short.tail) > len(short.head) > 10
    assert short.left_out_bytes > 0
    assert shorten(short, 4000) is short
    assert shorten(whole, 0).lines == ()


def test_the_last_lines_are_those_that_say_something() -> None:
    lines = [ConsoleLine(None, text) for text in ("one", "+---+", "two", "", "three", "|   |")]
    told = last_lines(ConsoleExcerpt(tuple(lines)), 2)
    assert console_text(told) == " " * 11 + " two\n" + " " * 11 + " three"


def test_requests_are_read(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text(json.dumps(REQUEST) + "\n")
    log = read_requests(tmp_path)
    assert log is not None
    assert log.entries == (RequestEntry(4.5, "GET", "/latest/", 200, True, "curl/7"),)
    assert log.left_out == 0


@pytest.mark.parametrize(
    ("fault", "cut", "told"),
    [
        ("", "", ()),
        ("delay 2 s, status 503", "", ("fault: delay 2 s, status 503",)),
        ("delay 2 s, closed", "closed", ("fault: delay 2 s, closed",)),
        ("", "the machine ended", ("cut off: the machine ended",)),
    ],
)
def test_a_request_tells_the_fault_that_it_met(
    fault: str, cut: str, told: tuple[str, ...], tmp_path: Path
) -> None:
    line = json.dumps({**REQUEST, "fault": fault, "cut": cut})
    (tmp_path / "metadata.jsonl").write_text(line + "\n")
    log = read_requests(tmp_path)
    assert log is not None
    assert [entry.wrong for entry in log.entries] == [told]


@pytest.mark.parametrize(
    "line",
    [
        b'{"method": "GET", "pa',
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b'{"method": 1, "path": "/", "status": 200}',
        b'{"method": "GET", "path": "/", "status": "x"}',
        b'"' + b"x" * 200_000,
    ],
)
def test_a_request_that_is_none_is_counted_and_skipped(tmp_path: Path, line: bytes) -> None:
    good = json.dumps(REQUEST).encode()
    (tmp_path / "metadata.jsonl").write_bytes(good + b"\n" + line + b"\n" + good)
    log = read_requests(tmp_path)
    assert log is not None
    assert len(log.entries) == 2
    assert log.left_out >= 1


@pytest.mark.parametrize("at_s", ["x", None, True, float("nan"), float("inf"), -1, 10**400])
def test_a_request_without_a_time_is_shown_without(tmp_path: Path, at_s: object) -> None:
    (tmp_path / "metadata.jsonl").write_text(json.dumps({**REQUEST, "at_s": at_s}))
    log = read_requests(tmp_path)
    assert log is not None
    assert [entry.at_s for entry in log.entries] == [None]


def test_of_very_many_requests_the_first_are_kept(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text((json.dumps(REQUEST) + "\n") * 1500)
    log = read_requests(tmp_path)
    assert log is not None
    assert (len(log.entries), log.left_out) == (1000, 500)


def test_only_a_png_is_a_screenshot(tmp_path: Path) -> None:
    assert read_screenshot(tmp_path) is None
    screen = tmp_path / "screen.png"
    screen.write_bytes(PNG)
    assert read_screenshot(tmp_path) == PNG
    screen.write_bytes(b"<svg onload=alert(1)>")
    assert read_screenshot(tmp_path) is None
    screen.write_bytes(PNG + bytes(9 * 2**20))
    assert read_screenshot(tmp_path) is None


def test_a_folder_that_is_not_there_is_a_boot_of_which_nothing_is_known(tmp_path: Path) -> None:
    boot = read_boot(tmp_path / "none", name="machine")
    assert (boot.console, boot.requests, boot.screenshot) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain £ ü 漢", "plain £ ü 漢"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb^Mc"),
        ("\x1b[31mred\x1b[0m\x07\x00\x7f", "^[[31mred^[[0m^G^@^?"),
        ("\u202eevil\u2066\ufeff", "⟨U+202E⟩evil⟨U+2066⟩⟨U+FEFF⟩"),
        ("\x9b31m\ud800\uffff\U000e0041", "⟨U+009B⟩31m⟨U+D800⟩⟨U+FFFF⟩⟨U+E0041⟩"),
        ("a\u00a0b\u2028c", "a⟨U+00A0⟩b⟨U+2028⟩c"),
    ],
)
def test_what_cannot_be_seen_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_a_long_text_is_cut_in_its_middle() -> None:
    assert cut("x" * 10, 10) == "x" * 10
    assert cut("a" * 10 + "b" * 10, 10) == "aaaaa\n[… 10 characters left out …]\nbbbbb"
