import contextlib
import random
import struct
from pathlib import Path

import pytest

from imgforge.disk.partition import read_partitions
from imgforge.errors import BadInputError


def write_mbr(path: Path, *entries: tuple[int, int, int, int], sectors: int = 8192) -> Path:
    head = bytearray(512)
    for index, (flag, kind, start, count) in enumerate(entries):
        struct.pack_into("<B3xB3xII", head, 446 + 16 * index, flag, kind, start, count)
    head[510:512] = b"\x55\xaa"
    path.write_bytes(bytes(head))
    with path.open("r+b") as file:
        file.truncate(sectors * 512)
    return path


def test_reads_primary_partitions(tmp_path: Path) -> None:
    disk = write_mbr(tmp_path / "d", (0x80, 0x83, 2048, 1000), (0, 0, 0, 0), (0, 0x82, 4096, 96))
    first, second = read_partitions(disk)
    assert (first.number, first.start_lba, first.sector_count, first.kind) == (1, 2048, 1000, "83")
    assert (second.number, second.start_bytes) == (3, 4096 * 512)


def test_a_partition_outside_the_disk_is_refused(tmp_path: Path) -> None:
    disk = write_mbr(tmp_path / "d", (0x80, 0x83, 2048, 10**9))
    with pytest.raises(BadInputError, match="partition 1 ends at sector 1000002048"):
        read_partitions(disk)


@pytest.mark.parametrize("content", [b"", b"short", bytes(512), b"\xff" * 512, b"\x11" * 4096])
def test_what_is_no_table_has_no_partitions(tmp_path: Path, content: bytes) -> None:
    disk = tmp_path / "d"
    disk.write_bytes(content)
    assert read_partitions(disk) == ()


@pytest.mark.parametrize(
    ("lba", "count", "size"), [(2, 2**32 - 1, 128), (2, 128, 0), (2, 0, 128), (2, 4, 3)]
)
def test_a_gpt_with_impossible_numbers_is_refused(
    tmp_path: Path, lba: int, count: int, size: int
) -> None:
    disk = write_mbr(tmp_path / "d", (0, 0xEE, 1, 4095))
    with disk.open("r+b") as file:
        file.seek(512)
        file.write(b"EFI PART")
        file.seek(512 + 72)
        file.write(struct.pack("<QII", lba, count, size))
    with pytest.raises(BadInputError, match="GPT claims"):
        read_partitions(disk)


def test_a_gpt_whose_entries_lie_beyond_the_end_is_empty(tmp_path: Path) -> None:
    disk = write_mbr(tmp_path / "d", (0, 0xEE, 1, 4095))
    with disk.open("r+b") as file:
        file.seek(512)
        file.write(b"EFI PART")
        file.seek(512 + 72)
        file.write(struct.pack("<QII", 2**63, 128, 128))
    assert read_partitions(disk) == ()


def test_noise_gives_partitions_or_a_clear_error(tmp_path: Path) -> None:
    noise = random.Random(2)
    disk = tmp_path / "d"
    for _ in range(200):
        head = bytearray(noise.randbytes(2048))
        head[510:512] = b"\x55\xaa"
        if noise.random() < 0.5:
            head[512:520] = b"EFI PART"
            head[446 + 4] = 0xEE
        disk.write_bytes(head)
        with contextlib.suppress(BadInputError):
            read_partitions(disk)
