"""An image becomes the tar stream of one member that GNU tar -S writes, holes unread.

Not by tar itself: without a process between, a chunk is read once and goes straight to the next
step, the stream's length is known before it begins, and it is the same on every host. The bytes
are those of `tar -c -h -S --owner 0 --group 0 -C DIR NAME`; a test compares them.
The format: GNU tar's manual, "Basic Tar Format" and "Sparse Formats" ("Old GNU Format").
"""

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from imgforge.errors import HostError

BLOCK_BYTES = 512
RECORD_BYTES = 20 * BLOCK_BYTES
_CHUNK_BYTES = 2**20
_MAP_IN_HEADER = 4
_MAP_IN_BLOCK = 21
_ENTRY_BYTES = 24
_LARGEST_OCTAL = 8**11 - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Data of a file: `size_bytes` of it at `offset_bytes`."""

    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TarPlan:
    """A tar stream before it is written.

    `bounds` are the offset and the size of each segment in turn: an image may have millions.
    """

    head: bytes
    bounds: "array[int]"
    data_bytes: int

    @property
    def segments(self) -> Iterator[Segment]:
        """Where the file has data."""
        return map(Segment, self.bounds[::2], self.bounds[1::2])

    @property
    def size_bytes(self) -> int:
        """The length of the stream, in whole records."""
        end = len(self.head) + _padded(self.data_bytes) + 2 * BLOCK_BYTES
        return -(-end // RECORD_BYTES) * RECORD_BYTES


def plan_tar(descriptor: int, *, name: str) -> TarPlan:
    """Find the data of an open file, and plan its stream.

    Raises ValueError where `name` has more than 100 bytes.
    """
    status = os.fstat(descriptor)
    bounds = array("Q")
    for segment in find_segments(descriptor, size_bytes=status.st_size):
        bounds.extend((segment.offset_bytes, segment.size_bytes))
    data_bytes = sum(bounds[1::2])
    head = _header(name, status, stored_bytes=data_bytes, bounds=bounds)
    return TarPlan(head, bounds, data_bytes)


def write_tar(descriptor: int, plan: TarPlan) -> Iterator[bytes]:
    """Yield the stream in chunks of 1 MiB, the last one shorter; holes are not read.

    Raises HostError where the file cannot be read, or has become shorter.
    """
    waiting = bytearray()
    for piece in _pieces(descriptor, plan):
        if not waiting and len(piece) == _CHUNK_BYTES:
            yield piece
            continue
        waiting += piece
        while len(waiting) >= _CHUNK_BYTES:
            yield bytes(waiting[:_CHUNK_BYTES])
            del waiting[:_CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)


def _pieces(descriptor: int, plan: TarPlan) -> Iterator[bytes]:
    """Yield the stream in pieces that end where a chunk does, or earlier."""
    yield plan.head
    done = len(plan.head)
    for segment in plan.segments:
        position = segment.offset_bytes
        end = position + segment.size_bytes
        while position < end:
            wanted = min(_CHUNK_BYTES - done % _CHUNK_BYTES, end - position)
            piece = _read(descriptor, wanted, position)
            if not piece:
                raise HostError("The image became shorter while it was bundled.")
            yield piece
            position += len(piece)
            done += len(piece)
    yield bytes(plan.size_bytes - done)


def _read(descriptor: int, size_bytes: int, offset_bytes: int) -> bytes:
    try:
        return os.pread(descriptor, size_bytes, offset_bytes)
    except OSError as error:
        raise HostError(
            f"The image cannot be read at byte {offset_bytes}: {error.strerror}."
        ) from error


def find_segments(descriptor: int, *, size_bytes: int) -> Iterator[Segment]:
    """Yield where an open file has data (lseek(2), SEEK_DATA)."""
    position = 0
    while position < size_bytes:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = min(os.lseek(descriptor, start, os.SEEK_HOLE), size_bytes)
        if start < position:
            yield Segment(start, position - start)


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def _header(name: str, status: os.stat_result, *, stored_bytes: int, bounds: "array[int]") -> bytes:
    """Return the header, with what follows it of the sparse map where there are holes."""
    raw = name.encode()
    if len(raw) > 100:
        raise ValueError(f"{name} has {len(raw)} bytes; a tar header holds 100")
    is_sparse = stored_bytes < status.st_size
    header = bytearray(BLOCK_BYTES)
    header[0 : len(raw)] = raw
    header[100:108] = f"{status.st_mode & 0o7777:07o}\0".encode()
    header[108:116] = header[116:124] = b"0000000\0"
    header[124:136] = _number(stored_bytes)
    header[136:148] = _number(int(status.st_mtime))
    header[156:157] = b"S" if is_sparse else b"0"
    header[257:265] = b"ustar  \0"
    header[265:269] = header[297:301] = b"root"
    more = bytearray()
    if is_sparse:
        entries = _packed_map(bounds, status.st_size)
        inner = _MAP_IN_HEADER * _ENTRY_BYTES
        header[386 : 386 + inner] = entries[:inner].ljust(inner, b"\0")
        header[482] = len(entries) > inner
        header[483:495] = _number(status.st_size)
        more = _map_blocks(entries, start=inner)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header + more)


def _packed_map(bounds: "array[int]", size_bytes: int) -> bytearray:
    entries = bytearray()
    for value in bounds:
        entries += _number(value)
    if not bounds or bounds[-2] + bounds[-1] < size_bytes:
        entries += _number(size_bytes) + _number(0)  # so does GNU tar: it ends with a hole
    return entries


def _map_blocks(entries: bytearray, *, start: int) -> bytearray:
    blocks = bytearray()
    inner = _MAP_IN_BLOCK * _ENTRY_BYTES
    for position in range(start, len(entries), inner):
        blocks += entries[position : position + inner].ljust(inner, b"\0")
        blocks += bytes([position + inner < len(entries)])
        blocks += bytes(BLOCK_BYTES - inner - 1)
    return blocks


def _number(value: int) -> bytes:
    """Return a number of twelve bytes: octal digits, or base 256 where they do not suffice."""
    if 0 <= value <= _LARGEST_OCTAL:
        return f"{value:011o}\0".encode()
    return b"\x80" + value.to_bytes(11, "big")
