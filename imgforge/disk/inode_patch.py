"""The inodes of a fresh file system get the owners, modes and times of the index, in place.

An ordinary user's mke2fs can only store what the user's own copy of the tree shows. Offsets are
those of struct ext4_inode (Documentation/filesystems/ext4/inodes.rst). It is only right for file
systems without metadata checksums.
"""

import os
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.ext import ROOT_INODE, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Dirent, ExtFilesystem
from imgforge.errors import HostError
from imgforge.rootfs import EntryKind, TreeEntry

_S_IFCHR, _S_IFBLK, _S_IFIFO = 0o020000, 0o060000, 0o010000
_FIRST_FREE_INODE = 11
_LOST_FOUND = b"lost+found"
BOOT_FOLDERS = (b"boot", b"boot/grub")
# What the plain copy of each kind is, and what it becomes: type bits and dirent file type.
_PLAIN = {
    EntryKind.FILE: S_IFREG,
    EntryKind.DIRECTORY: S_IFDIR,
    EntryKind.SYMLINK: S_IFLNK,
    EntryKind.FIFO: _S_IFIFO,
    EntryKind.CHARACTER_DEVICE: S_IFREG,
    EntryKind.BLOCK_DEVICE: S_IFREG,
}
_DEVICES = {EntryKind.CHARACTER_DEVICE: (_S_IFCHR, 3), EntryKind.BLOCK_DEVICE: (_S_IFBLK, 4)}


@dataclass(frozen=True, slots=True)
class _Metadata:
    mode: int
    uid: int
    gid: int
    mtime_s: int
    device: tuple[int, int] | None = None


def patch_inodes(
    disk: Path,
    *,
    offset: int,
    entries: Sequence[TreeEntry],
    dirents: Mapping[bytes, Dirent],
    boot_files: Collection[str],
    stamp_s: int,
) -> None:
    """Write the metadata of `entries` into the ext file system `offset` bytes into `disk`.

    `dirents` are its paths before `boot_files` were added to /boot/grub.
    What is not among them (boot files, lost+found, the journal) becomes root's, of the time
    `stamp_s`. Raises HostError where the tree and its index disagree.
    """
    with disk.open("r+b") as file:
        filesystem = ExtFilesystem(file, offset=offset)
        ours = {_LOST_FOUND, *(BOOT_FOLDERS[-1] + b"/" + name.encode() for name in boot_files)}
        if boot_files:
            dirents = {**dirents, **_list_boot_folders(filesystem)}
        known = {
            key: entry for entry in entries if (key := _key(entry)) not in ours - {_LOST_FOUND}
        }
        _check_paths(known, dirents, ours.union(BOOT_FOLDERS))
        wanted: dict[int, _Metadata] = {}
        for path, dirent in dirents.items():
            if path not in known:
                wanted[dirent.inode] = _ours(filesystem, dirent.inode, stamp_s)
        for number in range(1, _FIRST_FREE_INODE):
            if filesystem.inode(number).raw.strip(b"\0"):
                wanted[number] = _ours(filesystem, number, stamp_s)
        placed = {}
        for path, entry in known.items():
            number = ROOT_INODE if path == b"." else dirents[path].inode
            wanted[number] = _wanted(filesystem, number, entry)
            if entry.kind in _DEVICES:
                placed[dirents[path].offset] = _DEVICES[entry.kind][1]
        _write_inodes(file.fileno(), filesystem, wanted)
        for position, file_type in placed.items():
            os.pwrite(file.fileno(), bytes([file_type]), offset + position + 7)


def _list_boot_folders(filesystem: ExtFilesystem) -> dict[bytes, Dirent]:
    """Return the paths in the root folder, /boot and /boot/grub as they are now."""
    found: dict[bytes, Dirent] = {}
    prefix, number = b"", ROOT_INODE
    for folder in (*BOOT_FOLDERS, b""):
        names = filesystem.list_folder(filesystem.inode(number))
        found |= {prefix + d.name: d for d in names if d.name not in {b".", b".."}}
        if folder:
            prefix, number = folder + b"/", found[folder].inode
    return found


def _check_paths(
    known: Mapping[bytes, TreeEntry], dirents: Mapping[bytes, Dirent], ours: Collection[bytes]
) -> None:
    missing = known.keys() - dirents.keys() - {b"."}
    unknown = dirents.keys() - known.keys() - set(ours)
    for paths, where in ((missing, "the index only"), (unknown, "the tree only")):
        if paths:
            raise HostError(
                f"The cached root tree and its index disagree: {os.fsdecode(min(paths))!r} "
                f"is in {where}.",
                hint="Something changed the cached tree. Remove it; it is made anew.",
            )


def _ours(filesystem: ExtFilesystem, number: int, stamp_s: int) -> _Metadata:
    inode = filesystem.inode(number)
    mode = inode.mode
    if number >= _FIRST_FREE_INODE:  # lost+found keeps its 0700: mke2fs set it
        permissions = 0o644 if mode & S_IFMT == S_IFREG else mode & 0o700 and 0o755
        mode = mode & S_IFMT | (0o700 if number == _FIRST_FREE_INODE else permissions)
    return _Metadata(mode=mode, uid=0, gid=0, mtime_s=stamp_s)


def _wanted(filesystem: ExtFilesystem, number: int, entry: TreeEntry) -> _Metadata:
    inode = filesystem.inode(number)
    plain = _PLAIN[entry.kind]
    if inode.mode & S_IFMT != plain or (entry.kind in _DEVICES and inode.size_bytes):
        raise HostError(
            f"The cached root tree and its index disagree: {entry.path!r} should be a "
            f"{entry.kind.value}.",
            hint="Something changed the cached tree. Remove it; it is made anew.",
        )
    device = entry.kind in _DEVICES
    return _Metadata(
        mode=(_DEVICES[entry.kind][0] if device else plain) | entry.mode & 0o7777,
        uid=entry.uid,
        gid=entry.gid,
        mtime_s=entry.mtime_s,
        device=entry.device if device else None,
    )


def _write_inodes(
    descriptor: int, filesystem: ExtFilesystem, wanted: Mapping[int, _Metadata]
) -> None:
    """Patch the inodes, one read and one write for each group that holds some."""
    superblock = filesystem.superblock
    by_group: dict[int, list[int]] = {}
    for number in sorted(wanted):
        by_group.setdefault((number - 1) // superblock.inodes_per_group, []).append(number)
    for numbers in by_group.values():
        start = filesystem.inode_offset(numbers[0])
        end = filesystem.inode_offset(numbers[-1]) + superblock.inode_bytes
        table = bytearray(filesystem.read_at(start, end - start))
        for number in numbers:
            _patch(table, (number - numbers[0]) * superblock.inode_bytes, wanted[number])
        written = 0
        while written < len(table):
            written += os.pwrite(
                descriptor, memoryview(table)[written:], filesystem.offset + start + written
            )


def _patch(table: bytearray, at: int, metadata: _Metadata) -> None:
    low = metadata.mtime_s & 0xFFFFFFFF
    signed = low - 2**32 if low & 2**31 else low
    extra = (metadata.mtime_s - signed >> 32) & 3  # two more bits of seconds; nanoseconds 0
    struct.pack_into("<HH", table, at, metadata.mode, metadata.uid & 0xFFFF)
    struct.pack_into("<III", table, at + 8, low, low, low)
    struct.pack_into("<H", table, at + 24, metadata.gid & 0xFFFF)
    struct.pack_into("<I", table, at + 36, 0)  # version
    struct.pack_into("<I", table, at + 100, 0)  # generation
    struct.pack_into("<HH", table, at + 120, metadata.uid >> 16, metadata.gid >> 16)
    struct.pack_into("<5I", table, at + 132, extra, extra, extra, low, extra)
    if metadata.device is not None:
        struct.pack_into("<I", table, at + 32, 0)  # flags: no extents
        table[at + 40 : at + 100] = _encode_device(*metadata.device) + bytes(52)


def _encode_device(major: int, minor: int) -> bytes:
    """Return the first 8 bytes of i_block (linux/kdev_t.h: old_encode_dev, new_encode_dev)."""
    if major < 256 and minor < 256:
        return struct.pack("<II", major << 8 | minor, 0)
    return struct.pack("<II", 0, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)


def _key(entry: TreeEntry) -> bytes:
    return entry.path.encode(errors="surrogateescape")
