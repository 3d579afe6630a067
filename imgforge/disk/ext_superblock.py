"""The superblock of ext2, ext3 and ext4, from a file nobody vouches for.

The format is that of the kernel's Documentation/filesystems/ext4.
"""

import struct
from dataclasses import dataclass

from imgforge.errors import BadInputError

SUPERBLOCK_OFFSET = 1024
_MAGIC = 0xEF53
_INCOMPAT_64BIT = 0x80
_INCOMPAT_META_BG = 0x10


@dataclass(frozen=True, slots=True)
class Superblock:
    """What is needed of the superblock."""

    inodes_count: int
    blocks_count: int
    first_data_block: int
    block_bytes: int
    blocks_per_group: int
    inodes_per_group: int
    inode_bytes: int
    feature_incompat: int
    descriptor_bytes: int
    journal_inode: int

    @property
    def group_count(self) -> int:
        """How many block groups there are."""
        return -(-(self.blocks_count - self.first_data_block) // self.blocks_per_group)


def parse_superblock(data: bytes) -> Superblock:
    """Parse the 1024 bytes at offset 1024 of a file system.

    Raises BadInputError when they are no superblock, or one that cannot be true.
    """
    if len(data) < 1024 or struct.unpack_from("<H", data, 56)[0] != _MAGIC:
        raise BadInputError("No ext2, ext3 or ext4 superblock stands there.")
    word = struct.unpack_from("<25I", data, 0)
    blocks_high = struct.unpack_from("<I", data, 0x150)[0]
    incompat = word[24]
    is_64bit = bool(incompat & _INCOMPAT_64BIT)
    revision = struct.unpack_from("<I", data, 76)[0]
    log_block = word[6]
    if log_block > 6:
        raise BadInputError(f"ext superblock: a block size of 2^{log_block} KiB cannot be.")
    superblock = Superblock(
        inodes_count=word[0],
        blocks_count=word[1] | (blocks_high << 32 if is_64bit else 0),
        first_data_block=word[5],
        block_bytes=1024 << log_block,
        blocks_per_group=word[8],
        inodes_per_group=word[10],
        inode_bytes=struct.unpack_from("<H", data, 88)[0] if revision else 128,
        feature_incompat=incompat if revision else 0,
        descriptor_bytes=max(32, struct.unpack_from("<H", data, 254)[0]) if is_64bit else 32,
        journal_inode=struct.unpack_from("<I", data, 224)[0],
    )
    _check_superblock(superblock)
    return superblock


def _check_superblock(superblock: Superblock) -> None:
    block_bytes = superblock.block_bytes
    sound = (
        256 <= superblock.blocks_per_group <= 8 * block_bytes
        and 0 < superblock.inodes_per_group <= 8 * block_bytes
        and 128 <= superblock.inode_bytes <= block_bytes
        and superblock.inode_bytes & (superblock.inode_bytes - 1) == 0
        and superblock.first_data_block == (1 if block_bytes == 1024 else 0)
        and superblock.blocks_count > superblock.first_data_block
        and superblock.descriptor_bytes in {32, 64, 128, 256, 512, 1024}
        and superblock.inodes_count > 0
        and superblock.inodes_count <= superblock.group_count * superblock.inodes_per_group
    )
    if not sound:
        raise BadInputError(f"ext superblock: its numbers contradict each other: {superblock}.")
    if superblock.feature_incompat & _INCOMPAT_META_BG:
        raise BadInputError("ext superblock: the meta_bg feature is not supported here.")
