"""Where two disks begin to differ, in the words of their own structures."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.ext import ExtFilesystem, Inode
from imgforge.disk.ext_superblock import SUPERBLOCK_OFFSET
from imgforge.disk.partition import GPT_TAIL_SECTORS, SECTOR_BYTES, Partition, read_partitions
from imgforge.disk.record import data_runs
from imgforge.errors import BadInputError

_CHUNK_BYTES = 2**20
_SHOWN_BYTES = 16
_FIRST_USABLE_LBA = 34
_GPT_ENTRY_BYTES = 128
_RESERVED_INODES = {1: "bad blocks", 5: "boot loader", 7: "reserved descriptors", 8: "journal"}
# Documentation/filesystems/ext4: where the fields begin that a build could get wrong.
_SUPERBLOCK_FIELDS = (
    (0, "counts"),
    (24, "block sizes"),
    (44, "mount time"),
    (48, "write time"),
    (52, "state"),
    (64, "check time"),
    (72, "creator"),
    (84, "first inode"),
    (92, "features"),
    (104, "UUID"),
    (120, "label"),
    (136, "last mount point"),
    (200, "preallocation"),
    (208, "journal"),
    (236, "hash seed"),
    (252, "defaults"),
    (264, "creation time"),
    (268, "journal backup"),
    (336, "64-bit counts"),
    (348, "inode sizes"),
    (376, "lifetime writes"),
    (384, "later fields"),
)
_INODE_FIELDS = (
    (0, "mode"), (2, "owner"), (4, "size"), (8, "access time"), (12, "change time"),
    (16, "modification time"), (20, "deletion time"), (24, "group"), (26, "links"),
    (28, "block count"), (32, "flags"), (36, "version"), (40, "blocks"), (100, "generation"),
    (104, "xattr block"), (108, "size"), (112, "fragment"), (116, "high halves"),
    (120, "owner and group"), (124, "checksum"), (128, "extra size"), (132, "change time"),
    (136, "modification time"), (140, "access time"), (144, "creation time"), (152, "version"),
    (160, "xattrs"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference of two disks: its offset in bytes, what stands there, and the bytes."""

    offset: int
    structure: str
    first: bytes
    second: bytes

    def __str__(self) -> str:
        return (
            f"byte {self.offset} (sector {self.offset // SECTOR_BYTES}): {self.structure}: "
            f"{self.first.hex(' ')} against {self.second.hex(' ')}"
        )


def first_difference(disk_a: Path, disk_b: Path) -> Difference | None:
    """Compare two disks; return where they begin to differ, None where they are equal.

    Holes count as zeros and are not read. The structure is named by the first disk's own tables.
    """
    with disk_a.open("rb") as a, disk_b.open("rb") as b:
        offset = _first_offset(a.fileno(), b.fileno())
        if offset is None:
            return None
        first = os.pread(a.fileno(), _SHOWN_BYTES, offset)
        second = os.pread(b.fileno(), _SHOWN_BYTES, offset)
    return Difference(offset, _name_structure(disk_a, offset), first, second)


def _first_offset(a: int, b: int) -> int | None:
    size_a, size_b = os.fstat(a).st_size, os.fstat(b).st_size
    for start, end in _merge(data_runs(a), data_runs(b)):
        for position in range(start, min(end, size_a, size_b), _CHUNK_BYTES):
            count = min(_CHUNK_BYTES, min(end, size_a, size_b) - position)
            left, right = os.pread(a, count, position), os.pread(b, count, position)
            if left != right:
                pairs = enumerate(zip(left, right, strict=False))
                within = next((i for i, (x, y) in pairs if x != y), min(len(left), len(right)))
                return position + within
    return None if size_a == size_b else min(size_a, size_b)


def _merge(a: Iterator[tuple[int, int]], b: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join two lists of runs into one without overlaps, in order."""
    end = 0
    for start, stop in sorted([*a, *b]):
        if stop > end:
            yield max(start, end), stop
            end = stop


def _name_structure(disk: Path, offset: int) -> str:
    size = disk.stat().st_size
    if offset >= size:
        return f"the end: the first disk has {size} bytes"
    try:
        partitions = read_partitions(disk)
    except BadInputError:
        partitions = ()
    for partition in partitions or (Partition(0, 0, size // SECTOR_BYTES, "", "none"),):
        start = partition.start_bytes
        if start <= offset < start + partition.sector_count * SECTOR_BYTES:
            prefix = f"partition {partition.number}, " if partition.number else ""
            return prefix + _name_in_filesystem(disk, start, offset - start)
    return _name_in_tables(offset, size, gpt=any(p.scheme == "gpt" for p in partitions))


def _name_in_tables(offset: int, size: int, *, gpt: bool) -> str:
    sector, within = divmod(offset, SECTOR_BYTES)
    if sector == 0:
        if within < 440:
            return "MBR boot code"
        if within < 446:
            return "MBR disk id"
        return (
            f"MBR partition entry {(within - 446) // 16 + 1}" if within < 510 else "MBR signature"
        )
    if gpt:
        backup = size // SECTOR_BYTES - GPT_TAIL_SECTORS
        if sector == 1 or sector == size // SECTOR_BYTES - 1:
            return "GPT header" if sector == 1 else "GPT backup header"
        if sector < _FIRST_USABLE_LBA:
            return f"GPT entry {(offset - 2 * SECTOR_BYTES) // _GPT_ENTRY_BYTES + 1}"
        if sector >= backup:
            return f"GPT backup entry {(offset - backup * SECTOR_BYTES) // _GPT_ENTRY_BYTES + 1}"
    return f"boot code behind the MBR, sector {sector}"


def _name_in_filesystem(disk: Path, start: int, offset: int) -> str:
    with disk.open("rb") as file:
        try:
            filesystem = ExtFilesystem(file, offset=start)
            return _name_in_ext(filesystem, offset)
        except BadInputError:
            return f"sector {offset // SECTOR_BYTES} of it"


def _name_in_ext(filesystem: ExtFilesystem, offset: int) -> str:
    superblock = filesystem.superblock
    if offset < SUPERBLOCK_OFFSET:
        return "boot block"
    if offset < SUPERBLOCK_OFFSET + 1024:
        return f"superblock, {_field(_SUPERBLOCK_FIELDS, offset - SUPERBLOCK_OFFSET)}"
    block = offset // superblock.block_bytes
    if block >= superblock.blocks_count:
        return "behind the file system"
    table_bytes = superblock.inodes_per_group * superblock.inode_bytes
    for number, group in enumerate(filesystem.groups):
        if block == group.block_bitmap:
            return f"block bitmap of group {number}"
        if block == group.inode_bitmap:
            return f"inode bitmap of group {number}"
        within = offset - group.inode_table * superblock.block_bytes
        if 0 <= within < table_bytes:
            inode = number * superblock.inodes_per_group + within // superblock.inode_bytes + 1
            field = _field(_INODE_FIELDS, within % superblock.inode_bytes)
            return f"inode {inode} ({_path_of(filesystem, inode)}), {field}"
    group_number, within_group = divmod(
        block - superblock.first_data_block, superblock.blocks_per_group
    )
    descriptors = -(-superblock.group_count * superblock.descriptor_bytes // superblock.block_bytes)
    if group_number == 0 and 1 <= within_group <= descriptors:
        first = (superblock.first_data_block + 1) * superblock.block_bytes
        return f"group descriptor {(offset - first) // superblock.descriptor_bytes}"
    return _owner_of(filesystem, block) or _backup_or_free(filesystem, block, within_group)


def _backup_or_free(filesystem: ExtFilesystem, block: int, within_group: int) -> str:
    magic = struct.unpack_from("<H", filesystem.read_block(block - within_group), 56)[0]
    group = (
        block - filesystem.superblock.first_data_block
    ) // filesystem.superblock.blocks_per_group
    if magic == 0xEF53 and within_group <= 1024 + len(filesystem.groups):
        what = "superblock" if within_group == 0 else "group descriptors"
        return f"backup {what} of group {group}"
    return f"block {block}, which no file owns"


def _field(fields: tuple[tuple[int, str], ...], offset: int) -> str:
    return next(name for start, name in reversed(fields) if start <= offset)


def _path_of(filesystem: ExtFilesystem, number: int) -> str:
    if number == 2:
        return "/"
    if number in _RESERVED_INODES:
        return _RESERVED_INODES[number]
    for path, dirent in filesystem.walk():
        if dirent.inode == number:
            return "/" + os.fsdecode(path)
    return "unused"


def _owner_of(filesystem: ExtFilesystem, block: int) -> str | None:
    """Return whose block it is."""
    named = [(f"the {what}", number) for number, what in _RESERVED_INODES.items() if number != 1]
    for shown, number in [("/", 2), *_paths(filesystem), *named]:
        inode = filesystem.inode(number)
        if not inode.mode and number != 7:
            continue
        what = "folder" if inode.is_folder else "data of"
        if struct.unpack_from("<I", inode.raw, 104)[0] == block:
            return f"extended attributes of {shown}"
        if not _has_blocks(inode):
            continue
        maps: set[int] = set()
        runs = list(filesystem.extents(inode, maps))
        if any(run.physical <= block < run.physical + run.count for run in runs):
            return f"{what} {shown}"
        if block in maps:
            return f"block map of {shown}"
    return None


def _paths(filesystem: ExtFilesystem) -> Iterator[tuple[str, int]]:
    for path, dirent in filesystem.walk():
        yield "/" + os.fsdecode(path), dirent.inode


def _has_blocks(inode: Inode) -> bool:
    kind = inode.mode & 0o170000
    if kind == 0o120000:
        return inode.size_bytes >= 60
    return kind in {0o040000, 0o100000}
