"""A file of a disk's file system becomes shorter, in place: no mount, no root, nothing else moves.

Its data is written over the blocks that it has; then its inode gets the new size, by debugfs (ext2,
ext3, ext4) or xfs_db (xfs), which also keep the checksums of metadata. Owner, mode, times and
extended attributes stay, so the same disk gives the same bytes each time.
"""

import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imgforge.command import Setting, Streams, run
from imgforge.disk.ext import S_IFMT, S_IFREG, ExtFilesystem, Inode
from imgforge.disk.ext_superblock import SUPERBLOCK_OFFSET
from imgforge.disk.record import data_runs
from imgforge.disk.volume import Volume, VolumeKind
from imgforge.errors import BadInputError, CommandError, MissingProgramError
from imgforge.files import scratch_folder

_TIMEOUT_S = 600
_INCOMPAT_RECOVER = 0x4
_CHUNK_BYTES = 2**20
_XFS_EXTENT = re.compile(r"data offset (\d+) startblock (\d+) \(\d+/\d+\) count (\d+) flag (\d+)")
_SECTOR_BYTES = 512


def shorten_file(disk: Path, volume: Volume, *, path: str, data: bytes) -> None:
    """Replace the content of the file `path`, in place, by `data`, which is no longer than it.

    A journal of ext that was not replayed is replayed first, as mounting would. Raises
    BadInputError where the file system is none of ext2, ext3, ext4 and xfs, or cannot be changed
    this way; CommandError.
    """
    if volume.kind.is_ext:
        _shorten_in_ext(disk, volume, path=path, data=data)
    elif volume.kind is VolumeKind.XFS:
        _shorten_in_xfs(disk, volume, path=path, data=data)
    else:
        raise BadInputError(
            f"Disk {disk}: {path} stands in {volume.kind} ({volume.name}); only ext2, ext3, ext4 "
            "and xfs can be changed without mounting.",
            hint="Change it in a running machine, and bundle that again.",
        )


def _offset(volume: Volume) -> int:
    return volume.partition.start_bytes if volume.partition else 0


def _shorten_in_ext(disk: Path, volume: Volume, *, path: str, data: bytes) -> None:
    offset = _offset(volume)
    with disk.open("r+b") as file:
        filesystem = ExtFilesystem(file, offset=offset)
        if filesystem.superblock.feature_incompat & _INCOMPAT_RECOVER:
            _debugfs(disk, ["jr"], offset=offset, stamp_s=_written_s(filesystem))
            filesystem = ExtFilesystem(file, offset=offset)
        inode = filesystem.find(path)
        if inode is None or inode.mode & S_IFMT != S_IFREG or inode.size_bytes < len(data):
            raise BadInputError(f"Disk {disk}: {path} leads to no plain file that is so long.")
        _write_runs(
            file,
            [
                (run.logical, offset + run.physical * filesystem.superblock.block_bytes, run.count)
                for run in filesystem.extents(inode)
            ],
            block_bytes=filesystem.superblock.block_bytes,
            content=data.ljust(inode.size_bytes, b"\0"),
        )
        commands = _ext_commands(inode, size=len(data), blocks=filesystem.superblock.block_bytes)
        stamp_s = _written_s(filesystem)
    _debugfs(disk, commands, offset=offset, stamp_s=stamp_s)


def _ext_commands(inode: Inode, *, size: int, blocks: int) -> list[str]:
    had, needs = -(-inode.size_bytes // blocks), -(-size // blocks)
    free = [f"punch <{inode.number}> {needs} {had - 1}"] if needs < had else []
    return [*free, f"sif <{inode.number}> size {size}"]


def _written_s(filesystem: ExtFilesystem) -> int:
    """Return when the superblock says it was last written: it keeps saying so."""
    return int(struct.unpack("<I", filesystem.read_at(SUPERBLOCK_OFFSET + 48, 4))[0])


def _debugfs(disk: Path, commands: Sequence[str], *, offset: int, stamp_s: int) -> None:
    with scratch_folder(disk.parent) as scratch:
        script = scratch / "commands"
        script.write_text("\n".join([*commands, ""]), encoding="ascii")
        completed = run(
            "debugfs",
            ["-w", "-f", script.absolute(), f"{disk.name}?offset={offset}"],
            streams=Streams(),
            setting=Setting(environment={"E2FSPROGS_FAKE_TIME": str(stamp_s)}, cwd=disk.parent),
            timeout_s=_TIMEOUT_S,
        )
    # It exits 0 whatever happens; after its banner every line of stderr is a complaint.
    complaints = b"\n".join(completed.stderr.splitlines()[1:]).decode(errors="replace").strip()
    if complaints:
        raise CommandError(
            f"debugfs could not do all it was asked:\n  {completed.line}\n{complaints}"
        )


def _write_runs(
    file: BinaryIO, runs: Sequence[tuple[int, int, int]], *, block_bytes: int, content: bytes
) -> None:
    """Write content over runs of blocks: (first block of the file, byte of the disk, blocks)."""
    covered = 0
    for logical, position, count in runs:
        piece = content[logical * block_bytes : (logical + count) * block_bytes]
        covered += len(piece)
        while piece:
            written = os.pwrite(file.fileno(), piece, position)
            position, piece = position + written, piece[written:]
    if covered != len(content):
        raise BadInputError("The file has holes, or is stored in its inode: it is left as it is.")


def _shorten_in_xfs(disk: Path, volume: Volume, *, path: str, data: bytes) -> None:
    """Change XFS by xfs_db, which knows no offset: a partition is copied out and back in."""
    if volume.partition is None:
        _shorten_in_whole_xfs(disk, path=path, data=data)
        return
    start = volume.partition.start_bytes
    size = volume.partition.sector_count * _SECTOR_BYTES
    with scratch_folder(disk.parent) as scratch:
        aside = scratch / "xfs"
        with disk.open("r+b") as file, aside.open("x+b") as copy:
            copy.truncate(size)
            _copy_changed(file, copy, start=start, target_start=0, size=size)
            _shorten_in_whole_xfs(aside, path=path, data=data)
            _copy_changed(copy, file, start=0, target_start=start, size=size)


def _copy_changed(
    source: BinaryIO, target: BinaryIO, *, start: int, target_start: int, size: int
) -> None:
    """Copy what differs of `size` bytes; holes of the source are left out."""
    for first, end in data_runs(source.fileno()):
        position = max(first, start)
        while position < min(end, start + size):
            count = min(_CHUNK_BYTES, end - position, start + size - position)
            data = os.pread(source.fileno(), count, position)
            place = position - start + target_start
            if data != os.pread(target.fileno(), len(data), place):
                os.pwrite(target.fileno(), data, place)
            position += len(data)


def _shorten_in_whole_xfs(disk: Path, *, path: str, data: bytes) -> None:
    with _told_damage(disk):
        log = run("xfs_logprint", ["-t", disk.name], setting=_beside(disk), timeout_s=_TIMEOUT_S)
    if b"state: <CLEAN>" not in log.stdout + log.stderr:
        raise BadInputError(
            f"Disk {disk}: the xfs file system was not unmounted; its log must be replayed first.",
            hint="Boot the disk once and shut it down: only a mount replays that log.",
        )
    shown = _read_xfs(disk, [f"path {path}", "print", "bmap"])
    fields = dict(re.findall(r"(?m)^(\S+) = (\S+)", shown))
    extents = [tuple(map(int, found)) for found in _XFS_EXTENT.findall(shown)]
    size = int(fields.get("core.size", "-1"))
    if not fields.get("core.mode", "").startswith("0100") or size < len(data):
        raise BadInputError(f"Disk {disk}: {path} leads to no plain file that is so long.")
    if fields.get("v3.reflink", "0") != "0" or fields.get("core.realtime", "0") != "0":
        raise BadInputError(
            f"Disk {disk}: {path} may share its blocks with a copy of it (reflink); it is left as "
            "it is.",
            hint="In a running machine, remove its lines with an editor; bundle that again.",
        )
    places = _read_xfs(disk, [f"convert fsblock {block} byte" for _, block, _, _ in extents])
    positions = [int(found) for found in re.findall(r"\((\d+)\)", places)]
    with disk.open("r+b") as file:
        block_bytes = int(struct.unpack(">I", os.pread(file.fileno(), 4, 4))[0])
        if len(positions) != len(extents) or any(flag for *_, flag in extents):
            raise BadInputError(f"Disk {disk}: {path} has blocks that were never written.")
        if max(positions, default=0) + size > disk.stat().st_size:
            raise BadInputError(f"Disk {disk}: {path} has blocks beyond the disk's end.")
        runs = [
            (logical, position, count)
            for (logical, _, count, _), position in zip(extents, positions, strict=True)
        ]
        _write_runs(file, runs, block_bytes=block_bytes, content=data.ljust(size, b"\0"))
        os.fsync(file.fileno())
    _xfs_db(disk, ["-x"], [f"path {path}", f"write core.size {len(data)}"])


def _beside(disk: Path) -> Setting:
    return Setting(cwd=disk.parent, environment={"TZ": "UTC"})


def _read_xfs(disk: Path, commands: Sequence[str]) -> str:
    with _told_damage(disk):
        return _xfs_db(disk, ["-r"], commands)


@contextmanager
def _told_damage(disk: Path) -> Iterator[None]:
    """Tell failures of what only reads: of damage those programs tell in many ways, or crash."""
    try:
        yield
    except MissingProgramError:
        raise
    except CommandError as error:
        raise BadInputError(
            f"Disk {disk}: its xfs cannot be read: {error}", hint="xfs_repair may mend it."
        ) from None


def _xfs_db(disk: Path, options: Sequence[str], commands: Sequence[str]) -> str:
    words = [word for command in commands for word in ("-c", command)]
    completed = run(
        "xfs_db", [*options, *words, disk.name], setting=_beside(disk), timeout_s=_TIMEOUT_S
    )
    if completed.stderr.strip():
        said = completed.stderr.decode(errors="replace")[:1000]
        raise CommandError(f"xfs_db could not do all it was asked:\n  {completed.line}\n{said}")
    return completed.stdout.decode(errors="replace")
