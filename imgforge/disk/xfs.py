"""The root file system as XFS, in the old form that GRUB Legacy reads.

mkfs.xfs fills it from a prototype file (mkfs.xfs(8), -p), which knows neither hard links nor
extended attributes nor names with white space: what it cannot say is put in afterwards
(xfs_finish.py). Version 4 without ftype is the last form GRUB Legacy's xfs_stage1_5 reads; Linux
calls it deprecated, and it has no checksums that would tie an inode's bytes.

Its bytes are not promised to be reproducible, unlike those of ext: what mkfs.xfs writes beside the
inodes that are set right afterwards is in nobody's hand but its own.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from imgforge.command import Setting, run
from imgforge.disk.filesystem import FilesystemFullError, FilesystemSpec, HostFullError
from imgforge.disk.inode_patch import BOOT_FOLDERS
from imgforge.disk.plan import BLOCK_BYTES, DiskPlan
from imgforge.disk.record import data_runs
from imgforge.disk.xfs_finish import Leftover, finish_xfs, is_kept_attribute
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
_UNSPEAKABLE = re.compile(rb"[\s\"'\\]|^:|^\$$")  # to mkfs.xfs
_LONGEST_TARGET = 1023
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
    leftover = _left_over(entries, rootfs.tree, boot_files)
    prototype = _Prototype(entries, leftover, rootfs.tree, disk.parent, boot_files)
    lines = [b"/", b"0 0", *prototype.lines(), b""]
    disk.with_name("prototype").write_bytes(b"\n".join(lines))
    aside = disk.with_name("xfs")
    with aside.open("xb") as file:
        file.truncate(plan.root_bytes)
    _run_mkfs(aside, spec, rootfs)
    finish_xfs(aside, entries, leftover)
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
    for entry in entries.values():
        for name, value in sorted(entry.xattrs.items()):
            if not value:  # xfs_db takes one away that is set to nothing
                raise _inexpressible(entry.path, f"the empty extended attribute {name}")
            if not is_kept_attribute(name):
                raise _inexpressible(entry.path, f"the extended attribute {name}")
    return entries


def _inexpressible(path: str, what: str) -> BadInputError:
    return BadInputError(
        f"File system xfs: /{path!s}: there is no way to express {what}.".replace("\n", "?"),
        hint='Choose ext4: disk.filesystem = "ext4", or --filesystem ext4.',
    )


def _left_over(
    entries: Mapping[bytes, TreeEntry], tree: Path, boot_files: Collection[str]
) -> Leftover:
    """Return what a prototype file cannot say of a tree."""
    leftover = Leftover({}, {}, {})
    replaced = {f"boot/grub/{name}".encode() for name in boot_files}
    names: dict[bytes, set[bytes]] = {}
    for path in entries:
        names.setdefault(path.rpartition(b"/")[0], set()).add(path.rpartition(b"/")[2])
    first: dict[tuple[int, int], bytes] = {}
    for path in sorted(entries):
        entry = entries[path]
        folder, _, name = path.rpartition(b"/")
        if path != b"." and _UNSPEAKABLE.search(name):
            leftover.names[path] = _stand_in(name, names[folder])
        if entry.kind is EntryKind.SYMLINK:
            target = os.fsencode((tree / entry.path).readlink())
            if len(target) > _LONGEST_TARGET:
                raise _inexpressible(entry.path, "a symlink of more than 1023 bytes")
            if _UNSPEAKABLE.search(target):
                leftover.targets[path] = target
        elif entry.kind is EntryKind.FILE and path not in replaced:
            status = (tree / entry.path).lstat()
            known = first.setdefault((status.st_dev, status.st_ino), path)
            if known != path:
                leftover.links[path] = known
    return leftover


def _stand_in(name: bytes, taken: set[bytes]) -> bytes:
    """Return a name of the same length that the folder does not have, and take it."""
    for number in range(len(taken) + 36**2):
        digits = b"%d" % number if len(name) > 1 else b"%c" % (ord("0") + number % 75)
        found = digits.rjust(len(name), b"_")
        if found not in taken and len(found) == len(name) and not _UNSPEAKABLE.search(found):
            taken.add(found)
            return found
    raise _inexpressible(os.fsdecode(name), "so many short names of white space")


class _Prototype:
    """The tree in the grammar of a prototype file, each folder ended by "$"."""

    def __init__(
        self,
        entries: Mapping[bytes, TreeEntry],
        leftover: Leftover,
        tree: Path,
        folder: Path,
        boot_files: Mapping[str, Path],
    ) -> None:
        self._entries = entries
        self._leftover = leftover
        self._tree = tree
        self._folder = folder
        self._boot_files = {f"boot/grub/{name}".encode(): file for name, file in boot_files.items()}
        (folder / "t").symlink_to(tree.absolute())
        (folder / "s").mkdir()
        self._count = 0

    def lines(self) -> Iterator[bytes]:
        children: dict[bytes, list[bytes]] = {}
        for path in sorted(self._entries):
            if path != b".":
                children.setdefault(path.rpartition(b"/")[0], []).append(path)
        pending: list[bytes | None] = [b"."]
        while pending:
            path_or_end = pending.pop()
            if path_or_end is None:
                yield b"$"
                continue
            path = path_or_end
            entry = self._entries[path]
            name = self._leftover.names.get(path, path.rpartition(b"/")[2])
            yield (b"" if path == b"." else name + b" ") + _specify(entry) + self._content(path)
            if entry.kind is EntryKind.DIRECTORY:
                pending.append(None)
                pending += reversed(children.get(b"" if path == b"." else path, []))

    def _content(self, path: bytes) -> bytes:
        entry = self._entries[path]
        match entry.kind:
            case EntryKind.FILE:
                return b" " + self._source(path)
            case EntryKind.SYMLINK:
                target = os.fsencode((self._tree / entry.path).readlink())
                is_left = path in self._leftover.targets
                return b" " + (b"x" * len(target) if is_left else target)
            case EntryKind.CHARACTER_DEVICE | EntryKind.BLOCK_DEVICE:
                return b" %d %d" % entry.device
            case _:
                return b""

    def _source(self, path: bytes) -> bytes:
        """Return where a file's content is: a further name of one has none of its own."""
        if path in self._leftover.links:
            return b"/dev/null"
        own = self._boot_files.get(path)
        source = os.fsencode(own) if own else b"t/" + path
        if not _UNSPEAKABLE.search(source):
            return source
        self._count += 1
        link = self._folder / "s" / str(self._count)
        link.symlink_to(own.absolute() if own else self._tree.absolute() / os.fsdecode(path))
        return b"s/%d" % self._count


def _specify(entry: TreeEntry) -> bytes:
    setuid = b"u" if entry.mode & stat.S_ISUID else b"-"
    setgid = b"g" if entry.mode & stat.S_ISGID else b"-"
    mode = _LETTERS[entry.kind] + setuid + setgid + b"%03o" % (entry.mode & 0o777)
    return mode + b" %d %d" % (entry.uid, entry.gid)


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


def _copy_data(source: Path, disk: Path, offset: int) -> None:
    with source.open("rb") as file, disk.open("r+b") as target:
        for start, end in data_runs(file.fileno()):
            for position in range(start, end, _CHUNK_BYTES):
                data = os.pread(file.fileno(), min(_CHUNK_BYTES, end - position), position)
                if data.strip(b"\0"):
                    target.seek(offset + position)
                    target.write(data)
