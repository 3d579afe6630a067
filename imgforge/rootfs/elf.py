"""Which libraries an ELF program needs (elf(5)): 64-bit and little-endian ones only."""

import struct
from collections.abc import Iterator

_MAGIC = b"\x7fELF\x02\x01"
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_MOST_HEADERS = 128


def needed_libraries(content: bytes) -> list[str]:
    """Return the sonames that a program or a library names, in its order; none of a static one.

    Raises ValueError for what is no such ELF file, or is damaged.
    """
    if not content.startswith(_MAGIC):
        raise ValueError("no 64-bit ELF file")
    try:
        return list(_needed(content))
    except (struct.error, IndexError, OverflowError, ValueError) as error:
        raise ValueError(f"a damaged ELF file: {error}") from None


def _needed(content: bytes) -> Iterator[str]:
    segments = list(_segments(content))
    dynamic = next((each for each in segments if each[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return
    _, offset, _, size = dynamic
    table = content[offset : offset + size]
    entries = list(_DYNAMIC.iter_unpack(table[: len(table) // _DYNAMIC.size * _DYNAMIC.size]))
    address = dict(entries)[_DT_STRTAB] if any(tag == _DT_STRTAB for tag, _ in entries) else 0
    strings = _offset_of(address, segments)
    for tag, value in entries:
        if tag == _DT_NEEDED:
            start = strings + value
            yield content[start : content.index(b"\0", start)].decode("ascii")


def _segments(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Give type, offset, address and size in the file of each segment."""
    (start,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for number in range(min(count, _MOST_HEADERS)):
        header = _PROGRAM_HEADER.unpack_from(content, start + number * size)
        yield header[0], header[2], header[3], header[5]


def _offset_of(address: int, segments: list[tuple[int, int, int, int]]) -> int:
    for kind, offset, start, size in segments:
        if kind == _PT_LOAD and start <= address < start + size:
            return offset + address - start
    raise IndexError("its strings are in none of its segments")
