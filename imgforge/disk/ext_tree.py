"""The tree in an ext2, ext3 or ext4 file system of a disk, read without mounting it."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from imgforge.disk.ext import ROOT_INODE, S_IFMT, ExtFilesystem, Inode
from imgforge.disk.ext_attributes import read_attributes
from imgforge.disk.tree_walk import KINDS, S_IFSOCK, Run, blocks_of, walk_tree
from imgforge.disk.volume import Volume
from imgforge.errors import BadInputError
from imgforge.rootfs import EntryKind, FileContent, Found, Reader, TreeEntry

_INCOMPAT_RECOVER = 0x4
_DEVICES = {EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE}
_STORED = ("user.", "trusted.", "security.", "system.posix_acl_")


def read_ext_tree(disk: Path, volume: Volume, reader: Reader) -> Iterator[Found]:
    """Yield what `reader` keeps of a volume's tree, its root first, by the names' bytes.

    Raises BadInputError where the file system contradicts itself, or its journal is to be replayed.
    """
    with disk.open("rb") as file:
        filesystem = ExtFilesystem(file, offset=volume.start_bytes)
        if filesystem.superblock.feature_incompat & _INCOMPAT_RECOVER:
            raise BadInputError(
                f"Disk {disk}: the file system in {volume.name} was not unmounted; its journal "
                "must be replayed first.",
                hint="Boot it once and shut it down, or run e2fsck on a copy of it.",
            )
        yield from walk_tree(_ExtTree(filesystem), reader)


def needs_replay(disk: Path, volume: Volume) -> bool:
    """Tell whether an ext file system was not unmounted. Raises BadInputError for a damaged one."""
    with disk.open("rb") as file:
        superblock = ExtFilesystem(file, offset=volume.start_bytes).superblock
    return bool(superblock.feature_incompat & _INCOMPAT_RECOVER)


class _ExtTree:
    name = "ext"
    root = ROOT_INODE

    def __init__(self, filesystem: ExtFilesystem) -> None:
        self._filesystem = filesystem

    def names(self, inode: int) -> Iterator[tuple[bytes, int]]:
        for dirent in self._filesystem.list_folder(self._filesystem.inode(inode)):
            yield dirent.name, dirent.inode

    def find(self, inode: int, path: str, reader: Reader) -> Found | None:
        return _found(self._filesystem, self._filesystem.inode(inode), path, reader)


def _found(filesystem: ExtFilesystem, inode: Inode, path: str, reader: Reader) -> Found | None:
    form = inode.mode & S_IFMT
    if form == S_IFSOCK:
        reader.passed_over(path, "socket")
        return None
    kind = KINDS.get(form)
    if kind is None:
        raise BadInputError(f"ext inode {inode.number}: {path!r} is of no kind.")
    entry = describe_inode(inode, path, kind)
    links = struct.unpack_from("<H", inode.raw, 26)[0]
    several = kind is not EntryKind.DIRECTORY and links > 1
    identity = (0, inode.number) if several else None
    if not reader.keeps(entry, identity):
        return None
    attributes = read_attributes(filesystem, inode)
    kept = {name: value for name, value in attributes.items() if name.startswith(_STORED)}
    is_link = kind is EntryKind.SYMLINK
    target = filesystem.read_symlink(inode) if is_link else b""
    return Found(
        entry if not kept else describe_inode(inode, path, kind, xattrs=kept),
        target=target.decode("utf-8", errors="surrogateescape"),
        identity=identity,
        content=partial(_content, filesystem, inode) if kind is EntryKind.FILE else None,
    )


def describe_inode(
    inode: Inode, path: str, kind: EntryKind, *, xattrs: dict[str, bytes] | None = None
) -> TreeEntry:
    """Return what an inode says of a path; offsets are those of struct ext4_inode."""
    low_uid, low_gid = (struct.unpack_from("<H", inode.raw, place)[0] for place in (2, 24))
    high_uid, high_gid = struct.unpack_from("<HH", inode.raw, 120)
    mtime_s = struct.unpack_from("<i", inode.raw, 16)[0]
    if len(inode.raw) >= 140 and struct.unpack_from("<H", inode.raw, 128)[0] >= 12:
        mtime_s += (struct.unpack_from("<I", inode.raw, 136)[0] & 3) << 32
    return TreeEntry(
        path=path,
        kind=kind,
        mode=0o777 if kind is EntryKind.SYMLINK else inode.mode & 0o7777,
        uid=low_uid | high_uid << 16,
        gid=low_gid | high_gid << 16,
        mtime_s=mtime_s,
        device=_device(inode) if kind in _DEVICES else (0, 0),
        xattrs=xattrs or {},
    )


def _device(inode: Inode) -> tuple[int, int]:
    """Return major and minor (linux/kdev_t.h: old_decode_dev, new_decode_dev)."""
    old, new = struct.unpack_from("<II", inode.raw, 40)
    if old:
        return old >> 8 & 0xFF, old & 0xFF
    return (new & 0xFFF00) >> 8, new & 0xFF | (new >> 12 & 0xFFF00)


@contextmanager
def _content(filesystem: ExtFilesystem, inode: Inode) -> Iterator[FileContent]:
    unit = filesystem.superblock.block_bytes
    runs = (
        Run(run.logical * unit, run.physical * unit, run.count * unit)
        for run in filesystem.extents(inode)
    )
    blocks = blocks_of(
        runs,
        size_bytes=inode.size_bytes,
        read_at=filesystem.read_at,
        name=f"ext inode {inode.number}",
    )
    yield FileContent(inode.size_bytes, blocks)
