"""Extended attributes of ext, of inodes and blocks that may hold anything."""

import random
import struct
from contextlib import suppress
from dataclasses import dataclass

import pytest

from imgforge.disk.ext import ExtFilesystem, Inode
from imgforge.disk.ext_attributes import read_attributes
from imgforge.errors import BadInputError

MAGIC = struct.pack("<I", 0xEA020000)


@dataclass(frozen=True, slots=True)
class _Superblock:
    blocks_count: int = 2


class _Blocks(ExtFilesystem):
    """A file system of one block."""

    def __init__(self, block: bytes) -> None:
        self.superblock = _Superblock()  # type: ignore[assignment]
        self.block = block

    def read_block(self, block: int) -> bytes:
        return self.block


def entry(name: bytes, index: int, offset: int, size: int, *, elsewhere: int = 0) -> bytes:
    head = struct.pack("<BBHIII", len(name), index, offset, elsewhere, size, 0)
    return (head + name).ljust((16 + len(name) + 3) // 4 * 4, b"\0")


def inode(*, inside: bytes = b"", block: int = 0) -> Inode:
    raw = bytearray(256)
    struct.pack_into("<H", raw, 128, 32)
    struct.pack_into("<I", raw, 104, block)
    raw[160 : 160 + len(inside)] = inside
    return Inode(12, bytes(raw[:256]))


def block(*entries: bytes, values: bytes = b"") -> bytes:
    data = bytearray(4096)
    data[:4] = MAGIC
    body = b"".join(entries)
    data[32 : 32 + len(body)] = body
    data[4096 - len(values) :] = values
    return bytes(data)


def test_attributes_stand_in_the_inode_and_in_a_block() -> None:
    inside = bytearray(MAGIC + entry(b"a", 1, 60, 3) + entry(b"capability", 6, 64, 2))
    inside = inside.ljust(96, b"\0")
    inside[4 + 60 : 4 + 63], inside[4 + 64 : 4 + 66] = b"xyz", b"cc"
    far = block(entry(b"far", 4, 4090, 6), values=b"values")
    found = read_attributes(_Blocks(far), inode(inside=bytes(inside), block=1))
    assert found == {"user.a": b"xyz", "security.capability": b"cc", "trusted.far": b"values"}
    assert read_attributes(_Blocks(b""), inode()) == {}
    assert read_attributes(_Blocks(b""), Inode(12, bytes(128))) == {}


def test_an_acl_has_the_form_of_the_system_call() -> None:
    disk = struct.pack("<I", 1) + struct.pack("<HH", 1, 6) + struct.pack("<HHI", 2, 4, 70_000)
    disk += struct.pack("<HH", 4, 4) + struct.pack("<HH", 16, 4) + struct.pack("<HH", 32, 0)
    data = block(entry(b"", 2, 4096 - len(disk), len(disk)), values=disk)
    found = read_attributes(_Blocks(data), inode(block=1))["system.posix_acl_access"]
    none = 0xFFFFFFFF
    wanted = [(1, 6, none), (2, 4, 70_000), (4, 4, none), (16, 4, none), (32, 0, none)]
    assert found[:4] == struct.pack("<I", 2)
    assert list(struct.iter_unpack("<HHI", found[4:])) == wanted


@pytest.mark.parametrize(
    "data",
    [
        bytes(4096),
        block(entry(b"x", 1, 4090, 7)),
        block(entry(b"x", 1, 65535, 1)),
        block(entry(b"x", 99, 4000, 1)),
        block(entry(b"x\0y", 1, 4000, 1)),
        block(entry(b"x", 1, 4000, 2**31)),
        block(entry(b"x", 1, 0, 3, elsewhere=77)),
        block(entry(b"", 2, 4092, 4), values=b"\2\0\0\0"),
        block(entry(b"", 2, 4090, 6), values=b"\1\0\0\0\1\0"),
        block(entry(b"", 2, 4088, 8), values=b"\1\0\0\0\2\0\4\0"),
        MAGIC + bytes(28) + b"\xff" * (4096 - 32),
        MAGIC + bytes(28) + entry(b"x" * 255, 1, 0, 0) * 14 + b"\x10\1\0\0" * 99,
    ],
)
def test_damaged_attributes_are_told(data: bytes) -> None:
    with pytest.raises(BadInputError, match="ext inode 12"):
        read_attributes(_Blocks(data[:4096]), inode(block=1))
    with pytest.raises(BadInputError, match="damaged"):
        read_attributes(_Blocks(data), inode(block=2))


def test_no_bytes_break_it() -> None:
    noise = random.Random(7)
    good = block(entry(b"far", 4, 4090, 6), entry(b"", 2, 4000, 20), values=b"values")
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(noise.randint(1, 5)):
            data[noise.randrange(96)] = noise.randrange(256)
        raw = bytearray(inode(inside=MAGIC + entry(b"a", 1, 40, 3), block=1).raw)
        raw[noise.randrange(128, 256)] = noise.randrange(256)
        with suppress(BadInputError):
            read_attributes(_Blocks(bytes(data)), Inode(12, bytes(raw)))
