"""XFS is read without mounting it, and what is read is what a mount shows."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from imgforge.command import find_program
from imgforge.disk import find_root_volume
from imgforge.errors import BadInputError
from tests.volume_material import Seen, see_disk, see_folder
from tests.xfs_material import FORMATS, MIB, fill, fill_by_prototype, make_xfs_file, mounted

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting xfs needs root")


@needs_root
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_read_is_what_a_mount_shows(tmp_path: Path, form: str) -> None:
    disk = make_xfs_file(tmp_path / "disk.raw", FORMATS[form])
    try:
        with mounted(disk, tmp_path / "at") as folder:
            fill(folder)
        with mounted(disk, tmp_path / "at", "ro") as folder:
            expected = see_folder(folder)
    except OSError as error:
        pytest.skip(f"this kernel does not mount it: {str(error).splitlines()[0]}")
    assert len(expected) > 2500
    assert see_disk(disk) == expected


@pytest.mark.parametrize("form", FORMATS)
def test_what_mkfs_put_in_is_read(tmp_path: Path, form: str) -> None:
    target = 400 if "4" in form else 50
    tree = fill_by_prototype(tmp_path, target=target, counts=(30, 1500))
    prototype = ("-p", str(tmp_path / "prototype"))
    disk = make_xfs_file(tmp_path / "disk.raw", (*FORMATS[form], *prototype))
    assert contents(see_disk(disk)) == contents(see_folder(tree))


def contents(seen: dict[str, Seen]) -> dict[str, tuple[object, ...]]:
    """Return what a prototype file can say."""
    return {
        path: (one.entry.kind, one.target, one.content, one.entry.device)
        for path, one in seen.items()
    }


@needs_root
def test_a_log_that_is_to_be_replayed_is_told(tmp_path: Path) -> None:
    disk = make_xfs_file(tmp_path / "disk.raw", FORMATS["version 5"])
    copy = tmp_path / "copy.raw"
    with mounted(disk, tmp_path / "at") as folder:
        (folder / "etc").mkdir()
        os.sync()
        subprocess.run(["cp", "--sparse=always", disk, copy], check=True)
    assert set(see_disk(disk)) == {".", "etc"}
    with pytest.raises(BadInputError, match="its log must be replayed first"):
        see_disk(copy)
    subprocess.run([find_program("xfs_repair"), "-L", copy], check=True, capture_output=True)
    assert see_disk(copy).keys() >= {"."}


def test_every_cut_is_refused(tmp_path: Path) -> None:
    fill_by_prototype(tmp_path)
    disk = make_xfs_file(tmp_path / "disk.raw", ("-m", "crc=0", "-p", str(tmp_path / "prototype")))
    for size in (0, 511, 512, 4096, 100 * MIB, disk.stat().st_size - 4096):
        os.truncate(disk, size)
        with pytest.raises(BadInputError):
            see_disk(disk)
        os.truncate(disk, 400 * MIB)


@pytest.mark.parametrize("form", ["version 5", "version 4"])
def test_damage_is_told_and_breaks_nothing(tmp_path: Path, form: str) -> None:
    """Bytes of everything that is no data, and whole blocks in each other's place."""
    fill_by_prototype(tmp_path)
    prototype = ("-p", str(tmp_path / "prototype"))
    disk = make_xfs_file(tmp_path / "disk.raw", (*FORMATS[form], *prototype))
    chance = random.Random(5)
    told = 0
    with disk.open("r+b", buffering=0) as file:
        data = os.pread(file.fileno(), 2 * MIB, 0)
        used = [at for at in range(0, len(data), 256) if data[at : at + 256].strip(b"\0")]
        for _ in range(200):
            start = chance.choice(used[:300]) if chance.random() < 0.8 else 0
            at = start + chance.randrange(256)
            piece = chance.choice(
                (bytes([data[at] ^ 1 << chance.randrange(8)]), b"\xff" * 4, bytes(8), data[:256])
            )
            os.pwrite(file.fileno(), piece, at)
            try:
                see_disk(disk)
            except BadInputError:
                told += 1
            os.pwrite(file.fileno(), data[at : at + len(piece)], at)
    assert told > 10
    see_disk(disk)


def test_an_xfs_root_is_found_behind_a_table(tmp_path: Path) -> None:
    fill_by_prototype(tmp_path)
    prototype = ("-p", str(tmp_path / "prototype"))
    inner = make_xfs_file(tmp_path / "inner", (*FORMATS["version 5"], *prototype))
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(402 * MIB)
    table = "label: dos\nstart=2048, size=819200, type=83, bootable\n"
    subprocess.run([find_program("sfdisk"), "-q", disk], input=table, text=True, check=True)
    subprocess.run(
        ["dd", f"if={inner}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse"],
        check=True,
        capture_output=True,
    )
    assert (find_root_volume(disk).name, find_root_volume(disk).kind) == ("(hd0,0)", "xfs")
    assert see_disk(disk) == see_disk(inner)
