"""A tar stream of one member becomes its data, each piece with its place in the file.

What the original's unbundle takes is read: GNU's plain and sparse members, ustar, pax, and pax's
three sparse forms (GNU tar's manual, "Sparse Formats"; POSIX pax, "Extended Header"). Everything
else, and everything that a tar could do beyond holding one file, is refused.
"""

import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from imgforge.bundle.names import is_safe_name
from imgforge.bundle.problem import BundleError, shown
from imgforge.bundle.stream import Stream
from imgforge.bundle.tar_writer import BLOCK_BYTES

_LONGEST_EXTENSION_BYTES = 16 * 2**20
_MOST_PADDING_BYTES = 2**20
_MAP_IN_HEADER = 4
_MAP_IN_BLOCK = 21
_REGULAR = {b"0", b"\0", b"7"}


@dataclass(frozen=True, slots=True)
class Member:
    """The file in the tar: its name and size, and offset and size of each of its segments."""

    name: str
    size_bytes: int
    bounds: "array[int]"


def read_member(stream: Stream, *, size_bytes: int) -> Member:
    """Read up to the member's data.

    Raises BundleError (tar) for a member that is no regular file of exactly `size_bytes`, or has a
    name that is a path or worse.
    """
    pax: dict[str, str] = {}
    sparse_offsets: list[tuple[str, str]] = []
    long_name = ""
    while True:
        block = stream.take(BLOCK_BYTES)
        header = _header(block)
        kind = header.type
        if kind == b"x":
            records = list(_pax_records(_extension(stream, header.size)))
            pax = dict(records)
            sparse_offsets = [one for one in records if one[0].startswith("GNU.sparse.")]
        elif kind == b"g":
            _extension(stream, header.size)
        elif kind == b"L":
            long_name = _extension(stream, header.size).rstrip(b"\0").decode("utf-8", "replace")
        else:
            break
    name = pax.get("GNU.sparse.name") or pax.get("path") or long_name or header.name
    if not is_safe_name(name):
        raise _refused(f"its member is named {shown(name)}, which is no plain file name")
    if kind == b"S":
        member = _old_gnu(stream, block, name)
    elif kind in _REGULAR:
        stored_bytes = _decimal(pax["size"]) if "size" in pax else header.size
        member = _posix(stream, _Stored(name, stored_bytes), pax=pax, sparse=sparse_offsets)
    else:
        raise _refused(f"its member {name} is of type {shown(kind.decode('latin-1'))}, no file")
    if member.size_bytes != size_bytes:
        raise _refused(
            f"its member {name} has {member.size_bytes} bytes, the manifest says {size_bytes}"
        )
    _check_bounds(member)
    return member


def read_data(stream: Stream, member: Member) -> Iterator[tuple[int, memoryview]]:
    """Yield the member's data as offset and bytes, and make sure that nothing follows it.

    Raises BundleError (tar) for another member, or anything but the zeros at a tar's end.
    """
    stored_bytes = 0
    for offset_bytes, length_bytes in zip(member.bounds[::2], member.bounds[1::2], strict=True):
        position = offset_bytes
        for piece in stream.pieces(length_bytes):
            yield position, piece
            position += len(piece)
        stored_bytes += length_bytes
    stream.take(-stored_bytes % BLOCK_BYTES)
    for number, chunk in enumerate(stream.rest(_MOST_PADDING_BYTES)):
        if any(chunk):
            first = chunk[:BLOCK_BYTES] if number == 0 else b""
            what = "another member follows" if b"ustar" in first else "something follows it"
            raise _refused(f"{what}; a bundle holds one file")


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _refused(f"it has no good header: {error}") from None


def _extension(stream: Stream, size_bytes: int) -> bytes:
    if not 0 <= size_bytes <= _LONGEST_EXTENSION_BYTES:
        raise _refused(f"it has an extended header of {size_bytes} bytes")
    content = stream.take(size_bytes)
    stream.take(-size_bytes % BLOCK_BYTES)
    return content


def _pax_records(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of an extended header: a length, a blank, KEY=VALUE and a line feed."""
    position = 0
    while position < len(content):
        blank = content.find(b" ", position, position + 12)
        digits = content[position : max(blank, position)]
        end = position + int(digits) if digits.isdigit() else 0
        key, equals, value = content[blank + 1 : end].partition(b"=")
        if not blank < end <= len(content) or not equals or not value.endswith(b"\n"):
            raise _refused("it has a damaged extended header")
        yield key.decode("utf-8", "replace"), value[:-1].decode("utf-8", "replace")
        position = end


def _old_gnu(stream: Stream, block: bytes, name: str) -> Member:
    bounds = array("Q")
    _read_map(block[386:482], _MAP_IN_HEADER, bounds)
    is_followed = block[482] != 0
    size_bytes = _binary(block[483:495])
    while is_followed:
        more = stream.take(BLOCK_BYTES)
        _read_map(more, _MAP_IN_BLOCK, bounds)
        is_followed = more[504] != 0
    return Member(name, size_bytes, bounds)


def _read_map(packed: bytes, count: int, bounds: "array[int]") -> None:
    for start in range(0, 24 * count, 24):
        if packed[start] == 0:  # the end of the map
            return
        offset_bytes = _binary(packed[start : start + 12])
        length_bytes = _binary(packed[start + 12 : start + 24])
        bounds.extend((offset_bytes, length_bytes))


@dataclass(frozen=True, slots=True)
class _Stored:
    name: str
    size_bytes: int


def _posix(
    stream: Stream, stored: _Stored, *, pax: dict[str, str], sparse: list[tuple[str, str]]
) -> Member:
    """Return a member of pax or ustar, sparse by one of GNU's three forms, or plain."""
    real = pax.get("GNU.sparse.realsize") or pax.get("GNU.sparse.size")
    if real is None:
        return Member(stored.name, stored.size_bytes, array("Q", (0, stored.size_bytes)))
    size_bytes = _decimal(real)
    if pax.get("GNU.sparse.major") == "1":
        return Member(stored.name, size_bytes, _map_before_data(stream))
    if "GNU.sparse.map" in pax:
        numbers = [_decimal(one) for one in pax["GNU.sparse.map"].split(",")]
    else:
        keys = ("GNU.sparse.offset", "GNU.sparse.numbytes")
        numbers = [_decimal(value) for key, value in sparse if key in keys]
    if len(numbers) % 2:
        raise _refused("its sparse map has an odd count of numbers")
    return Member(stored.name, size_bytes, array("Q", numbers))


def _map_before_data(stream: Stream) -> "array[int]":
    """Read the map of pax's sparse form 1.0: lines of decimal numbers, in whole blocks."""
    waiting = bytearray()

    def number() -> int:
        while b"\n" not in waiting:
            if len(waiting) > BLOCK_BYTES:
                raise _refused("its sparse map is damaged")
            waiting.extend(stream.take(BLOCK_BYTES))
        line, _, rest = bytes(waiting).partition(b"\n")
        waiting[:] = rest
        return _decimal(line.decode("latin-1"))

    count = number()
    bounds = array("Q")
    for _ in range(count):  # each entry has to come out of the stream, which is limited
        bounds.extend((number(), number()))
    return bounds


def _check_bounds(member: Member) -> None:
    end = 0
    for offset_bytes, length_bytes in zip(member.bounds[::2], member.bounds[1::2], strict=True):
        if offset_bytes < end or offset_bytes + length_bytes > member.size_bytes:
            raise _refused("its sparse map overlaps itself, or goes beyond the file's end")
        end = offset_bytes + length_bytes


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise _refused(f"it has {shown(text)} where a size is needed")
    return int(text)


def _binary(field: bytes) -> int:
    """Return a number of a header: octal digits, or base 256 (GNU)."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
    else:
        digits = field.rstrip(b"\0 ").lstrip(b" ")
        if digits and not all(48 <= digit < 56 for digit in digits):
            raise _refused(f"it has {shown(repr(field))} where a size is needed")
        value = int(digits or b"0", 8)
    if value >= 2**50:
        raise _refused(f"it claims {value} bytes")
    return value


def _refused(what: str) -> BundleError:
    return BundleError("tar", f"Bundle: the tar in it is refused: {what}.")
