"""The root file system as XFS, in the old form that GRUB Legacy reads.

mkfs.xfs fills it from a prototype file (mkfs.xfs(8), -p), which knows neither hard links nor
extended attributes nor names with white space: such a tree is refused by name. Version 4 without
ftype is the last form GRUB Legacy's xfs_stage1_5 reads; Linux calls it deprecated.

Its bytes are not promised to be reproducible, unlike those of ext: what mkfs.xfs writes beside the
inodes that xfs_db sets right afterwards is in nobody's hand but its own.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from imgforge.command import Setting, Streams, run
from imgforge.disk.filesystem import FilesystemFullError, FilesystemSpec, HostFullError
from imgforge.disk.inode_patch import BOOT_FOLDERS
from imgforge.disk.plan import BLOCK_BYTES, DiskPlan
from imgforge.disk.record import data_runs
from imgforge.errors import BadInputError, CommandError
from imgforge.host import free_disk_bytes
from imgforge.rootfs import EntryKind, Rootfs, TreeEntry

_LETTERS = {
    EntryKind.FILE: b"-",
    EntryKind.DIRECTORY: b"d",
    EntryKind.SYMLINK: b"l",
    EntryKind.CHARACTER_DEVICE: b"c",
    EntryKind.BLOCK_DEVICE: b"b",
    EntryKind.FIFO: b"p",
}
_TYPES = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.DIRECTORY: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.CHARACTER_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
    EntryKind.FIFO: stat.S_IFIFO,
}
_UNSPEAKABLE = re.compile(rb"[\s\"'\\]")  # to mkfs.xfs or to xfs_db
_CHUNK_BYTES = 2**20
_TIMEOUT_S = 3600
_FORMAT_4 = "crc=0,finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0"


def make_xfs(
    disk: Path,
    *,
    plan: DiskPlan,
    spec: FilesystemSpec,
    rootfs: Rootfs,
    boot_files: Mapping[str, Path],
) -> None:
    """Put the tree into the root partition of `disk` as XFS version 4.

    As make_ext; raises BadInputError, naming the path, for what cannot be expressed.
    """
    entries = _with_boot_files(rootfs, boot_files, spec.stamp_s)
    _refuse_hard_links(rootfs.tree)
    disk.with_name("t").symlink_to(rootfs.tree.absolute())
    lines = [b"/", b"0 0", *_prototype(entries, rootfs.tree, boot_files), b""]
    disk.with_name("prototype").write_bytes(b"\n".join(lines))
    aside = disk.with_name("xfs")
    with aside.open("xb") as file:
        file.truncate(plan.root_bytes)
    _run_mkfs(aside, spec, rootfs)
    _set_metadata(aside, entries)
    _copy_data(aside, disk, plan.root.start_bytes)
    aside.unlink()


def _with_boot_files(
    rootfs: Rootfs, boot_files: Mapping[str, Path], stamp_s: int
) -> dict[bytes, TreeEntry]:
    entries = {os.fsencode(entry.path): entry for entry in rootfs.entries()}
    for folder in BOOT_FOLDERS if boot_files else ():
        path = os.fsdecode(folder)
        made = TreeEntry(path, EntryKind.DIRECTORY, 0o755, 0, 0, stamp_s)
        if entries.setdefault(folder, made).kind is not EntryKind.DIRECTORY:
            raise BadInputError(f"The root tree's /{path} is no folder; menu.lst needs one.")
    for name in boot_files:
        path = f"boot/grub/{name}"
        entries[path.encode()] = TreeEntry(path, EntryKind.FILE, 0o644, 0, 0, stamp_s)
    for path_bytes, entry in entries.items():
        if entry.xattrs:
            name = min(entry.xattrs)
            raise _inexpressible(entry.path, f"the extended attribute {name}")
        last = path_bytes.rpartition(b"/")[2]
        if _UNSPEAKABLE.search(path_bytes) or last.startswith(b":") or last == b"$":
            raise _inexpressible(entry.path, "this name")
    return entries


def _inexpressible(path: str, what: str) -> BadInputError:
    return BadInputError(
        f"File system xfs: /{path!s}: mkfs.xfs has no way to express {what}.".replace("\n", "?"),
        hint='Choose ext4: disk.filesystem = "ext4", or --filesystem ext4.',
    )


def _refuse_hard_links(tree: Path) -> None:
    seen: dict[int, str] = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
                shown = str(path.relative_to(tree))
                if status.st_ino in seen:
                    raise _inexpressible(shown, f"the hard link to /{seen[status.st_ino]}")
                seen[status.st_ino] = shown


def _prototype(
    entries: Mapping[bytes, TreeEntry], tree: Path, boot_files: Mapping[str, Path]
) -> Iterator[bytes]:
    """Write the tree in the grammar of a prototype file, each folder ended by "$"."""
    children: dict[bytes, list[bytes]] = {}
    for path in sorted(entries):
        if path != b".":
            children.setdefault(path.rpartition(b"/")[0], []).append(path)
    sources = {f"boot/grub/{name}".encode(): path for name, path in boot_files.items()}
    pending: list[bytes | None] = [b"."]
    while pending:
        path_or_end = pending.pop()
        if path_or_end is None:
            yield b"$"
            continue
        path = path_or_end
        entry = entries[path]
        name = b"" if path == b"." else path.rpartition(b"/")[2] + b" "
        yield name + _specify(entry) + _content(entry, tree, sources.get(path))
        if entry.kind is EntryKind.DIRECTORY:
            pending.append(None)
            pending += reversed(children.get(b"" if path == b"." else path, []))


def _specify(entry: TreeEntry) -> bytes:
    setuid = b"u" if entry.mode & stat.S_ISUID else b"-"
    setgid = b"g" if entry.mode & stat.S_ISGID else b"-"
    mode = _LETTERS[entry.kind] + setuid + setgid + b"%03o" % (entry.mode & 0o777)
    return mode + b" %d %d" % (entry.uid, entry.gid)


def _content(entry: TreeEntry, tree: Path, source: Path | None) -> bytes:
    match entry.kind:
        case EntryKind.FILE:
            return b" " + os.fsencode(source or f"t/{entry.path}")
        case EntryKind.SYMLINK:
            target = os.fsencode((tree / entry.path).readlink())
            if _UNSPEAKABLE.search(target) or target.startswith(b":"):
                raise _inexpressible(entry.path, "where this symlink points")
            return b" " + target
        case EntryKind.CHARACTER_DEVICE | EntryKind.BLOCK_DEVICE:
            return b" %d %d" % entry.device
        case _:
            return b""


def _run_mkfs(aside: Path, spec: FilesystemSpec, rootfs: Rootfs) -> None:
    arguments = ["-q", "-K", "-b", f"size={BLOCK_BYTES}", "-m", f"{_FORMAT_4},uuid={spec.uuid}"]
    arguments += ["-n", "ftype=0", "-i", "sparse=0,nrext64=0,size=256", "-l", "lazy-count=1"]
    arguments += ["-L", spec.label, "-p", "prototype", aside.name]
    try:
        run("mkfs.xfs", arguments, setting=Setting(cwd=aside.parent), timeout_s=_TIMEOUT_S)
    except CommandError as error:
        if "No space left on device" not in str(error):
            raise
        if free_disk_bytes(aside.parent) > rootfs.content_bytes:
            raise FilesystemFullError(str(error)) from error
        raise HostFullError(str(error)) from error


def _set_metadata(aside: Path, entries: Mapping[bytes, TreeEntry]) -> None:
    """Give the inodes sticky bits and times, which a prototype file does not hold."""
    commands = []
    for path, entry in entries.items():
        commands.append(b"path /" + (b"" if path == b"." else path))
        mode = _TYPES[entry.kind] | entry.mode & 0o7777
        commands.append(b"write -d core.mode 0%o" % mode)
        for field in (b"atime", b"mtime", b"ctime"):
            # Whole, seconds and nanoseconds in 64 bits: xfs_db 6.1 writes `.sec` to the wrong half.
            commands.append(
                b"write -d core.%s 0x%08x00000000" % (field, entry.mtime_s & 0xFFFFFFFF)
            )
    completed = run(
        "xfs_db",
        ["-x", aside.name],
        streams=Streams(stdin=b"\n".join([*commands, b"quit", b""])),
        setting=Setting(cwd=aside.parent),
        timeout_s=_TIMEOUT_S,
    )
    if completed.stderr.strip():
        said = completed.stderr.decode(errors="replace")[:1000]
        raise CommandError(f"xfs_db could not do all it was asked:\n  {completed.line}\n{said}")


def _copy_data(source: Path, disk: Path, offset: int) -> None:
    with source.open("rb") as file, disk.open("r+b") as target:
        for start, end in data_runs(file.fileno()):
            for position in range(start, end, _CHUNK_BYTES):
                data = os.pread(file.fileno(), min(_CHUNK_BYTES, end - position), position)
                if data.strip(b"\0"):
                    target.seek(offset + position)
                    target.write(data)
