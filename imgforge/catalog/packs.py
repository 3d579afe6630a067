"""Blocks of 512 KiB side by side in large files, each known by its SHA-256.

A pack is two files: `NAME.pack`, the blocks, and `NAME.index`, the 32-byte digests of what is at
each place; zeros say that nothing is. Each process writes to a pack of its own and reads all.
As files of their own, a thousand blocks take ext4 up to ten times as long to write (measured).
"""

import fcntl
import itertools
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imgforge.files import punch_hole

BLOCK_BYTES = 512 * 1024
"""EBS direct's block size."""
DIGEST_BYTES = 32
ABSENT = bytes(DIGEST_BYTES)
"""A digest of nothing."""
_DATA, _INDEX = ".pack", ".index"
_FLUSHED_BLOCKS = 128
"""After so many, what is there goes to the disk while more comes: takes a tenth less in all."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block is: the pack's path without its suffix, and which of its blocks it is."""

    pack: str
    number: int


@dataclass(frozen=True, slots=True)
class _Own:
    """The pack that is written to; its lock tells others that it is."""

    pack: str
    data: int
    index: int
    numbers: Iterator[int]


class Packs:
    """The packs below `folder`; safe between threads and processes.

    Who keeps a block holds `sweep_lock.referring` until a record refers to it, who sweeps holds
    `sweep_lock.sweeping`; who reads holds nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[bytes, _Place] = {}
        self._proven: set[bytes] = set()
        self._has_looked = False
        self._own: _Own | None = None
        self._turn = threading.Lock()
        self._flushing = threading.Lock()
        self._failure: OSError | None = None

    def close(self) -> None:
        """Write to no pack any more."""
        with self._turn:
            own, self._own = self._own, None
            if own is not None:
                os.close(own.data)
                os.close(own.index)

    def keep(self, data: bytes, *, digest: bytes) -> None:
        """Keep a block, unless there is one of its digest. Raises OSError."""
        self.check()
        if not self._has_looked:
            self._look()
        place = self._places.get(digest)
        if place is not None and self._holds(place, digest) and self._proves(place, digest, data):
            return
        own = self._own or self._begin()
        number = next(own.numbers)
        try:
            _write(own.data, data, number * BLOCK_BYTES)
            _write(own.index, digest, number * DIGEST_BYTES)
        except OSError:  # a full disk gets back what half a block took
            with suppress(OSError):
                punch_hole(own.data, number * BLOCK_BYTES, BLOCK_BYTES)
            raise
        self._places[digest] = _Place(own.pack, number)
        self._proven.add(digest)
        if number % _FLUSHED_BLOCKS == _FLUSHED_BLOCKS - 1:
            threading.Thread(target=self._flush, args=(os.dup(own.data),), daemon=True).start()

    def _flush(self, data: int) -> None:
        """Bring what is there to the disk; what comes later, a sync brings."""
        try:
            if self._flushing.acquire(blocking=False):
                try:
                    os.fdatasync(data)
                finally:
                    self._flushing.release()
        except OSError as error:  # the kernel tells it once
            self._failure = error
        finally:
            os.close(data)

    def check(self) -> None:
        """Raise OSError where something that was kept did not come to the disk."""
        if self._failure is not None:
            raise self._failure

    def read(self, digest: bytes) -> bytes | None:
        """Return the block of a digest; None where there is none, or it is cut short."""
        for look in (False, True):
            if look:
                self._look()
            place = self._places.get(digest)
            if place is None:
                continue
            data = _read(place.pack + _DATA, BLOCK_BYTES, place.number * BLOCK_BYTES)
            # Behind the data: a sweep takes the digest away before it does the block.
            if len(data) == BLOCK_BYTES and self._holds(place, digest):
                return data
        return None

    def sweep(self, is_needed: Callable[[bytes], bool]) -> int:
        """Take away the blocks that are not needed, or there twice; return how many.

        Packs in which nothing is left go with them.
        """
        count = 0
        seen: set[bytes] = set()
        for path in sorted(self._folder.glob(f"*{_INDEX}")):
            data_path = path.with_suffix(_DATA)
            with _opened(path) as index, _opened(data_path) as data:
                kept = set()
                for number, digest in _digests(os.pread(index, path.stat().st_size, 0)):
                    if is_needed(digest) and digest not in seen:
                        seen.add(digest)
                        kept.add(number)
                    else:
                        os.pwrite(index, ABSENT, number * DIGEST_BYTES)
                        count += 1
                if not kept and _is_left(data):
                    path.unlink()
                    data_path.unlink()
                    continue
                # What a kill left without a digest goes, too.
                for number in set(range(-(-data_path.stat().st_size // BLOCK_BYTES))) - kept:
                    with suppress(OSError):  # a file system without holes keeps the space
                        punch_hole(data, number * BLOCK_BYTES, BLOCK_BYTES)
        return count

    def _holds(self, place: _Place, digest: bytes) -> bool:
        own = self._own
        if own is not None and place.pack == own.pack:
            return os.pread(own.index, DIGEST_BYTES, place.number * DIGEST_BYTES) == digest
        return _read(place.pack + _INDEX, DIGEST_BYTES, place.number * DIGEST_BYTES) == digest

    def _proves(self, place: _Place, digest: bytes, data: bytes) -> bool:
        """Tell whether another's block is what its digest says: a host that failed may differ.

        One that is not is no more there.
        """
        if digest in self._proven:
            return True
        if _read(place.pack + _DATA, BLOCK_BYTES, place.number * BLOCK_BYTES) == data:
            self._proven.add(digest)
            return True
        with _opened(Path(place.pack + _INDEX)) as index:
            os.pwrite(index, ABSENT, place.number * DIGEST_BYTES)
        return False

    def _begin(self) -> _Own:
        with self._turn:
            if self._own is None:
                pack = f"{self._folder}/{secrets.token_hex(8)}"
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                data = os.open(pack + _DATA, flags, 0o644)
                try:
                    fcntl.flock(data, fcntl.LOCK_SH)
                    index = os.open(pack + _INDEX, flags, 0o644)
                except BaseException:
                    os.close(data)
                    raise
                self._own = _Own(pack, data, index, itertools.count())
            return self._own

    def _look(self) -> None:
        """Learn of the blocks that there are."""
        with self._turn:
            for path in self._folder.glob(f"*{_INDEX}"):
                pack = str(path.with_suffix(""))
                for number, digest in _digests(_read(str(path), path.stat().st_size, 0)):
                    self._places[digest] = _Place(pack, number)
            self._has_looked = True


def _digests(content: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(content) - DIGEST_BYTES + 1, DIGEST_BYTES):
        digest = content[start : start + DIGEST_BYTES]
        if digest != ABSENT:
            yield start // DIGEST_BYTES, digest


def _is_left(data: int) -> bool:
    """Tell whether nobody writes to a pack any more."""
    try:
        fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, data: bytes, position: int) -> None:
    """Write all of it: what a full disk cuts short is tried again, and tells why."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, position)
        left, position = left[written:], position + written


def _read(path: str, size_bytes: int, position: int) -> bytes:
    """Return what a file has there; nothing where it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, size_bytes, position)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
