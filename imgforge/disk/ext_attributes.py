"""Extended attributes of ext2, ext3 and ext4 (Documentation/filesystems/ext4/attributes.rst)."""

import struct
from collections.abc import Iterator

from imgforge.disk.ext import ExtFilesystem, Inode
from imgforge.errors import BadInputError

_MAGIC = 0xEA020000
_HEADER_BYTES = 32
_ENTRY_BYTES = 16
_OLD_INODE_BYTES = 128
_LARGEST_VALUE_BYTES = 2**16
_PREFIXES = {
    0: "",
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
    7: "system.",
    8: "system.richacl",
}
_ACL_NAMES = {"system.posix_acl_access", "system.posix_acl_default"}
_ACL_DISK_VERSION, _ACL_VERSION = 1, 2
_ACL_USER, _ACL_GROUP = 2, 8
_NO_ID = 0xFFFFFFFF


def read_attributes(filesystem: ExtFilesystem, inode: Inode) -> dict[str, bytes]:
    """Return an inode's attributes by their full names, ACLs in the form of getxattr(2).

    Raises BadInputError where they are damaged, or stand in inodes of their own.
    """
    found = {}
    for region, first, base in _regions(filesystem, inode):
        for name, value in _entries(inode.number, region, first=first, base=base):
            found[name] = _acl(inode.number, value) if name in _ACL_NAMES else value
    return found


def _regions(filesystem: ExtFilesystem, inode: Inode) -> Iterator[tuple[bytes, int, int]]:
    """Yield where attributes stand: bytes, the first entry, and from where values are counted."""
    if len(inode.raw) > _OLD_INODE_BYTES + 4:
        extra = struct.unpack_from("<H", inode.raw, _OLD_INODE_BYTES)[0]
        start = _OLD_INODE_BYTES + extra
        if start + 4 <= len(inode.raw) and inode.raw[start : start + 4] == struct.pack(
            "<I", _MAGIC
        ):
            yield inode.raw, start + 4, start + 4
    low = struct.unpack_from("<I", inode.raw, 104)[0]
    high = struct.unpack_from("<H", inode.raw, 118)[0]
    if block := low | high << 32:
        if block >= filesystem.superblock.blocks_count:
            raise _damaged(inode.number)
        data = filesystem.read_block(block)
        if struct.unpack_from("<I", data)[0] != _MAGIC:
            raise _damaged(inode.number)
        yield data, _HEADER_BYTES, 0


def _entries(number: int, region: bytes, *, first: int, base: int) -> Iterator[tuple[str, bytes]]:
    position = first
    while region[position : position + 4].strip(b"\0"):
        if position + _ENTRY_BYTES > len(region):
            raise _damaged(number)
        length, index, offset, elsewhere, size = struct.unpack_from("<BBHII", region, position)
        name = region[position + _ENTRY_BYTES : position + _ENTRY_BYTES + length]
        start = base + offset
        if elsewhere:
            raise BadInputError(
                f"ext inode {number}: an attribute in an inode of its own (ea_inode) is not "
                "supported here."
            )
        sound = index in _PREFIXES and size <= _LARGEST_VALUE_BYTES and len(name) == length
        if not sound or b"\0" in name or start + size > len(region):
            raise _damaged(number)
        full = _PREFIXES[index] + name.decode("utf-8", errors="surrogateescape")
        yield full, region[start : start + size]
        position += (_ENTRY_BYTES + length + 3) // 4 * 4


def _acl(number: int, value: bytes) -> bytes:
    """Return an ACL of the disk as getxattr(2) has it (fs/ext4/acl.c, linux/posix_acl_xattr.h)."""
    if len(value) < 4 or struct.unpack_from("<I", value)[0] != _ACL_DISK_VERSION:
        raise _damaged(number)
    found = bytearray(struct.pack("<I", _ACL_VERSION))
    position = 4
    while position < len(value):
        short = value[position : position + 4]
        if len(short) < 4:
            raise _damaged(number)
        tag, permissions = struct.unpack("<HH", short)
        position += 4
        identity = _NO_ID
        if tag in {_ACL_USER, _ACL_GROUP}:
            if position + 4 > len(value):
                raise _damaged(number)
            identity = struct.unpack_from("<I", value, position)[0]
            position += 4
        found += struct.pack("<HHI", tag, permissions, identity)
    return bytes(found)


def _damaged(number: int) -> BadInputError:
    return BadInputError(f"ext inode {number}: its extended attributes are damaged.")
