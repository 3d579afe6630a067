"""The superblock of XFS, version 4 or 5, from a file nobody vouches for.

The format is that of "XFS Algorithms & Data Structures" (xfsdocs) and the kernel's xfs_format.h.
"""

import struct
from dataclasses import dataclass

from imgforge.errors import BadInputError

SUPERBLOCK_BYTES = 512
_MAGIC = b"XFSB"
_V4_FOLDERS_2 = 0x2000
_V4_FEATURES_2 = 0x8000
_V4_FTYPE = 0x200
_V5_FTYPE = 0x1
_V5_NEEDS_REPAIR = 0x10
# ftype, sparse inodes, meta_uuid, bigtime, nrext64, exchange-range, parent pointers
_V5_READABLE = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80


@dataclass(frozen=True, slots=True)
class XfsSuperblock:
    """What is needed of the superblock; `…_log` are powers of two.

    A block's number is its allocation group's, `group_log` bits up, and its number in there; an
    inode's is its block's, `inode_log` bits up, and its number in there.
    """

    version: int
    block_bytes: int
    blocks_count: int
    root_inode: int
    group_blocks: int
    group_count: int
    inode_bytes: int
    group_log: int
    inode_log: int
    folder_block_bytes: int
    log_block: int
    log_blocks: int
    has_file_types: bool

    @property
    def has_checksums(self) -> bool:
        """Whether metadata has headers with checksums: version 5."""
        return self.version == 5


def parse_xfs_superblock(data: bytes) -> XfsSuperblock:
    """Parse the first sector of a file system.

    Raises BadInputError when it is no superblock, one that cannot be true, or one of features that
    are not read here.
    """
    if len(data) < SUPERBLOCK_BYTES or data[:4] != _MAGIC:
        raise BadInputError("No xfs superblock stands there.")
    block_bytes, blocks_count = struct.unpack_from(">IQ", data, 4)
    log_block, root_inode = struct.unpack_from(">QQ", data, 48)
    group_blocks, group_count, _, log_blocks, flags = struct.unpack_from(">4IH", data, 84)
    inode_bytes = struct.unpack_from(">H", data, 104)[0]
    block_log, _, inode_size_log, inode_log, group_log = struct.unpack_from(">5B", data, 120)
    folder_log = data[192]
    version = flags & 0xF
    sound = (
        version in {4, 5}
        and 9 <= block_log <= 16
        and block_bytes == 1 << block_log
        and 8 <= inode_size_log <= 11
        and inode_bytes == 1 << inode_size_log
        and inode_log == block_log - inode_size_log
        and folder_log <= 16 - block_log
        and group_log <= 31
        and 0 < group_blocks <= 1 << group_log
        and group_count > 0
        and (group_count - 1) * group_blocks < blocks_count <= group_count * group_blocks
    )
    if not sound:
        raise BadInputError("xfs superblock: its numbers contradict each other.")
    return XfsSuperblock(
        version=version,
        block_bytes=block_bytes,
        blocks_count=blocks_count,
        root_inode=root_inode,
        group_blocks=group_blocks,
        group_count=group_count,
        inode_bytes=inode_bytes,
        group_log=group_log,
        inode_log=inode_log,
        folder_block_bytes=block_bytes << folder_log,
        log_block=log_block,
        log_blocks=log_blocks,
        has_file_types=_has_file_types(data, flags),
    )


def _has_file_types(data: bytes, flags: int) -> bool:
    """Tell whether names in folders have a type; raise BadInputError for unreadable features."""
    if flags & 0xF == 4:
        if not flags & _V4_FOLDERS_2:
            raise BadInputError("xfs superblock: folders of version 1 are not read here.")
        return bool(flags & _V4_FEATURES_2 and struct.unpack_from(">I", data, 200)[0] & _V4_FTYPE)
    incompat = struct.unpack_from(">I", data, 216)[0]
    if incompat & _V5_NEEDS_REPAIR:
        raise BadInputError("xfs: the file system is marked as damaged; xfs_repair may mend it.")
    if unknown := incompat & ~_V5_READABLE:
        raise BadInputError(f"xfs superblock: its features {unknown:#x} are not read here.")
    return bool(incompat & _V5_FTYPE)
