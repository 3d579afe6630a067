"""What a kernel is packed by, unpacked as a stream: never more of it at once than a piece.

Nothing in it is believed: what it claims has limits, and no more than MOST_UNPACKED_BYTES are
unpacked.
"""

import bz2
import lzma
import zlib
from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO, Protocol

from imgforge.disk.lzo import LzoDamagedError, unpack_lzo

MOST_UNPACKED_BYTES = 2**28
_CHUNK_BYTES = 2**18
_LZMA_MEMORY_BYTES = 2**27  # Linux packs with a dictionary of 32 MiB


class Compression(StrEnum):
    """How a kernel's payload is compressed."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    LZMA = "lzma"
    XZ = "xz"
    LZO = "lzo"
    LZ4 = "lz4"
    ZSTD = "zstd"
    UNKNOWN = "unknown"


_MAGICS = (
    (b"\x1f\x8b", Compression.GZIP),
    (b"BZh", Compression.BZIP2),
    (b"\xfd7zXZ\0", Compression.XZ),
    (b"\x89LZO", Compression.LZO),
    (b"\x02\x21\x4c\x18", Compression.LZ4),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"\x5d\0\0", Compression.LZMA),
    (b"\x7fELF", Compression.NONE),
)


class DamagedPayloadError(Exception):
    """The kernel contradicts itself, or ends too early."""


class _Unpacker(Protocol):
    def unpack(self, data: bytes) -> bytes: ...


def recognise_compression(head: bytes) -> Compression:
    """Tell by its first bytes how a payload is compressed."""
    return next((kind for magic, kind in _MAGICS if head.startswith(magic)), Compression.UNKNOWN)


def read_chunks(file: BinaryIO, *, first: bytes = b"", most: int | None = None) -> Iterator[bytes]:
    """Read on to a file's end, or to `most` bytes, `first` among them, which are read already."""
    left = MOST_UNPACKED_BYTES if most is None else most
    data = first or file.read(_CHUNK_BYTES)
    while data and left > 0:
        yield data[:left]
        left -= len(data)
        data = file.read(_CHUNK_BYTES)


def can_unpack(compression: Compression) -> bool:
    """Tell whether a payload can be unpacked here: lz4 and zstd cannot."""
    plain = compression in {Compression.NONE, Compression.LZO}
    return plain or _unpacker(compression) is not None


def unpack_pieces(chunks: Iterator[bytes], compression: Compression) -> Iterator[bytes]:
    """Unpack a payload that can be, piece by piece. Raises DamagedPayloadError."""
    if compression is Compression.LZO:
        try:
            yield from unpack_lzo(chunks, most_bytes=MOST_UNPACKED_BYTES)
        except LzoDamagedError as error:
            raise DamagedPayloadError(f"its lzo is damaged ({error})") from None
        return
    unpacker = _unpacker(compression)
    for chunk in chunks:
        data = chunk if unpacker is None else unpacker.unpack(chunk)
        while data:
            yield data
            data = b"" if unpacker is None else unpacker.unpack(b"")


class PayloadStream:
    """An unpacked payload, read forward once: what was passed cannot be had again."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._start = 0

    def read(self, end: int, start: int = 0) -> bytes:
        """Return bytes `start` to `end`; what lies before `start` is dropped for good."""
        if end > MOST_UNPACKED_BYTES:
            raise DamagedPayloadError(f"it points to byte {end} of the unpacked kernel")
        if start < self._start:
            raise DamagedPayloadError("its headers are out of order")
        while self._start + len(self._buffer) < end:
            self._forget(start)
            self._buffer += self._next()
        self._forget(start)
        return self._buffer[: end - start]

    def _forget(self, start: int) -> None:
        count = min(start - self._start, len(self._buffer))
        self._buffer = self._buffer[count:]
        self._start += count

    def _next(self) -> bytes:
        piece = next(self._pieces, b"")
        if not piece:
            raise DamagedPayloadError("it ends too early: it was cut short")
        return piece


class _Zlib:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self._left = b""

    def unpack(self, data: bytes) -> bytes:
        try:
            unpacked = self._inner.decompress(self._left + data, _CHUNK_BYTES)
        except zlib.error as error:
            raise DamagedPayloadError(f"its gzip is damaged ({error})") from None
        self._left = self._inner.unconsumed_tail
        return unpacked


class _Library:
    """bzip2, xz and lzma: Python's decompressors keep what they have not unpacked yet."""

    def __init__(self, inner: "bz2.BZ2Decompressor | lzma.LZMADecompressor", name: str) -> None:
        self._inner = inner
        self._name = name

    def unpack(self, data: bytes) -> bytes:
        if self._inner.eof or (not data and self._inner.needs_input):
            return b""
        try:
            return self._inner.decompress(data, _CHUNK_BYTES)
        except (lzma.LZMAError, OSError, ValueError, EOFError) as error:
            raise DamagedPayloadError(f"its {self._name} is damaged ({error})") from None
        except MemoryError:
            raise DamagedPayloadError(f"its {self._name} asks for too much memory") from None


def _unpacker(compression: Compression) -> _Unpacker | None:
    """Return what unpacks a payload; None where Python has nothing of its own that does."""
    match compression:
        case Compression.GZIP:
            return _Zlib()
        case Compression.BZIP2:
            return _Library(bz2.BZ2Decompressor(), "bzip2")
        case Compression.XZ:
            xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY_BYTES)
            return _Library(xz, "xz")
        case Compression.LZMA:
            plain = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY_BYTES)
            return _Library(plain, "lzma")
        case _:
            return None
