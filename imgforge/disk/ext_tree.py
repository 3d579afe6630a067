"""The tree in an ext2, ext3 or ext4 file system of a disk, read without mounting it."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from imgforge.disk.ext import (
    ROOT_INODE,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    Dirent,
    ExtFilesystem,
    Inode,
)
from imgforge.disk.ext_attributes import read_attributes
from imgforge.disk.volume import Volume, read_volumes
from imgforge.errors import BadInputError
from imgforge.rootfs import EntryKind, FileContent, Found, Reader, TreeEntry

_BLOCK_BYTES = 2**20
_INCOMPAT_RECOVER = 0x4
_S_IFSOCK = 0o140000
_KINDS = {
    S_IFDIR: EntryKind.DIRECTORY,
    S_IFREG: EntryKind.FILE,
    S_IFLNK: EntryKind.SYMLINK,
    0o010000: EntryKind.FIFO,
    0o020000: EntryKind.CHARACTER_DEVICE,
    0o060000: EntryKind.BLOCK_DEVICE,
}
_DEVICES = {EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE}
_STORED = ("user.", "trusted.", "security.", "system.posix_acl_")
_DEEPEST = 1000


def read_ext_tree(disk: Path, volume: Volume, reader: Reader) -> Iterator[Found]:
    """Yield what `reader` keeps of a volume's tree, its root first, by the names' bytes.

    Raises BadInputError where the file system contradicts itself, or was not unmounted.
    """
    with disk.open("rb") as file:
        offset = volume.partition.start_bytes if volume.partition else 0
        filesystem = ExtFilesystem(file, offset=offset)
        if filesystem.superblock.feature_incompat & _INCOMPAT_RECOVER:
            raise BadInputError(
                f"Disk {disk}: the file system in {volume.name} was not unmounted; its journal "
                "must be replayed first.",
                hint="Boot it once and shut it down, or run e2fsck on a copy of it.",
            )
        yield from _walk(filesystem, reader)


def find_root_volume(disk: Path) -> Volume:
    """Return the volume of a disk that holds a machine's root: the one with an /etc, if several.

    Raises BadInputError where none is, or none that can be read without mounting it.
    """
    whole, *parts = read_volumes(disk)
    volumes = parts or [whole]
    readable = [volume for volume in volumes if volume.kind.is_ext]
    if len(readable) > 1:
        with disk.open("rb") as file:
            readable = [volume for volume in readable if _has_etc(file, volume)]
    if len(readable) == 1:
        return readable[0]
    shown = ", ".join(f"{volume.name} {volume.kind}" for volume in volumes)
    raise BadInputError(
        f"Disk {disk}: its root cannot be told: it has {shown}; one of ext2, ext3 or ext4 with an "
        "/etc is needed.",
        hint="Mount it read-only, and give the folder.",
    )


def _has_etc(file: BinaryIO, volume: Volume) -> bool:
    offset = volume.partition.start_bytes if volume.partition else 0
    found = ExtFilesystem(file, offset=offset).find("/etc")
    return found is not None and found.is_folder


def _walk(filesystem: ExtFilesystem, reader: Reader) -> Iterator[Found]:
    entered = {ROOT_INODE}
    root = _found(filesystem, filesystem.inode(ROOT_INODE), ".", reader)
    if root is None:
        return
    yield root
    stack = [("", _children(filesystem, ROOT_INODE))]
    while stack:
        place, names = stack[-1]
        if not names:
            stack.pop()
            continue
        dirent = names.pop()
        path = place + dirent.name.decode("utf-8", errors="surrogateescape")
        inode = filesystem.inode(dirent.inode)
        found = _found(filesystem, inode, path, reader)
        if found is None:
            continue
        if found.entry.kind is EntryKind.DIRECTORY:
            if inode.number in entered or len(stack) > _DEEPEST:
                raise BadInputError(f"ext: folder {path!r} contains itself.")
            entered.add(inode.number)
        yield found
        if found.entry.kind is EntryKind.DIRECTORY and reader.enters(path):
            stack.append((f"{path}/", _children(filesystem, inode.number)))


def _children(filesystem: ExtFilesystem, number: int) -> list[Dirent]:
    """Return a folder's names, the first one last."""
    found = {}
    for dirent in filesystem.list_folder(filesystem.inode(number)):
        if dirent.name in {b".", b".."}:
            continue
        if not dirent.name or b"/" in dirent.name or b"\0" in dirent.name or dirent.name in found:
            raise BadInputError(f"ext inode {number}: a name in it cannot be a name.")
        found[dirent.name] = dirent
    return [found[name] for name in sorted(found, reverse=True)]


def _found(filesystem: ExtFilesystem, inode: Inode, path: str, reader: Reader) -> Found | None:
    form = inode.mode & S_IFMT
    if form == _S_IFSOCK:
        reader.passed_over(path, "socket")
        return None
    kind = _KINDS.get(form)
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
    yield FileContent(inode.size_bytes, _blocks(filesystem, inode))


def _blocks(filesystem: ExtFilesystem, inode: Inode) -> Iterator[tuple[int, bytes]]:
    """Yield a file's blocks of 1 MiB, put together from the runs on the disk."""
    unit, size_bytes = filesystem.superblock.block_bytes, inode.size_bytes
    start, block = -1, bytearray()
    for extent in filesystem.extents(inode):
        position = extent.logical * unit
        end = min(position + extent.count * unit, size_bytes)
        source = extent.physical * unit - position
        while position < end:
            window = position // _BLOCK_BYTES * _BLOCK_BYTES
            if window != start:
                if start > window:
                    raise BadInputError(f"ext inode {inode.number}: its blocks go backwards.")
                if block:
                    yield start, bytes(block)
                start, block = window, bytearray(min(_BLOCK_BYTES, size_bytes - window))
            count = min(window + _BLOCK_BYTES, end) - position
            data = filesystem.read_at(source + position, count)
            block[position - window : position - window + count] = data
            position += count
    if block:
        yield start, bytes(block)
