"""The fstab of a disk: where it stands, and how it is edited there."""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.ext import ExtFilesystem
from imgforge.disk.file_shorten import shorten_file
from imgforge.disk.fstab import FSTAB, FstabEdit, edit_fstab
from imgforge.disk.reader import extract_file
from imgforge.disk.volume import Volume, VolumeKind, read_volumes
from imgforge.errors import BadInputError, CommandError

_LARGEST_BYTES = 2**20
_NO_FILES = {VolumeKind.UNKNOWN, VolumeKind.LVM, VolumeKind.SWAP, VolumeKind.NTFS}


@dataclass(frozen=True, slots=True)
class PlacedEdit:
    """What becomes of the fstab in one of a disk's file systems."""

    volume: Volume
    edit: FstabEdit

    @property
    def name(self) -> str:
        """The file as GRUB names it."""
        return f"{self.volume.name}{FSTAB}"

    @property
    def diff(self) -> str:
        """The unified diff."""
        return self.edit.diff(self.name)


def plan_fstab_edits(disk: Path, *, ephemeral_devices: Collection[str]) -> tuple[PlacedEdit, ...]:
    """Return what `edit_fstab` makes of each /etc/fstab on a disk, in the order of its volumes.

    Raises BadInputError where a file system, or the partition table, is damaged.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="imgforge-fstab-") as folder:
        for volume in read_volumes(disk):
            data = _read(disk, volume, Path(folder) / "fstab")
            if data is not None:
                edit = edit_fstab(data, ephemeral_devices=ephemeral_devices)
                found.append(PlacedEdit(volume, edit))
    return tuple(found)


def apply_fstab_edit(disk: Path, placed: PlacedEdit) -> None:
    """Write an edited fstab into a disk, in place, and read it back.

    Raises BadInputError where its file system cannot be changed without mounting, CommandError.
    """
    if not placed.edit.removed:
        return
    shorten_file(disk, placed.volume, path=FSTAB, data=placed.edit.new)
    with tempfile.TemporaryDirectory(prefix="imgforge-fstab-") as folder:
        if _read(disk, placed.volume, Path(folder) / "fstab") != placed.edit.new:
            raise CommandError(f"Disk {disk}: {placed.name}, read again, is not what was written.")


def _read(disk: Path, volume: Volume, scratch: Path) -> bytes | None:
    if volume.kind in _NO_FILES:
        return None
    if volume.kind.is_ext:  # newer ones than GRUB's are none to grub-fstest, and not known as such
        return _read_from_ext(disk, volume)
    there = extract_file(
        disk,
        partition=volume.partition,
        path=FSTAB,
        destination=scratch,
        limit_bytes=_LARGEST_BYTES,
    )
    return scratch.read_bytes() if there else None


def _read_from_ext(disk: Path, volume: Volume) -> bytes | None:
    offset = volume.partition.start_bytes if volume.partition else 0
    with disk.open("rb") as file:
        filesystem = ExtFilesystem(file, offset=offset)
        inode = filesystem.find(FSTAB)
        if inode is None or inode.is_folder:
            return None
        if inode.size_bytes > _LARGEST_BYTES:
            raise BadInputError(f"Disk {disk}: {FSTAB} is longer than {_LARGEST_BYTES} bytes.")
        return filesystem.read_file(inode)
