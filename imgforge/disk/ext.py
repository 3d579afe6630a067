"""Reading ext2, ext3 and ext4 without mounting them, from files nobody vouches for.

The format is that of the kernel's Documentation/filesystems/ext4. Every count and pointer comes
from the image: each is held against the file's size, and nothing is followed twice.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgforge.disk.ext_superblock import SUPERBLOCK_OFFSET, parse_superblock
from imgforge.errors import BadInputError

ROOT_INODE = 2
_FLAG_EXTENTS = 0x80000
_FLAG_INLINE_DATA = 0x10000000
_EXTENT_MAGIC = 0xF30A
_MAX_EXTENT_DEPTH = 5
_MAX_LINKS_FOLLOWED = 16
_LARGEST_FILE_READ = 2**30

S_IFMT = 0o170000
S_IFREG = 0o100000
S_IFDIR = 0o040000
S_IFLNK = 0o120000


@dataclass(frozen=True, slots=True)
class Group:
    """A block group: where its bitmaps and its inode table start, in blocks."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of a file's blocks: first block in the file, first block on the disk, length."""

    logical: int
    physical: int
    count: int


@dataclass(frozen=True, slots=True)
class Dirent:
    """A name in a folder: its inode, and where in the file system its record stands, in bytes."""

    name: bytes
    inode: int
    file_type: int
    offset: int


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode's own bytes and number."""

    number: int
    raw: bytes

    @property
    def mode(self) -> int:
        """Type and permission bits, as st_mode."""
        return int(struct.unpack_from("<H", self.raw, 0)[0])

    @property
    def size_bytes(self) -> int:
        """The length of its content."""
        low, high = (
            struct.unpack_from("<I", self.raw, 4)[0],
            struct.unpack_from("<I", self.raw, 108)[0],
        )
        return int(low | high << 32)

    @property
    def flags(self) -> int:
        """EXT4_*_FL."""
        return int(struct.unpack_from("<I", self.raw, 32)[0])

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return self.mode & S_IFMT == S_IFDIR


class ExtFilesystem:
    """An ext file system that starts `offset` bytes into an open file.

    Every method raises BadInputError where the image contradicts itself.
    """

    def __init__(self, file: BinaryIO, *, offset: int = 0) -> None:
        self._descriptor = file.fileno()
        self.offset = offset
        self._limit = os.fstat(self._descriptor).st_size - offset
        self.superblock = parse_superblock(self.read_at(SUPERBLOCK_OFFSET, 1024))
        if self.superblock.blocks_count * self.superblock.block_bytes > self._limit:
            raise BadInputError(
                f"ext superblock: the file system has {self.superblock.blocks_count} blocks of "
                f"{self.superblock.block_bytes} bytes, the disk leaves {self._limit} bytes."
            )
        self.groups = tuple(self._read_groups())
        self._tables: dict[int, bytes] = {}

    def read_at(self, position: int, count: int) -> bytes:
        """Read `count` bytes at `position` of the file system."""
        if position < 0 or position + count > self._limit:
            raise BadInputError(f"ext: {count} bytes at {position} lie beyond the disk's end.")
        data = os.pread(self._descriptor, count, self.offset + position)
        if len(data) != count:
            raise BadInputError(f"ext: the disk ends before byte {position + count}.")
        return data

    def read_block(self, block: int) -> bytes:
        """Read one block."""
        return self.read_at(block * self.superblock.block_bytes, self.superblock.block_bytes)

    def _read_groups(self) -> Iterator[Group]:
        superblock = self.superblock
        size = superblock.descriptor_bytes
        start = (superblock.first_data_block + 1) * superblock.block_bytes
        data = self.read_at(start, superblock.group_count * size)
        table_blocks = (
            superblock.inodes_per_group * superblock.inode_bytes // superblock.block_bytes
        )
        for position in range(0, len(data), size):
            low = struct.unpack_from("<3I", data, position)
            high = struct.unpack_from("<3I", data, position + 32) if size >= 64 else (0, 0, 0)
            group = Group(*(a | b << 32 for a, b in zip(low, high, strict=True)))
            if max(low) == 0 or group.inode_table + table_blocks > superblock.blocks_count:
                raise BadInputError(
                    f"ext group {position // size}: its inode table cannot be there."
                )
            yield group

    def inode_offset(self, number: int) -> int:
        """Return where inode `number` stands, in bytes from the start of the file system."""
        superblock = self.superblock
        if not 1 <= number <= superblock.inodes_count:
            raise BadInputError(f"ext: there is no inode {number}.")
        group, index = divmod(number - 1, superblock.inodes_per_group)
        table = self.groups[group].inode_table * superblock.block_bytes
        return table + index * superblock.inode_bytes

    def inode(self, number: int) -> Inode:
        """Read an inode."""
        size = self.superblock.inode_bytes
        page, within = divmod(self.inode_offset(number), 65536)
        if page not in self._tables:
            start = page * 65536
            self._tables[page] = self.read_at(start, min(65536, self._limit - start))
        raw = self._tables[page][within : within + size]
        if len(raw) != size:
            raise BadInputError(f"ext inode {number}: the disk ends within it.")
        return Inode(number, raw)

    def extents(self, inode: Inode, maps: set[int] | None = None) -> Iterator[Extent]:
        """Walk a file's blocks in their order in the file; holes are left out.

        `maps` gets the blocks that hold the map itself: none may be met twice.
        """
        if inode.flags & _FLAG_INLINE_DATA:
            raise BadInputError(f"ext inode {inode.number}: inline data is not supported here.")
        total = 0
        body = inode.raw[40:100]
        maps = set() if maps is None else maps
        runs = (
            self._extent_tree(inode.number, body, maps, depth=None)
            if inode.flags & _FLAG_EXTENTS
            else self._block_map(inode, body, maps)
        )
        for run in runs:
            total += run.count
            end = run.physical + run.count
            if total > self.superblock.blocks_count or end > self.superblock.blocks_count:
                raise BadInputError(f"ext inode {inode.number}: its blocks lie outside the disk.")
            yield run

    def _read_map(self, number: int, block: int, maps: set[int]) -> bytes:
        if block in maps or block >= self.superblock.blocks_count:
            raise BadInputError(f"ext inode {number}: the map of its blocks is damaged.")
        maps.add(block)
        return self.read_block(block)

    def _extent_tree(
        self, number: int, node: bytes, maps: set[int], *, depth: int | None
    ) -> Iterator[Extent]:
        magic, entries, _, node_depth = struct.unpack_from("<4H", node, 0)
        sound = (
            magic == _EXTENT_MAGIC
            and 12 + entries * 12 <= len(node)
            and node_depth <= _MAX_EXTENT_DEPTH
            and (depth is None or node_depth == depth)
        )
        if not sound:
            raise BadInputError(f"ext inode {number}: its extent tree is damaged.")
        for position in range(12, 12 + entries * 12, 12):
            if node_depth == 0:
                logical, count, high, low = struct.unpack_from("<IHHI", node, position)
                written = count if count <= 32768 else 0  # above: allocated, never written
                if written:
                    yield Extent(logical, low | high << 32, written)
            else:
                _, low, high = struct.unpack_from("<IIH", node, position)
                child = self._read_map(number, low | high << 32, maps)
                yield from self._extent_tree(number, child, maps, depth=node_depth - 1)

    def _block_map(self, inode: Inode, body: bytes, maps: set[int]) -> Iterator[Extent]:
        pointers = struct.unpack("<15I", body)
        per_block = self.superblock.block_bytes // 4
        blocks = -(-inode.size_bytes // self.superblock.block_bytes)
        logical = 0
        for index, pointer in enumerate(pointers):
            if logical >= blocks:
                return
            level = max(0, index - 11)
            if pointer:
                yield from self._indirect(inode.number, pointer, maps, (level, logical))
            logical += per_block**level

    def _indirect(
        self, number: int, pointer: int, maps: set[int], place: tuple[int, int]
    ) -> Iterator[Extent]:
        level, logical = place
        if level == 0:
            yield Extent(logical, pointer, 1)
            return
        per_block = self.superblock.block_bytes // 4
        step = per_block ** (level - 1)
        node = struct.unpack(f"<{per_block}I", self._read_map(number, pointer, maps))
        for index, child in enumerate(node):
            if child:
                yield from self._indirect(number, child, maps, (level - 1, logical + index * step))

    def read_file(self, inode: Inode) -> bytes:
        """Read a file's, folder's or long symlink's whole content (at most 1 GiB)."""
        size = inode.size_bytes
        if size > min(_LARGEST_FILE_READ, max(self._limit, 65536) * 4):
            raise BadInputError(f"ext inode {inode.number}: {size} bytes are too many to read.")
        block_bytes = self.superblock.block_bytes
        content = bytearray(size)
        for run in self.extents(inode):
            start = run.logical * block_bytes
            count = min(run.count * block_bytes, size - start)
            if count > 0:
                content[start : start + count] = self.read_at(run.physical * block_bytes, count)
        return bytes(content)

    def list_folder(self, inode: Inode) -> Iterator[Dirent]:
        """Walk a folder's names, "." and ".." included, linear or hashed."""
        if not inode.is_folder:
            raise BadInputError(f"ext inode {inode.number}: it is no folder.")
        block_bytes = self.superblock.block_bytes
        for run in self.extents(inode):
            start = run.physical * block_bytes
            data = self.read_at(start, run.count * block_bytes)
            for position in range(0, len(data), block_bytes):
                yield from self._dirents(inode.number, data, position, start)

    def _dirents(self, number: int, data: bytes, position: int, start: int) -> Iterator[Dirent]:
        # A hashed folder's own index looks like one empty record: no case of its own.
        end = position + self.superblock.block_bytes
        while position < end:
            inode, length, name_length, kind = struct.unpack_from("<IHBB", data, position)
            if length < 8 or length % 4 or position + length > end or name_length + 8 > length:
                raise BadInputError(f"ext inode {number}: the folder's records are damaged.")
            if inode:
                name = data[position + 8 : position + 8 + name_length]
                yield Dirent(name, inode, kind, start + position)
            position += length

    def walk(self) -> Iterator[tuple[bytes, Dirent]]:
        """Walk every path ("a/b", no root) with its record; each folder is entered once."""
        entered = {ROOT_INODE}
        pending = [(b"", ROOT_INODE)]
        while pending:
            prefix, number = pending.pop()
            for dirent in self.list_folder(self.inode(number)):
                if dirent.name in {b".", b".."}:
                    continue
                if not dirent.name or b"/" in dirent.name or b"\0" in dirent.name:
                    raise BadInputError(f"ext inode {number}: a name in it cannot be a name.")
                path = prefix + dirent.name
                yield path, dirent
                if dirent.file_type == 2 or (
                    dirent.file_type == 0 and self.inode(dirent.inode).is_folder
                ):
                    if dirent.inode in entered:
                        raise BadInputError(f"ext: folder {os.fsdecode(path)!r} contains itself.")
                    entered.add(dirent.inode)
                    pending.append((path + b"/", dirent.inode))

    def find(self, path: str | bytes) -> Inode | None:
        """Return the inode of an absolute path, symlinks followed; None where nothing is."""
        followed = 0
        pending = [part for part in reversed(os.fsencode(path).split(b"/")) if part]
        trail = [self.inode(ROOT_INODE)]
        while pending:
            part = pending.pop()
            if part == b".":
                continue
            if part == b"..":
                trail = trail[:-1] or trail
                continue
            if not trail[-1].is_folder:
                return None
            dirent = next((d for d in self.list_folder(trail[-1]) if d.name == part), None)
            if dirent is None:
                return None
            found = self.inode(dirent.inode)
            if found.mode & S_IFMT == S_IFLNK:
                followed += 1
                if followed > _MAX_LINKS_FOLLOWED:
                    raise BadInputError(f"ext: {os.fsdecode(path)!r} is a loop of symlinks.")
                target = self.read_symlink(found)
                pending.extend(part for part in reversed(target.split(b"/")) if part)
                if target.startswith(b"/"):
                    trail = trail[:1]
                continue
            trail.append(found)
        return trail[-1]

    def read_symlink(self, inode: Inode) -> bytes:
        """Return where a symlink points."""
        if inode.size_bytes < 60 and not inode.flags & _FLAG_EXTENTS:
            return inode.raw[40 : 40 + inode.size_bytes]
        if inode.size_bytes > 4096:
            raise BadInputError(f"ext inode {inode.number}: a symlink this long cannot be.")
        return self.read_file(inode)
