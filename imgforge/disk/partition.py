"""Partition tables: written by sfdisk, read here without trusting them."""

import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from imgforge.command import Setting, Streams, run
from imgforge.errors import BadInputError
from imgforge.recipe import Layout

SECTOR_BYTES = 512
FIRST_LBA = 2048  # 1 MiB: what sfdisk aligns to
BIOS_BOOT_SECTORS = 2048
GPT_TAIL_SECTORS = 33  # the backup table: 32 sectors of entries and a header (UEFI 2.10, 5.3)
_LINUX_TYPE = 0x83
_PROTECTIVE_TYPE = 0xEE
_MBR_TABLE = 446
_GPT_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_ESP_KINDS = {"C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "ef"}
_GPT_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_MOST_GPT_ENTRIES = 1024
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its number (from 1), where it starts and ends in 512-byte sectors, its type.

    `kind` is the two hexadecimal digits of an MBR type or the GUID of a GPT one.
    """

    number: int
    start_lba: int
    sector_count: int
    kind: str
    scheme: str

    @property
    def start_bytes(self) -> int:
        """Where it starts."""
        return self.start_lba * SECTOR_BYTES


def write_table(disk: Path, *, layout: Layout, root: Partition, identity: uuid.UUID) -> None:
    """Partition the file `disk`, whose size is set; every id in the table comes of `identity`.

    A GPT is written with a hybrid MBR: GRUB Legacy 0.97 as Debian ships it knows no GPT, so the
    root partition also stands first in the MBR, and the protective entry covers what lies before
    it. Firmware and Linux take such a disk for a GPT one (block/partitions/efi.c, is_pmbr_valid).
    """
    if layout is Layout.PV:
        return
    if layout is not Layout.HVM_GPT:
        lines = [
            "label: dos",
            f"label-id: 0x{identity.int & 0xFFFFFFFF or 1:08x}",
            f"start={root.start_lba}, size={root.sector_count}, type=83, bootable",
        ]
    else:
        lines = [
            "label: gpt",
            f"label-id: {_derive(identity, 'gpt')}",
            "first-lba: 34",
            f"1 : start={root.start_lba}, size={root.sector_count}, type={_GPT_LINUX}, "
            f'uuid={_derive(identity, "gpt root")}, name="root"',
            f"128 : start={FIRST_LBA}, size={BIOS_BOOT_SECTORS}, type={_GPT_BIOS_BOOT}, "
            f'uuid={_derive(identity, "gpt bios boot")}, name="bios-boot"',
        ]
    run(
        "sfdisk",
        ["--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", disk.name],
        streams=Streams(stdin="\n".join([*lines, ""]).encode()),
        setting=Setting(cwd=disk.parent),
        timeout_s=_TIMEOUT_S,
    )
    if layout is Layout.HVM_GPT:
        with disk.open("r+b") as file:
            file.seek(_MBR_TABLE)
            file.write(_hybrid_entries(root))


def _derive(identity: uuid.UUID, purpose: str) -> uuid.UUID:
    return uuid.uuid5(identity, purpose)


def _hybrid_entries(root: Partition) -> bytes:
    far = b"\xfe\xff\xff"  # beyond what cylinders, heads and sectors can name
    linux = struct.pack("<B3sB3sII", 0x80, far, _LINUX_TYPE, far, root.start_lba, root.sector_count)
    protective = struct.pack(
        "<B3sB3sII", 0, b"\x00\x02\x00", _PROTECTIVE_TYPE, far, 1, root.start_lba - 1
    )
    return linux + protective + bytes(32)


def read_partitions(path: Path) -> tuple[Partition, ...]:
    """List a disk's partitions: by GPT where there is one, else by the MBR (primary ones).

    Raises BadInputError for a table that points outside the disk.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(2 * SECTOR_BYTES)
        if len(head) < SECTOR_BYTES or head[510:512] != b"\x55\xaa":
            return ()
        kinds = {head[_MBR_TABLE + 16 * index + 4] for index in range(4)}
        if _PROTECTIVE_TYPE in kinds and head[512:520] == b"EFI PART":
            header = struct.unpack_from("<QIII", head, 512 + 72)
            entry_lba, count, entry_bytes, _ = header
            if not (0 < count <= _MOST_GPT_ENTRIES and entry_bytes in {128, 256, 512}):
                raise BadInputError(
                    f"Disk {path}: its GPT claims {count} entries of {entry_bytes}."
                )
            file.seek(min(entry_lba * SECTOR_BYTES, size))
            found = _parse_gpt(file.read(count * entry_bytes), entry_bytes)
        else:
            if any(head[_MBR_TABLE + 16 * index] not in {0, 0x80} for index in range(4)):
                return ()  # a boot sector of something else, as a file system's own
            found = _parse_mbr(head)
    for partition in found:
        if (partition.start_lba + partition.sector_count) * SECTOR_BYTES > size:
            raise BadInputError(
                f"Disk {path}: partition {partition.number} ends at sector "
                f"{partition.start_lba + partition.sector_count}, the disk has "
                f"{size // SECTOR_BYTES}.",
                hint="The disk may be cut short.",
            )
    return tuple(found)


def read_scheme(path: Path) -> str:
    """Return "gpt", "mbr" or "none": which table a file or a device begins with. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(2 * SECTOR_BYTES)
    if len(head) < SECTOR_BYTES or head[510:512] != b"\x55\xaa":
        return "none"
    kinds = {head[_MBR_TABLE + 16 * index + 4] for index in range(4)}
    return "gpt" if _PROTECTIVE_TYPE in kinds and head[512:520] == b"EFI PART" else "mbr"


def _parse_mbr(head: bytes) -> list[Partition]:
    found = []
    for index in range(4):
        entry = head[_MBR_TABLE + 16 * index : _MBR_TABLE + 16 * (index + 1)]
        start, count = struct.unpack_from("<II", entry, 8)
        if entry[4] and count:
            found.append(Partition(index + 1, start, count, f"{entry[4]:02x}", "mbr"))
    return found


def _parse_gpt(table: bytes, entry_bytes: int) -> list[Partition]:
    found = []
    for position in range(0, len(table) - entry_bytes + 1, entry_bytes):
        entry = table[position : position + entry_bytes]
        start, end = struct.unpack_from("<QQ", entry, 32)
        if any(entry[:16]) and end >= start:
            kind = str(uuid.UUID(bytes_le=entry[:16])).upper()
            number = position // entry_bytes + 1
            found.append(Partition(number, start, end - start + 1, kind, "gpt"))
    return found


def has_esp(path: Path) -> bool:
    """Tell whether a disk has an EFI system partition (UEFI specification, 13.3).

    Raises BadInputError for a table that points outside the disk.
    """
    return any(partition.kind in _ESP_KINDS for partition in read_partitions(path))


def recognise_layout(path: Path) -> Layout | None:
    """Tell a disk's layout from its own bytes; None where nothing bootable is recognised.

    For disks not built here. Raises BadInputError for a table that points outside the disk.
    """
    partitions = read_partitions(path)
    with path.open("rb") as file:
        head = file.read(2048)
    if not partitions:
        # ext's magic stands at byte 1080, XFS begins with its own
        is_filesystem = head[1080:1082] == b"\x53\xef" or head[:4] == b"XFSB"
        return Layout.PV if is_filesystem else None
    if partitions[0].scheme == "gpt":
        return Layout.HVM_GPT
    return Layout.HVM_MBR if any(head[:440]) else Layout.PV_PART
