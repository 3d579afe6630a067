"""Extended attributes of XFS (xfsdocs, "Extended Attributes"; the kernel's xfs_da_format.h)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imgforge.disk.ext import Extent
from imgforge.disk.xfs_filesystem import Fork, XfsFilesystem, XfsInode
from imgforge.errors import BadInputError

_IS_LOCAL, _ROOT, _SECURE, _PARENT, _INCOMPLETE = 0x01, 0x02, 0x04, 0x08, 0x80
_LARGEST_VALUE_BYTES = 2**16
_NODES = {0xFEBE: (12, 16), 0x3EBE: (56, 64)}
_LEAVES = {0xFBEE: 32, 0x3BEE: 80}
_REMOTE_HEADER_BYTES = 56
ACLS = {
    b"SGI_ACL_FILE": "system.posix_acl_access",
    b"SGI_ACL_DEFAULT": "system.posix_acl_default",
}
"""As XFS calls the ACLs that getxattr(2) calls otherwise."""
_ACL_VERSION = 2
_ACL_NO_ID = 0xFFFFFFFF
_ACL_WITH_ID = {2, 8}


@dataclass(frozen=True, slots=True)
class XfsAttribute:
    """An attribute as it is kept: its flags, name and value.

    `runs` are where the value stands: bytes of the file system, and how many.
    """

    flags: int
    name: bytes
    value: bytes
    runs: tuple[tuple[int, int], ...]


def read_xfs_attributes(filesystem: XfsFilesystem, inode: XfsInode) -> dict[str, bytes]:
    """Return an inode's attributes by their full names, ACLs in the form of getxattr(2).

    Raises BadInputError where they are damaged.
    """
    found = {}
    for one in list_xfs_attributes(filesystem, inode):
        if one.flags & _ROOT and one.name in ACLS:
            found[ACLS[one.name]] = _acl(inode.number, one.value)
            continue
        prefix = {_ROOT: "trusted.", _SECURE: "security."}.get(one.flags & 0x06, "user.")
        found[prefix + one.name.decode("utf-8", errors="surrogateescape")] = one.value
    return found


def list_xfs_attributes(filesystem: XfsFilesystem, inode: XfsInode) -> Iterator[XfsAttribute]:
    """Yield an inode's attributes; those of the file system's own bookkeeping are left out."""
    fork = inode.attributes
    if fork is None or fork.is_empty:
        return
    if fork.is_local:
        found = _short(inode.number, fork)
    else:
        found = _Blocks(filesystem, inode, fork).attributes()
    for one in found:
        if not one.flags & (_PARENT | _INCOMPLETE):
            yield one


def _short(number: int, fork: Fork) -> Iterator[XfsAttribute]:
    if len(fork.body) < 4:
        raise _damaged(number)
    size, count = struct.unpack_from(">HB", fork.body)
    position = 4
    for _ in range(count):
        if position + 3 > min(size, len(fork.body)):
            raise _damaged(number)
        length, value_length, flags = fork.body[position : position + 3]
        start = position + 3 + length
        position = start + value_length
        if position > min(size, len(fork.body)):
            raise _damaged(number)
        value = fork.body[start:position]
        name = fork.body[start - length : start]
        yield XfsAttribute(flags, name, value, ((fork.at + start, value_length),))


class _Blocks:
    """Attributes in blocks of their own, each of which is read at most once."""

    def __init__(self, filesystem: XfsFilesystem, inode: XfsInode, fork: Fork) -> None:
        self._filesystem = filesystem
        self._number = inode.number
        self._unit = filesystem.superblock.block_bytes
        self._runs: list[Extent] = list(filesystem.extents(inode, fork))
        self._seen: set[int] = set()

    def attributes(self) -> Iterator[XfsAttribute]:
        block = 0
        while True:  # down to the first leaf
            data = self._read(block)
            magic = struct.unpack_from(">H", data, 8)[0]
            if magic not in _NODES:
                break
            counted_at, entries_at = _NODES[magic]
            count = struct.unpack_from(">H", data, counted_at)[0]
            if not count or entries_at + 8 > len(data):
                raise _damaged(self._number)
            block = struct.unpack_from(">I", data, entries_at + 4)[0]
        while True:
            yield from self._leaf(block, data)
            block = struct.unpack_from(">I", data)[0]
            if not block:
                return
            data = self._read(block)

    def _read(self, block: int) -> bytes:
        if block in self._seen:
            raise _damaged(self._number)
        self._seen.add(block)
        return self._filesystem.read_at(self._place(block), self._unit)

    def _place(self, block: int) -> int:
        for run in self._runs:
            if run.logical <= block < run.logical + run.count:
                return run.physical + (block - run.logical) * self._unit
        raise _damaged(self._number)

    def _leaf(self, block: int, data: bytes) -> Iterator[XfsAttribute]:
        head = _LEAVES.get(struct.unpack_from(">H", data, 8)[0])
        if head is None:
            raise _damaged(self._number)
        count = struct.unpack_from(">H", data, 12 if head == 32 else 56)[0]
        if head + count * 8 > len(data):
            raise _damaged(self._number)
        for position in range(head, head + count * 8, 8):
            at, flags = struct.unpack_from(">HB", data, position + 4)
            if at + (3 if flags & _IS_LOCAL else 9) > len(data):
                raise _damaged(self._number)
            if not flags & _IS_LOCAL:
                yield self._remote(data, at, flags)
                continue
            size, length = struct.unpack_from(">HB", data, at)
            start = at + 3 + length
            if start + size > len(data):
                raise _damaged(self._number)
            value = data[start : start + size]
            runs = ((self._place(block) + start, size),)
            yield XfsAttribute(flags, data[at + 3 : start], value, runs)

    def _remote(self, data: bytes, at: int, flags: int) -> XfsAttribute:
        block, size, length = struct.unpack_from(">IIB", data, at)
        name = data[at + 9 : at + 9 + length]
        if size > _LARGEST_VALUE_BYTES or len(name) != length:
            raise _damaged(self._number)
        head = _REMOTE_HEADER_BYTES if self._filesystem.superblock.has_checksums else 0
        runs = []
        left = 0 if flags & _INCOMPLETE else size
        while left:
            count = min(self._unit - head, left)
            runs.append((self._place(block) + head, count))
            left -= count
            block += 1
        value = b"".join(self._filesystem.read_at(*run) for run in runs)
        return XfsAttribute(flags, name, value, tuple(runs))


def _acl(number: int, value: bytes) -> bytes:
    """Turn an ACL as XFS keeps it into that of getxattr(2) (linux/posix_acl_xattr.h)."""
    count = struct.unpack_from(">I", value)[0] if len(value) >= 4 else -1
    if len(value) != 4 + count * 12:
        raise _damaged(number)
    made = struct.pack("<I", _ACL_VERSION)
    for position in range(4, len(value), 12):
        tag, who, mode = struct.unpack_from(">IIH", value, position)
        made += struct.pack("<HHI", tag & 0xFFFF, mode, who if tag in _ACL_WITH_ID else _ACL_NO_ID)
    return made


def kept_acl(value: bytes) -> bytes:
    """Turn an ACL of getxattr(2) into the form in which XFS keeps it."""
    entries = [struct.unpack_from("<HHI", value, at) for at in range(4, len(value), 8)]
    kept = b"".join(struct.pack(">IIHH", tag, who, mode, 0) for tag, mode, who in entries)
    return struct.pack(">I", len(entries)) + kept


def _damaged(number: int) -> BadInputError:
    return BadInputError(f"xfs inode {number}: its extended attributes are damaged.")
