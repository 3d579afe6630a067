"""A disk as blocks: which there are, which are holes, and whether it stays what it is."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgforge.ec2 import BLOCK_BYTES
from imgforge.errors import BadInputError, HostError

_GIB = 2**30
_MOST_GIB = 65_536
ZEROS = bytes(BLOCK_BYTES)
"""A block of zeros."""
ZEROS_SHA256 = hashlib.sha256(ZEROS).digest()


def sha256_of(data: bytes) -> bytes:
    """Return a SHA-256; of a block of zeros it is known, which is seen 40 times as fast."""
    return ZEROS_SHA256 if data == ZEROS else hashlib.sha256(data).digest()


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a disk from what it was: a change of its data changes its times."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int

    def values(self) -> dict[str, int]:
        """Return it for a journal."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Source:
    """An open raw disk. May be read by several threads."""

    path: Path
    descriptor: int
    identity: Identity
    holes: frozenset[int]
    """The blocks that are holes from end to end, and so zeros that nobody wrote."""

    @property
    def count(self) -> int:
        """How many blocks the disk has; the last may be cut short."""
        return -(-self.identity.size_bytes // BLOCK_BYTES)

    @property
    def volume_size_gib(self) -> int:
        """The size of a volume for it: whole GiB."""
        return -(-self.identity.size_bytes // _GIB)

    def block(self, number: int) -> tuple[bytes, bytes]:
        """Return a block, with zeros behind the disk's end, and its SHA-256. Raises HostError."""
        if number in self.holes or number >= self.count:
            return ZEROS, ZEROS_SHA256
        try:
            data = os.pread(self.descriptor, BLOCK_BYTES, number * BLOCK_BYTES)
        except OSError as error:
            raise HostError(
                f"Disk {self.path}: block {number} cannot be read: {error.strerror}."
            ) from None
        if len(data) < BLOCK_BYTES:
            data = data.ljust(BLOCK_BYTES, b"\0")
        return data, sha256_of(data)

    def check_unchanged(self) -> None:
        """Raise HostError where the disk was written to since it was opened."""
        if identity_of(os.fstat(self.descriptor)) != self.identity:
            raise HostError(
                f"Disk {self.path}: changed while it was read; the snapshot is not completed.",
                hint="Run the command again when nothing writes to the disk, such as a machine.",
            )


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file that was looked at."""
    return Identity(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def identity_from(values: Any) -> Identity | None:
    """Return the identity that a journal holds; None where that is none."""
    try:
        return Identity(**values)
    except TypeError:
        return None


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a raw disk for reading. Raises BadInputError for what is none, or too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInputError(f"Disk {path}: cannot be read: {error.strerror}.") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadInputError(f"Disk {path}: is no regular file; a raw disk is needed.")
        if not 0 < status.st_size <= _MOST_GIB * _GIB:
            raise BadInputError(
                f"Disk {path}: has {status.st_size} bytes; 1 byte to 64 TiB fit into a snapshot."
            )
        holes = frozenset(_holes(descriptor, status.st_size))
        yield Source(path, descriptor, identity_of(status), holes)
    finally:
        os.close(descriptor)


def _holes(descriptor: int, size_bytes: int) -> Iterator[int]:
    """Yield the blocks that no data is in (lseek(2), SEEK_DATA)."""
    position = 0
    while position < size_bytes:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # only a hole is left
                return
            start = size_bytes
        # What is cut short at the disk's end is a hole, if it begins as one.
        end = start // BLOCK_BYTES if start < size_bytes else -(-size_bytes // BLOCK_BYTES)
        yield from range(-(-position // BLOCK_BYTES), end)
        if start >= size_bytes:
            return
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
