"""Raw disks that are kept whole: copied once, sparse, checked and read-only."""

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgforge.catalog.blobs import file_sha256, store_blob
from imgforge.disk import Disk
from imgforge.errors import BadInputError, HostError

MIB = 2**20


def make_disk(path: Path, seed: bytes = b"1") -> Disk:
    with path.open("wb") as file:
        file.truncate(64 * MIB)
        for offset in (0, 20 * MIB + 512, 64 * MIB - 512):
            file.seek(offset)
            file.write(seed * 512)
    return Disk(path, hashlib.sha256(path.read_bytes()).hexdigest(), 64 * MIB)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    return catalog


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_blob_is_a_sparse_read_only_copy(tmp_path: Path, folder: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    blob = store_blob(folder, disk)
    assert blob == folder / "blobs" / "sha256" / disk.sha256[:2] / disk.sha256
    assert blob.read_bytes() == disk.path.read_bytes()
    status = blob.stat()
    assert stat.S_IMODE(status.st_mode) == 0o444
    assert status.st_blocks * 512 < MIB
    assert list(folder.rglob(".imgforge-aside-*")) == []
    assert file_sha256(blob) == disk.sha256


def test_equal_disks_share_a_blob_that_two_store_at_once(tmp_path: Path, folder: Path) -> None:
    disks = [make_disk(tmp_path / "d.raw"), make_disk(tmp_path / "e.raw")]
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda disk: store_blob(folder, disk), disks)
    assert one == two
    assert len([path for path in files_in(folder) if path.stat().st_size]) == 1


def test_a_disk_that_is_not_what_its_digest_says_is_refused(tmp_path: Path, folder: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with disk.path.open("r+b") as file:
        file.write(b"changed since")
    with pytest.raises(BadInputError, match="its SHA-256 is"):
        store_blob(folder, disk)
    os.truncate(disk.path, MIB)
    with pytest.raises(BadInputError, match="were built or tested"):
        store_blob(folder, disk)
    disk.path.unlink()
    with pytest.raises(BadInputError, match="is not there"):
        store_blob(folder, disk)
    disk.path.mkdir()
    with pytest.raises(BadInputError, match="not a regular file"):
        store_blob(folder, disk)
    assert files_in(folder) == []


def test_a_blob_that_was_cut_or_lost_is_put_back(tmp_path: Path, folder: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    blob = store_blob(folder, disk)
    blob.chmod(0o644)
    os.truncate(blob, MIB)
    assert store_blob(folder, disk).read_bytes() == disk.path.read_bytes()
    blob.unlink()
    assert store_blob(folder, disk).read_bytes() == disk.path.read_bytes()


def test_what_a_kill_in_the_middle_of_a_copy_left_is_swept(tmp_path: Path, folder: Path) -> None:
    left = folder / "blobs" / ".imgforge-aside-killed"
    left.mkdir(parents=True)
    (left / "blob").write_bytes(b"half")
    store_blob(folder, make_disk(tmp_path / "d.raw"))
    assert not left.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_write_permission_is_named(tmp_path: Path, folder: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    folder.chmod(0o555)
    with pytest.raises(HostError, match=r"catalog: cannot be written to"):
        store_blob(folder, disk)
    folder.chmod(0o755)
