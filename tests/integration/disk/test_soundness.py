"""A damaged file system is refused before its tree is read, with what its checker found."""

import re
import subprocess
from pathlib import Path

import pytest

from imgforge.command import find_program
from imgforge.errors import BadInputError
from tests.volume_material import see_disk
from tests.xfs_material import FORMATS, fill_by_prototype, make_xfs_file

MIB = 2**20
FILES = 600


def make_tree(folder: Path) -> Path:
    """Make a tree with a folder that needs several blocks."""
    many = folder / "many"
    many.mkdir(parents=True)
    for number in range(FILES):
        (many / f"a file with a name of some length {number}").write_text(str(number))
    return folder


def make_ext(path: Path, tree: Path, *options: str) -> Path:
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    program = str(find_program("mke2fs"))
    line = [program, "-q", "-F", "-t", "ext4", "-d", tree, *options, path]
    subprocess.run([*map(str, line)], check=True, capture_output=True)
    return path


def inode_place(disk: Path, path: str) -> int:
    """Return where an inode stands in an ext file system, in bytes."""
    words = [str(find_program("debugfs")), "-R", f"imap {path}", str(disk)]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    match = re.search(r"located at block (\d+), offset 0x([0-9a-f]+)", told)
    assert match is not None, told
    sizes = subprocess.run(
        [words[0], "-R", "stats", str(disk)], check=True, capture_output=True, text=True
    ).stdout
    size = re.search(r"Block size:\s+(\d+)", sizes)
    assert size is not None
    return int(match[1]) * int(size[1]) + int(match[2], 16)


def patch(disk: Path, place: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(place)
        file.write(data)


def test_a_folder_of_ext_that_lost_its_blocks_is_no_empty_one(tmp_path: Path) -> None:
    disk = make_ext(tmp_path / "disk.raw", make_tree(tmp_path / "tree"), "-O", "^metadata_csum")
    assert len(see_disk(disk)) > FILES
    patch(disk, inode_place(disk, "/many") + 40 + 2, bytes(2))  # the extents' count
    with pytest.raises(BadInputError, match=r"is damaged: .*zero-length") as caught:
        see_disk(disk)
    assert str(disk) in str(caught.value)
    assert "e2fsck" in caught.value.hint


def test_a_journal_that_is_garbage_is_told_of_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = make_ext(tmp_path / "disk.raw", make_tree(tmp_path / "tree"))
    words = [str(find_program("debugfs")), "-w", "-R", "feature needs_recovery", str(disk)]
    subprocess.run(words, check=True, capture_output=True)
    patch(disk, inode_place(disk, "<8>"), bytes(128))
    before = disk.read_bytes()
    assert len(see_disk(disk)) > FILES
    assert f"Disk {disk}: e2fsck mended in the copy: " in caplog.text
    assert "invalid journal" in caplog.text
    assert disk.read_bytes() == before


@pytest.mark.parametrize("form", ["version 5", "version 4"])
def test_a_folder_of_xfs_with_a_block_that_is_none_is_refused(tmp_path: Path, form: str) -> None:
    fill_by_prototype(tmp_path, target=50, counts=(30, 1500))
    prototype = ("-p", str(tmp_path / "prototype"))
    disk = make_xfs_file(tmp_path / "disk.raw", (*FORMATS[form], *prototype))
    whole = len(see_disk(disk))
    content = disk.read_bytes()
    magic = b"XDD3" if "5" in form else b"XD2D"
    places = [at.start() for at in re.finditer(magic, content) if at.start() % 4096 == 0]
    assert places
    assert whole > 1500
    patch(disk, places[-1], b"ZZZZ")
    with pytest.raises(BadInputError, match="is damaged: ") as caught:
        see_disk(disk)
    assert str(disk) in str(caught.value)
