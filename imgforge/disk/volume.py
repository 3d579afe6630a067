"""What stands on a disk: the file system of the whole disk, or of each partition."""

import struct
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imgforge.disk.partition import Partition, read_partitions

_HEAD_BYTES = 0x10100
_EXT_INCOMPAT_64BIT = 0x80
_EXT_INCOMPAT_UNREADABLE = {
    _EXT_INCOMPAT_64BIT: "64bit",
    0x10: "meta_bg",
    0x8000: "inline_data",
    0x10000: "encrypt",
    0x20000: "casefold",
}
_EXT_COMPAT_JOURNAL = 0x4
_EXT_INCOMPAT_EXTENTS = 0x40


class VolumeKind(StrEnum):
    """What a volume holds, by its magic number."""

    EXT2 = "ext2"
    EXT3 = "ext3"
    EXT4 = "ext4"
    XFS = "xfs"
    JFS = "jfs"
    REISERFS = "reiserfs"
    BTRFS = "btrfs"
    FAT = "fat"
    LVM = "lvm"
    SWAP = "swap"
    NTFS = "ntfs"
    UNKNOWN = "unknown"

    @property
    def is_ext(self) -> bool:
        """Whether it is one of ext2, ext3 and ext4."""
        return self in {VolumeKind.EXT2, VolumeKind.EXT3, VolumeKind.EXT4}


# "Limitations of PV-GRUB": what AWS has tested.
TESTED_BY_AWS = frozenset(
    {
        VolumeKind.EXT2,
        VolumeKind.EXT3,
        VolumeKind.EXT4,
        VolumeKind.JFS,
        VolumeKind.XFS,
        VolumeKind.REISERFS,
    }
)


@dataclass(frozen=True, slots=True)
class Volume:
    """A partition by its number, or 0 for the whole disk, and what it holds.

    `label` and `identity` (its UUID, lower case) are None where they are not read here. `unread`
    names what GRUB Legacy 0.97 cannot read in it.
    """

    number: int
    partition: Partition | None
    kind: VolumeKind
    label: str | None = None
    identity: str | None = None
    unread: tuple[str, ...] = ()

    @property
    def start_bytes(self) -> int:
        """Where it begins on the disk."""
        return self.partition.start_bytes if self.partition else 0

    @property
    def name(self) -> str:
        """GRUB's name of it."""
        return f"(hd0,{self.number - 1})" if self.number else "(hd0)"


def read_volumes(disk: Path) -> tuple[Volume, ...]:
    """List the whole disk, number 0, and its partitions.

    Raises BadInputError for a partition table that points outside the disk.
    """
    partitions = read_partitions(disk)
    found = []
    with disk.open("rb") as file:
        for partition in (None, *partitions):
            file.seek(partition.start_bytes if partition else 0)
            size = partition.sector_count * 512 if partition else _HEAD_BYTES
            found.append(_recognise(file.read(min(size, _HEAD_BYTES)), partition))
    return tuple(found)


def recognise_volume(path: Path) -> Volume:
    """Return what a file or a device holds as a whole, whatever table is on it. Raises OSError."""
    with path.open("rb") as file:
        return _recognise(file.read(_HEAD_BYTES), None)


def _recognise(head: bytes, partition: Partition | None) -> Volume:
    number = partition.number if partition else 0
    if head[1080:1082] == b"\x53\xef" and len(head) >= 2048:
        return _ext(head[1024:2048], partition)
    if head[:4] == b"XFSB" and len(head) >= 512:
        version = struct.unpack_from(">H", head, 100)[0] & 0xF
        return Volume(
            number,
            partition,
            VolumeKind.XFS,
            _label(head[108:120]),
            str(uuid.UUID(bytes=head[32:48])),
            ("XFS version 5 (crc)",) if version == 5 else (),
        )
    for offset, magic, kind in (
        (0x8000, b"JFS1", VolumeKind.JFS),
        (0x10034, b"ReIsEr", VolumeKind.REISERFS),
        (0x10040, b"_BHRfS_M", VolumeKind.BTRFS),
        (512, b"LABELONE", VolumeKind.LVM),
        (4086, b"SWAPSPACE2", VolumeKind.SWAP),
        (3, b"NTFS    ", VolumeKind.NTFS),
        (82, b"FAT32", VolumeKind.FAT),
        (54, b"FAT1", VolumeKind.FAT),
    ):
        if head[offset : offset + len(magic)] == magic:
            return Volume(number, partition, kind)
    return Volume(number, partition, VolumeKind.UNKNOWN)


def _ext(superblock: bytes, partition: Partition | None) -> Volume:
    compat, incompat = struct.unpack_from("<II", superblock, 92)
    kind = VolumeKind.EXT2
    if incompat & _EXT_INCOMPAT_EXTENTS:
        kind = VolumeKind.EXT4
    elif compat & _EXT_COMPAT_JOURNAL:
        kind = VolumeKind.EXT3
    return Volume(
        partition.number if partition else 0,
        partition,
        kind,
        _label(superblock[120:136]),
        str(uuid.UUID(bytes=superblock[104:120])),
        tuple(name for bit, name in _EXT_INCOMPAT_UNREADABLE.items() if incompat & bit),
    )


def _label(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="replace")
