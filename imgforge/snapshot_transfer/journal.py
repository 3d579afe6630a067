"""A journal of blocks: what is done stays known through a kill, and what is half written is not.

A file whose first line is JSON, and behind it records of 44 bytes: kind, number, SHA-256, CRC-32.
"""

import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from imgforge.errors import HostError
from imgforge.files import appearing, told_writing

_BODY = struct.Struct("<B3xI32s")
_RECORD = struct.Struct("<40sI")
_VERSION = 1
_MOST_HEAD_BYTES = 2**20


class Entry(IntEnum):
    """What a record says of its block, or of the snapshot."""

    SENT = 1
    """The endpoint has acknowledged this block."""
    INHERITED = 2
    """The parent has this block as it is."""
    STARTED = 3
    """The snapshot's id, in place of a digest; the number is its volume's size in GiB."""
    COMPLETED = 4
    """The snapshot is completed."""
    FETCHED = 5
    """This block was written to the disk that is downloaded."""


@dataclass(slots=True)
class Told:
    """What a journal says so far."""

    head: Mapping[str, Any]
    snapshot_id: str = ""
    volume_size_gib: int = 0
    is_completed: bool = False
    sent: dict[int, bytes] = field(default_factory=dict)
    inherited: dict[int, bytes] = field(default_factory=dict)
    fetched: dict[int, bytes] = field(default_factory=dict)

    @property
    def digests(self) -> dict[int, bytes]:
        """The digests of all blocks that the snapshot has, its parent's included."""
        return {**self.inherited, **self.sent}


class Journal:
    """An open journal; `write` may be called by several threads. A context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._turn = threading.Lock()
        self._is_open = True

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:  # a thread that was given up may still write: to no other file
            self._is_open = False
            os.close(self._descriptor)

    def write(self, entry: Entry, number: int, digest: bytes) -> None:
        """Add a record: it is kept through a kill when this returns. Raises HostError."""
        body = _BODY.pack(entry, number, digest)
        record = _RECORD.pack(body, zlib.crc32(body))
        with self._turn, told_writing(self.path.parent, "the journal of the blocks"):
            if self._is_open and os.write(self._descriptor, record) != len(record):
                raise HostError(
                    f"Folder {self.path.parent}: no space is left on its file system for the "
                    "journal of the blocks.",
                    hint="Free some; what was done stays: run the command again.",
                )

    def start(self, snapshot_id: str, *, volume_size_gib: int) -> None:
        """Write down which snapshot the blocks are of; on the disk when this returns."""
        self.write(Entry.STARTED, volume_size_gib, snapshot_id.encode("ascii").ljust(32, b"\0"))
        self.sync()

    def complete(self) -> None:
        """Write down that the snapshot is completed; on the disk when this returns."""
        self.write(Entry.COMPLETED, 0, bytes(32))
        self.sync()

    def sync(self) -> None:
        """Bring what was written to the disk, for a host that fails."""
        with told_writing(self.path.parent, "the journal of the blocks"):
            os.fdatasync(self._descriptor)


def create_journal(path: Path, head: Mapping[str, Any]) -> Journal:
    """Begin a journal in the place of an older one; on the disk when this returns."""
    line = json.dumps({"version": _VERSION, **head}, sort_keys=True) + "\n"
    with told_writing(path.parent, "the journal of the blocks"), appearing(path) as new:
        new.write_text(line, encoding="utf-8")
    return Journal(path, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))


def read_journal(path: Path) -> Told | None:
    """Return what a journal says; None where there is none, or one of another kind.

    What a kill or a failed host left half written at its end is not there.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    end = content.find(b"\n", 0, _MOST_HEAD_BYTES)
    try:
        head = json.loads(content[: end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(head, dict) or head.get("version") != _VERSION:
        return None
    told = Told(head)
    for entry, number, digest in _records(memoryview(content)[end + 1 :]):
        _take(told, entry, number, digest)
    return told


def open_journal(path: Path) -> Journal:
    """Open a journal to go on with it; a record that is half there is cut off."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    content = path.read_bytes()
    start = content.find(b"\n", 0, _MOST_HEAD_BYTES) + 1
    whole = sum(1 for _ in _records(memoryview(content)[start:]))
    os.ftruncate(descriptor, start + whole * _RECORD.size)
    return Journal(path, descriptor)


def _records(content: memoryview) -> Iterator[tuple[int, int, bytes]]:
    for start in range(0, len(content) - _RECORD.size + 1, _RECORD.size):
        body, crc = _RECORD.unpack_from(content, start)
        if zlib.crc32(body) != crc:
            return
        yield _BODY.unpack(body)


def _take(told: Told, entry: int, number: int, digest: bytes) -> None:
    match entry:
        case Entry.SENT:
            told.sent[number] = digest
            told.inherited.pop(number, None)
        case Entry.INHERITED:
            told.inherited[number] = digest
        case Entry.FETCHED:
            told.fetched[number] = digest
        case Entry.STARTED:
            told.snapshot_id = digest.rstrip(b"\0").decode("ascii", errors="replace")
            told.volume_size_gib = number
        case Entry.COMPLETED:
            told.is_completed = True
