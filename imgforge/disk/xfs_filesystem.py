"""Reading XFS, version 4 and 5, without mounting it, from files nobody vouches for.

The format is that of "XFS Algorithms & Data Structures" (xfsdocs) and the kernel's xfs_format.h and
xfs_da_format.h. Every count and pointer comes from the image: each is held against the file's size,
and nothing is followed twice.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgforge.disk.ext import S_IFDIR, S_IFMT, Extent
from imgforge.disk.xfs_superblock import SUPERBLOCK_BYTES, parse_xfs_superblock
from imgforge.errors import BadInputError

_INODE_MAGIC = b"IN"
_LOCAL, _EXTENTS, _BTREE = 1, 2, 3
_REALTIME = 0x1
_BIGTIME = 0x8
_MANY_EXTENTS = 0x10
_BIGTIME_EPOCH_S = -(2**31)
_MAP_MAGICS = {4: (b"BMAP", 24), 5: (b"BMA3", 72)}
_MAP_DEPTH = 9
_FOLDER_MAGICS = {b"XD2B": 16, b"XD2D": 16, b"XDB3": 64, b"XDD3": 64}
_FOLDER_OF_ONE_BLOCK = {b"XD2B", b"XDB3"}
_FOLDER_INDEX_BYTES = 32 * 2**30
"""Where in a folder its index begins: what stands before it are the names."""
_LONGEST_SYMLINK = 1024
_SYMLINK_HEADER_BYTES = 56
_MOST_SYMLINK_EXTENTS = 3
_UNUSED = 0xFFFF


@dataclass(frozen=True, slots=True)
class XfsName:
    """A name in a folder: its inode, and where its record stands, in bytes.

    `inode_at` is where the inode's number stands, in `inode_width` bytes; `name_at` the name.
    """

    name: bytes
    inode: int
    name_at: int
    inode_at: int
    inode_width: int


@dataclass(frozen=True, slots=True)
class Fork:
    """What of an inode maps a file's data, or its attributes: `at` is where it stands, in bytes."""

    kind: int
    body: bytes
    at: int
    extents: int

    @property
    def is_local(self) -> bool:
        """Whether it has no map, but the content itself."""
        return self.kind == _LOCAL

    @property
    def is_empty(self) -> bool:
        """Whether it maps nothing."""
        return self.kind == _EXTENTS and not self.extents


@dataclass(frozen=True, slots=True)
class XfsInode:
    """An inode's own bytes and number, and where it stands in the file system, in bytes."""

    number: int
    raw: bytes
    at: int

    @property
    def mode(self) -> int:
        """Type and permission bits, as st_mode."""
        return self._word(">H", 2)

    @property
    def uid(self) -> int:
        """Its owner."""
        return self._word(">I", 8)

    @property
    def gid(self) -> int:
        """Its group."""
        return self._word(">I", 12)

    @property
    def links(self) -> int:
        """How many names it has."""
        return self._word(">H", 6) if self.raw[4] == 1 else self._word(">I", 16)

    @property
    def size_bytes(self) -> int:
        """The length of its content."""
        return self._word(">Q", 56)

    @property
    def mtime_s(self) -> int:
        """When its content was changed, in whole seconds since 1970."""
        if self._flags_2 & _BIGTIME:
            return self._word(">Q", 40) // 10**9 + _BIGTIME_EPOCH_S
        return self._word(">i", 40)

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor of a node, as the kernel's sysv_major and sysv_minor."""
        number = struct.unpack_from(">I", self.data.body.ljust(4, b"\0"))[0]
        return number >> 18 & 0x3FFF, number & 0x3FFFF

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return self.mode & S_IFMT == S_IFDIR

    @property
    def is_realtime(self) -> bool:
        """Whether its data is on another device."""
        return bool(self._word(">H", 90) & _REALTIME)

    @property
    def data(self) -> Fork:
        """Where its data is."""
        at = self._literal
        end = at + self.raw[82] * 8 if self.raw[82] else len(self.raw)
        many = self._flags_2 & _MANY_EXTENTS
        count = self._word(">Q", 24) if many else self._word(">I", 76)
        return Fork(self.raw[5], self.raw[at:end], self.at + at, count)

    @property
    def attributes(self) -> Fork | None:
        """Where its attributes are; None where it has none."""
        if not self.raw[82]:
            return None
        at = self._literal + self.raw[82] * 8
        many = self._flags_2 & _MANY_EXTENTS
        count = self._word(">I", 76) if many else self._word(">H", 80)
        return Fork(self.raw[83], self.raw[at:], self.at + at, count)

    @property
    def _literal(self) -> int:
        return 176 if self.raw[4] >= 3 else 100

    @property
    def _flags_2(self) -> int:
        return self._word(">Q", 120) if self.raw[4] >= 3 else 0

    def _word(self, form: str, at: int) -> int:
        return int(struct.unpack_from(form, self.raw, at)[0])


class XfsFilesystem:
    """An XFS file system that starts `offset` bytes into an open file.

    Every method raises BadInputError where the image contradicts itself.
    """

    def __init__(self, file: BinaryIO, *, offset: int = 0) -> None:
        self._descriptor = file.fileno()
        self.offset = offset
        self._limit = os.fstat(self._descriptor).st_size - offset
        self.superblock = parse_xfs_superblock(self.read_at(0, SUPERBLOCK_BYTES))
        if self.superblock.blocks_count * self.superblock.block_bytes > self._limit:
            raise BadInputError(
                f"xfs superblock: the file system has {self.superblock.blocks_count} blocks of "
                f"{self.superblock.block_bytes} bytes, the disk leaves {self._limit} bytes."
            )

    def read_at(self, position: int, count: int) -> bytes:
        """Read `count` bytes at `position` of the file system."""
        if position < 0 or position + count > self._limit:
            raise BadInputError(f"xfs: {count} bytes at {position} lie beyond the disk's end.")
        data = os.pread(self._descriptor, count, self.offset + position)
        if len(data) != count:
            raise BadInputError(f"xfs: the disk ends before byte {position + count}.")
        return data

    def block_at(self, block: int) -> int:
        """Return where a block stands, in bytes from the start of the file system."""
        superblock = self.superblock
        group, within = divmod(block, 1 << superblock.group_log)
        linear = group * superblock.group_blocks + within
        if within >= superblock.group_blocks or linear >= superblock.blocks_count:
            raise BadInputError(f"xfs: there is no block {block}.")
        return linear * superblock.block_bytes

    def inode(self, number: int) -> XfsInode:
        """Read an inode."""
        superblock = self.superblock
        block, within = divmod(number, 1 << superblock.inode_log)
        at = self.block_at(block) + within * superblock.inode_bytes
        raw = self.read_at(at, superblock.inode_bytes)
        # Its fork for attributes begins within it, in units of eight bytes.
        fits = (176 if raw[4] >= 3 else 100) + raw[82] * 8 < len(raw)
        if raw[:2] != _INODE_MAGIC or not fits or (raw[4] >= 3) != superblock.has_checksums:
            raise BadInputError(f"xfs inode {number}: none stands there.")
        return XfsInode(number, raw, at)

    def extents(self, inode: XfsInode, fork: Fork) -> Iterator[Extent]:
        """Walk a fork's blocks in their order in the file, `physical` as bytes of the file system.

        Holes are left out, and what was allocated and never written.
        """
        total, last = 0, 0
        maps: set[int] = set()  # its blocks: none may be met twice
        for logical, block, count, is_written in self._mapped(inode, fork, maps):
            total += count
            if logical < last or total > self.superblock.blocks_count:
                raise BadInputError(f"xfs inode {inode.number}: the map of its blocks is damaged.")
            last = logical + count
            start = self.block_at(block)
            if start != self.block_at(block + count - 1) - (count - 1) * self._block_bytes:
                raise BadInputError(f"xfs inode {inode.number}: its blocks lie outside the disk.")
            if is_written:
                yield Extent(logical, start, count)

    @property
    def _block_bytes(self) -> int:
        return self.superblock.block_bytes

    def _mapped(
        self, inode: XfsInode, fork: Fork, maps: set[int]
    ) -> Iterator[tuple[int, int, int, bool]]:
        if fork.kind == _EXTENTS:
            if fork.extents * 16 > len(fork.body):
                raise BadInputError(f"xfs inode {inode.number}: the map of its blocks is damaged.")
            yield from _records(inode.number, fork.body, 0, fork.extents)
        elif fork.kind == _BTREE:
            level, count = struct.unpack_from(">HH", fork.body)
            most = (len(fork.body) - 4) // 16
            if not 0 < level <= _MAP_DEPTH or count > most:
                raise BadInputError(f"xfs inode {inode.number}: the map of its blocks is damaged.")
            for block in struct.unpack_from(f">{count}Q", fork.body, 4 + most * 8):
                yield from self._map_block(inode.number, block, maps, level=level - 1)
        elif not fork.is_local:
            raise BadInputError(f"xfs inode {inode.number}: it has no map of blocks.")

    def _map_block(
        self, number: int, block: int, maps: set[int], *, level: int
    ) -> Iterator[tuple[int, int, int, bool]]:
        data = self.read_at(self.block_at(block), self._block_bytes)
        magic, head = _MAP_MAGICS[self.superblock.version]
        found_level, count = struct.unpack_from(">HH", data, 4)
        most = (self._block_bytes - head) // 16
        if block in maps or data[:4] != magic or found_level != level or count > most:
            raise BadInputError(f"xfs inode {number}: the map of its blocks is damaged.")
        maps.add(block)
        if level == 0:
            yield from _records(number, data, head, count)
            return
        for child in struct.unpack_from(f">{count}Q", data, head + most * 8):
            yield from self._map_block(number, child, maps, level=level - 1)

    def list_folder(self, inode: XfsInode) -> Iterator[XfsName]:
        """Walk a folder's names; "." and ".." may be among them."""
        if not inode.is_folder:
            raise BadInputError(f"xfs inode {inode.number}: it is no folder.")
        fork = inode.data
        if fork.is_local:
            yield from self._short_folder(inode, fork)
            return
        size, end = self.superblock.folder_block_bytes, 0
        pieces: list[tuple[int, int]] = []
        for run in self.extents(inode, fork):
            for index in range(run.count):
                at = (run.logical + index) * self._block_bytes
                if at >= _FOLDER_INDEX_BYTES:
                    break
                if pieces and at // size != end // size:
                    yield from self._folder_block(inode.number, pieces)
                    pieces = []
                pieces.append((at % size, run.physical + index * self._block_bytes))
                end = at
        if pieces:
            yield from self._folder_block(inode.number, pieces)
        if end // size * size + size != inode.size_bytes or not pieces:
            raise BadInputError(f"xfs inode {inode.number}: blocks of the folder are missing.")

    def _short_folder(self, inode: XfsInode, fork: Fork) -> Iterator[XfsName]:
        body = fork.body[: inode.size_bytes]
        width = 8 if len(body) > 1 and body[1] else 4
        typed = 1 if self.superblock.has_file_types else 0
        position = 2 + width
        for _ in range(body[0] if body else 0):
            length = body[position] if position < len(body) else 0
            end = position + 3 + length + typed + width
            if not length or end > len(body):
                raise BadInputError(f"xfs inode {inode.number}: the folder's records are damaged.")
            number = int.from_bytes(body[end - width : end])
            name = body[position + 3 : position + 3 + length]
            at = fork.at
            yield XfsName(name, number, at + position + 3, at + end - width, width)
            position = end

    def _folder_block(self, number: int, pieces: list[tuple[int, int]]) -> Iterator[XfsName]:
        """Walk a block of names, which may consist of several blocks of the file system."""
        size, unit = self.superblock.folder_block_bytes, self._block_bytes
        if len(pieces) * unit != size:
            raise BadInputError(f"xfs inode {number}: the folder's blocks are damaged.")
        data = b"".join(self.read_at(place, unit) for _, place in pieces)
        position = _FOLDER_MAGICS.get(data[:4], 0)
        if not position:
            raise BadInputError(f"xfs inode {number}: what stands in the folder is none.")
        end = size
        if data[:4] in _FOLDER_OF_ONE_BLOCK:
            end -= 8 + 8 * struct.unpack_from(">I", data, size - 8)[0]
        typed = 1 if self.superblock.has_file_types else 0
        while position + 8 <= end:
            if struct.unpack_from(">H", data, position)[0] == _UNUSED:
                step = struct.unpack_from(">H", data, position + 2)[0]
            else:
                inode, length = struct.unpack_from(">QB", data, position)
                step = -(-(11 + length + typed) // 8) * 8
                name = data[position + 9 : position + 9 + length]
                if not length or position + step > end:
                    raise BadInputError(f"xfs inode {number}: the folder's records are damaged.")
                at, within = pieces[position // unit][1], position % unit
                # A name that goes on in the next block of the file system stands where it began
                # only if that one follows: XFS asks for both together.
                yield XfsName(name, inode, at + within + 9, at + within, 8)
            if step < 8 or step % 8:
                raise BadInputError(f"xfs inode {number}: the folder's records are damaged.")
            position += step
        if position != end:
            raise BadInputError(f"xfs inode {number}: the folder's records are damaged.")

    def read_symlink(self, inode: XfsInode) -> bytes:
        """Return where a symlink points."""
        size = inode.size_bytes
        if not 0 < size <= _LONGEST_SYMLINK:
            raise BadInputError(f"xfs inode {inode.number}: a symlink of this length cannot be.")
        fork = inode.data
        if fork.is_local:
            content = fork.body[:size]
        elif fork.extents > _MOST_SYMLINK_EXTENTS:
            raise BadInputError(f"xfs inode {inode.number}: the symlink is damaged.")
        else:
            head = _SYMLINK_HEADER_BYTES if self.superblock.has_checksums else 0
            content = b"".join(  # each extent has a header
                self.read_at(run.physical, min(run.count * self._block_bytes, 2**16))[head:]
                for run in self.extents(inode, fork)
            )[:size]
        if len(content) != size:
            raise BadInputError(f"xfs inode {inode.number}: the symlink is damaged.")
        return content


def _records(
    number: int, data: bytes, start: int, count: int
) -> Iterator[tuple[int, int, int, bool]]:
    """Yield extents: first block of the file, first block, length, whether it was written."""
    for position in range(start, start + count * 16, 16):
        high, low = struct.unpack_from(">QQ", data, position)
        length = low & 0x1FFFFF
        if not length:
            raise BadInputError(f"xfs inode {number}: the map of its blocks is damaged.")
        yield (high & ~(1 << 63)) >> 9, (high & 0x1FF) << 43 | low >> 21, length, not high >> 63
