"""Journals, pace and crews of snapshot transfers, without an endpoint."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from imgforge.ec2 import BLOCK_BYTES, Trouble, TroubleError, linear_checksum
from imgforge.errors import CloudError, HostError
from imgforge.snapshot_transfer.crew import Crew
from imgforge.snapshot_transfer.journal import (
    Entry,
    create_journal,
    open_journal,
    read_journal,
)
from imgforge.snapshot_transfer.pace import Pace
from imgforge.snapshot_transfer.source import ZEROS_SHA256, open_source

ID = "snap-0123456789abcdef0"
NEVER = threading.Event()


def digest(number: int) -> bytes:
    return number.to_bytes(4, "big") * 8


def write_journal(path: Path, count: int = 3) -> bytes:
    with create_journal(path, {"token": "t"}) as journal:
        journal.start(ID, volume_size_gib=7)
        for number in range(count):
            journal.write(Entry.SENT, number, digest(number))
    return path.read_bytes()


def test_a_journal_tells_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write_journal(path)
    with open_journal(path) as journal:
        journal.write(Entry.INHERITED, 9, digest(9))
        journal.complete()
    told = read_journal(path)
    assert told is not None
    assert (told.snapshot_id, told.volume_size_gib, told.is_completed) == (ID, 7, True)
    assert told.sent == {number: digest(number) for number in range(3)}
    assert told.inherited == {9: digest(9)}
    assert told.head["token"] == "t"


def test_a_journal_cut_anywhere_tells_what_was_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = write_journal(path)
    start = content.index(b"\n") + 1
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        told = read_journal(path)
        if size < start:
            assert told is None
            continue
        records = (size - start) // 44
        assert told is not None
        assert told.snapshot_id == (ID if records else "")
        assert told.sent == {number: digest(number) for number in range(max(0, records - 1))}
        with open_journal(path) as journal:  # and it is gone on with behind that
            journal.write(Entry.SENT, 8, digest(8))
        again = read_journal(path)
        assert again is not None
        assert again.sent == {**told.sent, 8: digest(8)}


def test_a_damaged_journal_tells_no_block_that_was_not_there(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = write_journal(path, count=8)
    lot = random.Random(5)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[lot.randrange(len(damaged))] ^= 1 << lot.randrange(8)
        path.write_bytes(damaged)
        told = read_journal(path)
        if told is not None:
            assert told.sent.items() <= {number: digest(number) for number in range(8)}.items()


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[1]\n", b"\x00" * 100, b"{" * 5000, b"\n\n"])
def test_what_is_no_journal_tells_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert read_journal(path) is None
    assert read_journal(tmp_path / "nothing") is None


def test_a_journal_of_several_threads_has_all_records(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with create_journal(path, {}) as journal:

        def write(first: int) -> None:
            for number in range(first, first + 200):
                journal.write(Entry.SENT, number, digest(number))

        threads = [threading.Thread(target=write, args=(k * 200,)) for k in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    told = read_journal(path)
    assert told is not None
    assert told.sent == {number: digest(number) for number in range(1000)}


def test_a_closed_journal_writes_into_no_other_file(tmp_path: Path) -> None:
    journal = create_journal(tmp_path / "journal", {})
    with journal:
        pass
    descriptor = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    journal.write(Entry.SENT, 1, digest(1))
    assert os.fstat(descriptor).st_size == 0
    os.close(descriptor)


def test_a_disks_blocks_are_padded_and_its_holes_are_known(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(6 * BLOCK_BYTES + 7)
        file.seek(2 * BLOCK_BYTES + 100)
        file.write(b"x")
        file.seek(6 * BLOCK_BYTES)
        file.write(b"end")
    with open_source(path) as source:
        assert (source.count, source.volume_size_gib) == (7, 1)
        assert source.holes == {0, 1, 3, 4, 5}
        assert source.block(0)[1] == source.block(5)[1] == source.block(100)[1] == ZEROS_SHA256
        assert source.block(6)[0] == b"end".ljust(BLOCK_BYTES, b"\0")
        source.check_unchanged()
        with path.open("r+b") as file:
            file.write(b"!")
        with pytest.raises(HostError, match="changed while it was read"):
            source.check_unchanged()


def test_the_linear_checksum_is_over_raw_digests() -> None:
    # sha256sum of 512 KiB of zeros, its 32 bytes given to sha256sum again, in base64.
    assert linear_checksum(iter([ZEROS_SHA256])) == "3QyamIjs9/uk1ge+ZPpwA6Yo7YmArJ8I121qDaF+DcI="


def test_a_throttled_pace_slows_down_and_speeds_up_again() -> None:
    pace = Pace(16)
    began_s = [pace.begin(NEVER) for _ in range(16)]
    for moment_s in began_s:  # they were all under way: they count once
        pace.end_throttled(moment_s)
    assert (pace.allowed, pace.throttled) == (8, 16)
    pace.end_throttled(pace.begin(NEVER))
    assert pace.allowed == 4
    for _ in range(16 * 16):
        pace.begin(NEVER)
        pace.end_well()
    assert pace.allowed == 16


def test_a_pace_never_stands_still() -> None:
    pace = Pace(4)
    stop = threading.Event()
    for _ in range(5):
        pace.end_throttled(pace.begin(NEVER))
    assert pace.allowed == 1
    stop.set()  # the rest after so many is long: nobody waits for it who is to stop
    pace.begin(stop)


def crew(patience_s: float = 30.0) -> Crew:
    return Crew("test", workers=4, patience_s=patience_s)


def test_a_crew_does_each_block_once_though_some_fail_first() -> None:
    workers, failed, done = crew(), set[int](), list[int]()

    def work(number: int) -> int:
        def act() -> None:
            if number % 5 == 0 and number not in failed:
                failed.add(number)
                kind = [Trouble.THROTTLED, Trouble.FAILED, Trouble.UNKNOWN_YET][number // 5 % 3]
                raise TroubleError(kind, CloudError("busy", code="x"))
            done.append(number)

        workers.persist(number, act)
        return 1

    workers.each(work, range(40), total=40, tick=lambda: None)
    assert sorted(done) == list(range(40))
    assert (workers.done, workers.sent_bytes) == (40, 40)


def test_a_crew_ends_with_its_first_failure() -> None:
    workers, asked = crew(), list[int]()

    def work(number: int) -> int:
        def act() -> None:
            asked.append(number)
            if number == 3:
                raise CloudError("denied", code="AccessDeniedException")

        workers.persist(number, act)
        time.sleep(0.001)
        return 0

    with pytest.raises(CloudError, match="denied"):
        workers.each(work, range(10_000), total=10_000, tick=lambda: None)
    assert len(asked) < 10_000
    assert asked.count(3) == 1


@pytest.mark.parametrize("trouble", [Trouble.SILENT, Trouble.THROTTLED, Trouble.FAILED])
def test_a_crew_gives_up_what_does_not_pass(trouble: Trouble) -> None:
    workers = crew(patience_s=0.05)

    def fail() -> None:
        raise TroubleError(trouble, HostError("nobody"))

    def work(number: int) -> int:
        workers.persist(number, fail)
        return 0

    with pytest.raises(HostError, match="nobody") as caught:
        workers.each(work, range(3), total=3, tick=lambda: None)
    assert "run the command again" in caught.value.hint
