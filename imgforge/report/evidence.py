"""The files of an evidence folder, read within bounds: whatever a guest wrote, this ends."""

import json
import math
import re
from io import BufferedReader
from itertools import islice
from pathlib import Path

from imgforge.report.report import ConsoleExcerpt, ConsoleLine, RequestEntry, RequestLog

CONSOLE_LOG = "console.log"
REQUEST_LOG = "metadata.jsonl"
SCREENSHOT = "screen.png"
CONSOLE_LIMIT_BYTES = 1024 * 1024
_HEAD_PART = 4  # the end tells more than the beginning
_LINE_LIMIT_CHARACTERS = 4096
_REQUEST_LIMIT = 1000
_REQUEST_LINE_LIMIT_BYTES = 64 * 1024
_PNG_LIMIT_BYTES = 8 * 1024 * 1024
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # PNG specification, section 5.2
# As imgforge/machine/console.py writes it.
_STAMPED = re.compile(r"\[ *(\d{1,9}\.\d{3})\] ?(.*)", re.DOTALL)


def read_console(folder: Path, *, limit_bytes: int = CONSOLE_LIMIT_BYTES) -> ConsoleExcerpt | None:
    """Read console.log of a test's folder; None where there is none.

    Of a log of more than `limit_bytes` a quarter of them is its beginning, the rest its end.
    """
    try:
        with (folder / CONSOLE_LOG).open("rb") as log:
            size = log.seek(0, 2)
            log.seek(0)
            if size <= limit_bytes:
                return ConsoleExcerpt(head=_lines(log.read(limit_bytes)))
            return _excerpt(log, size=size, limit_bytes=limit_bytes)
    except OSError:
        return None


def _excerpt(log: BufferedReader, *, size: int, limit_bytes: int) -> ConsoleExcerpt:
    head = log.read(limit_bytes // _HEAD_PART)
    whole, end_of_line, _ = head.rpartition(b"\n")
    head = whole + end_of_line or head
    start = size - (limit_bytes - limit_bytes // _HEAD_PART)
    log.seek(start)
    tail = log.read(size - start)
    _, end_of_line, whole = tail.partition(b"\n")
    tail = whole if end_of_line and whole else tail
    return ConsoleExcerpt(
        head=_lines(head), tail=_lines(tail), left_out_bytes=size - len(head) - len(tail)
    )


def _lines(data: bytes) -> tuple[ConsoleLine, ...]:
    # Not splitlines(): it also splits at what a guest may write within a line.
    lines = data.decode("utf-8", errors="replace").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return tuple(_line(line) for line in lines)


def _line(line: str) -> ConsoleLine:
    found = _STAMPED.match(line)
    at_s, text = (float(found[1]), found[2]) if found else (None, line)
    if len(text) > _LINE_LIMIT_CHARACTERS:
        left_out = len(text) - _LINE_LIMIT_CHARACTERS
        text = f"{text[:_LINE_LIMIT_CHARACTERS]} [… {left_out} characters left out]"
    return ConsoleLine(at_s, text)


def shorten(console: ConsoleExcerpt, limit_bytes: int) -> ConsoleExcerpt:
    """Return a console of at most some `limit_bytes`, what is beyond taken from its middle."""
    sizes = [len(line.text) + 13 for line in console.lines]
    if sum(sizes) <= limit_bytes:
        return console
    head = _fitting(sizes[: len(console.head)], limit_bytes // _HEAD_PART)
    room = limit_bytes - limit_bytes // _HEAD_PART
    tail = _fitting(list(reversed(sizes[head:])), room)
    end = len(sizes) - tail
    return ConsoleExcerpt(
        head=console.lines[:head],
        tail=console.lines[end:],
        left_out_bytes=console.left_out_bytes + sum(sizes[head:end]),
    )


def _fitting(sizes: list[int], room: int) -> int:
    for number, size in enumerate(sizes):
        room -= size
        if room < 0:
            return number
    return len(sizes)


def read_requests(folder: Path) -> RequestLog | None:
    """Read metadata.jsonl of a test's folder; None where there is none.

    Lines that are no request (a run that was killed left half of one) count as left out, as does
    what comes after the first thousand.
    """
    entries: list[RequestEntry] = []
    left_out = 0
    try:
        with (folder / REQUEST_LOG).open("rb") as log:
            while line := log.readline(_REQUEST_LINE_LIMIT_BYTES):
                entry = _request(line) if len(entries) < _REQUEST_LIMIT else None
                if entry is not None:
                    entries.append(entry)
                elif line.strip():
                    left_out += 1
    except OSError:
        return None
    return RequestLog(tuple(entries), left_out)


def _request(line: bytes) -> RequestEntry | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    match values:
        case {"method": str(method), "path": str(path), "status": int(status)}:
            return RequestEntry(
                at_s=seconds_of(values.get("at_s")),
                method=method[:20],
                path=path[:2000],
                status=status,
                token=values.get("token") is True,
                user_agent=str(values.get("user_agent") or "")[:200],
                fault=str(values.get("fault") or "")[:200],
                cut=str(values.get("cut") or "")[:200],
            )
    return None


def seconds_of(value: object) -> float | None:
    """Return a JSON value as seconds; None where it is no finite number that could be some."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds < 1e9 else None


def read_screenshot(folder: Path) -> bytes | None:
    """Read screen.png of a test's folder; None where there is none, or it is no PNG of a screen."""
    try:
        with (folder / SCREENSHOT).open("rb") as file:
            data = file.read(_PNG_LIMIT_BYTES + 1)
    except OSError:
        return None
    good = data.startswith(_PNG_SIGNATURE) and len(data) <= _PNG_LIMIT_BYTES
    return data if good else None


def last_lines(console: ConsoleExcerpt, count: int) -> tuple[ConsoleLine, ...]:
    """Return the last `count` lines that say something: with a letter or a digit."""
    told = (
        line
        for line in reversed(console.lines)
        if any(character.isalnum() for character in line.text)
    )
    return tuple(reversed(list(islice(told, count))))
