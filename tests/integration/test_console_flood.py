"""A guest that floods its console."""

import asyncio
import hashlib
import re
import socket
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from imgforge.errors import HostError
from imgforge.machine import ConsoleBytes, ConsoleLine
from imgforge.machine import console as console_module
from imgforge.machine.console import Console

Told = list[ConsoleBytes | ConsoleLine]


def read_all(folder: Path, pieces: list[bytes], times: int = 1) -> tuple[Told, list[HostError]]:
    """Write the pieces from another thread, as a guest does; read until all is read."""
    told: Told = []
    failures: list[HostError] = []

    async def session() -> None:
        ours, guests = socket.socketpair()
        console = Console(
            ours, base=folder / "console", clock=lambda: 1.5, tell=told.append, fail=failures.append
        )

        def write() -> None:
            with guests:
                for _ in range(times):
                    for piece in pieces:
                        guests.sendall(piece)

        await asyncio.to_thread(write)
        console.finish()
        console.finish()

    asyncio.run(asyncio.wait_for(session(), 60))
    return told, failures


def test_a_hundred_megabytes_with_escapes_are_kept_whole_and_in_order(tmp_path: Path) -> None:
    piece = b"".join(
        b"\x1b[%dm%06d flood \x1b[2;5Hof text \xe2\x82\xac\x1b[0m\r\n" % (n % 8, n)
        for n in range(1000)
    )
    times = 100_000_000 // len(piece) + 1
    started = time.monotonic()
    folder = tmp_path
    seen = 0
    last: list[str] = []

    async def session() -> None:
        nonlocal seen
        ours, guests = socket.socketpair()

        def tell(event: ConsoleBytes | ConsoleLine) -> None:
            nonlocal seen
            if isinstance(event, ConsoleLine):
                seen += 1
                last[:] = [event.text]

        console = Console(ours, base=folder / "console", clock=lambda: 1.5, tell=tell, fail=_fail)

        def write() -> None:
            with guests:
                for _ in range(times):
                    guests.sendall(piece)

        beats = 0
        writing = asyncio.create_task(asyncio.to_thread(write))
        while not writing.done():  # the loop must stay alive for SSH and metadata meanwhile
            await asyncio.sleep(0.05)
            beats += 1
        console.finish()
        assert beats > (time.monotonic() - started) / 0.5

    asyncio.run(asyncio.wait_for(session(), 120))
    seconds = time.monotonic() - started
    assert seen == 2000 * times
    assert last == ["of text €"]
    digest = hashlib.sha256()
    for _ in range(times):
        digest.update(piece)
    with (folder / "console.raw").open("rb") as raw:
        assert hashlib.file_digest(raw, "sha256").hexdigest() == digest.hexdigest()
    assert seconds < 60


def _fail(failure: HostError) -> None:
    raise failure


def test_the_log_has_one_stamped_clean_line_for_each_console_line(tmp_path: Path) -> None:
    told, failures = read_all(tmp_path, [b"\x1b[1mone\x1b[0m\r\n", b"two\xff\r\nthree"])
    assert failures == []
    assert [event.text for event in told if isinstance(event, ConsoleLine)] == [
        "one",
        "two�",
        "three",
    ]
    log = (tmp_path / "console.log").read_text(encoding="utf-8")
    assert log == "[    1.500] one\n[    1.500] two�\n[    1.500] three\n"
    assert (tmp_path / "console.raw").read_bytes() == b"\x1b[1mone\x1b[0m\r\ntwo\xff\r\nthree"


def test_a_flood_without_a_newline_takes_bounded_memory(tmp_path: Path) -> None:
    ours, guests = socket.socketpair()
    longest = 0
    piece = b"\x1b]never ends" * 8000

    def tell(event: ConsoleBytes | ConsoleLine) -> None:
        nonlocal longest
        text = event.text if isinstance(event, ConsoleLine) else event.pending
        longest = max(longest, len(text))

    async def session() -> None:
        console = Console(ours, base=tmp_path / "console", clock=lambda: 0.0, tell=tell, fail=_fail)
        flood = piece * 100
        writing = threading.Thread(target=guests.sendall, args=(flood,))
        tracemalloc.start()
        writing.start()
        await asyncio.to_thread(writing.join)
        console.finish()

    asyncio.run(asyncio.wait_for(session(), 60))
    guests.close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert longest <= 4096
    assert peak < 20_000_000


def test_a_prompt_without_an_end_is_told_soon_and_once(tmp_path: Path) -> None:
    told: Told = []

    async def session() -> None:
        ours, guests = socket.socketpair()
        console = Console(
            ours, base=tmp_path / "console", clock=lambda: 0.0, tell=told.append, fail=_fail
        )
        for character in b"grub> ":
            guests.sendall(bytes([character]))
            await asyncio.sleep(0)
        await asyncio.sleep(0.5)
        assert told == [ConsoleBytes(0.0, "grub> ")]
        guests.close()
        console.finish()

    asyncio.run(asyncio.wait_for(session(), 20))
    assert told[1:] == [ConsoleLine(0.0, "grub> ")]


def test_a_console_past_its_limit_is_read_but_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "RAW_LIMIT_BYTES", 1 << 20)
    told, failures = read_all(tmp_path, [b"x" * 99 + b"\n"], times=40_000)
    assert failures == []
    assert sum(isinstance(event, ConsoleLine) for event in told) == 40_000
    assert (tmp_path / "console.raw").stat().st_size < (1 << 20) + 300_000
    *_, last = (tmp_path / "console.log").read_text().splitlines()
    assert re.search(r"the console passed 1 MiB; the rest is read but not kept", last)


def test_a_full_disk_is_the_hosts_failure(tmp_path: Path) -> None:
    (tmp_path / "console.raw").symlink_to("/dev/full")
    _, failures = read_all(tmp_path, [b"hello\n"])
    (failure,) = failures
    assert "cannot be written" in str(failure)
