"""The catalog under several processes, kills at any moment and a full file system."""

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgforge.catalog import Catalog, ImageState

MIB = 2**20
KILLS = 20
_ON_SMALL_TMPFS = 'mkdir -p "$1" && mount -t tmpfs -o size=4m tmpfs "$1" && shift && exec "$@"'

# Says "ready" when all is imported, registers a disk for each line it reads, and tells the id.
REGISTER = """
import sys
from pathlib import Path
from imgforge.catalog import (
    Architecture, BlockDeviceMapping, Catalog, EbsDevice, Gate, ImageRegistration, NameConflict,
    VirtualizationType,
)
from imgforge.disk import Disk
from imgforge.errors import ImgforgeError
folder, name, path, sha256, conflict = sys.argv[1:]
disk = Disk(path=Path(path), sha256=sha256, size_bytes=Path(path).stat().st_size)
registration = ImageRegistration(
    name=name,
    architecture=Architecture.X86_64,
    virtualization_type=VirtualizationType.HVM,
    root_device_name="/dev/xvda",
    block_devices=(BlockDeviceMapping("/dev/xvda", ebs=EbsDevice()),),
    tags={"k": "v"},
)
print("ready", flush=True)
sys.stdin.readline()
try:
    with Catalog(Path(folder)) as catalog:
        image = catalog.register_image(
            registration, disk=disk, verdict=None, gate=Gate.UNVERIFIED,
            conflict=NameConflict(conflict),
        )
        print(image.image_id, flush=True)
except ImgforgeError as error:
    print(f"{type(error).__name__}: {error}", flush=True)
"""


def make_disk(path: Path, *, data_bytes: int = MIB) -> str:
    """Make a sparse disk of 64 MiB; return its SHA-256."""
    with path.open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(16 * MIB)
        file.write(os.urandom(data_bytes))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Registering:
    """A process that is about to register a disk."""

    def __init__(self, folder: Path, *, name: str, disk: Path, conflict: str = "supersede") -> None:
        sha256 = hashlib.sha256(disk.read_bytes()).hexdigest()
        self.process = subprocess.Popen(
            [sys.executable, "-c", REGISTER, folder, name, disk, sha256, conflict],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def finish(self) -> str:
        """Return what it said."""
        out, _ = self.process.communicate(timeout=60)
        return out.decode().strip()

    def kill_after(self, delay_s: float) -> bytes:
        """End it after a delay; return what it had said until then."""
        try:
            self.process.wait(timeout=delay_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self.process.communicate()[0]


def check_whole(folder: Path) -> list[str]:
    """Check that each record has its data and nothing half stands anywhere; return the ids."""
    database = sqlite3.connect(folder / "catalog.sqlite3")
    if database.execute("PRAGMA user_version").fetchone() == (0,):
        return []  # killed before its tables were there
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()
    for blob in (folder / "blobs" / "sha256").glob("*/*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    with Catalog(folder) as catalog:
        images = catalog.images(ImageState)
        for image in images:
            assert catalog.disk_of(image).path.name == image.disk_sha256
            assert image.tags == {"k": "v"}
            assert image.block_devices
    names = [image.name for image in images if image.state is ImageState.AVAILABLE]
    assert len(names) == len(set(names))
    return [image.image_id for image in images]


def asides(folder: Path) -> list[Path]:
    return list(folder.rglob(".imgforge-aside-*"))


def test_a_kill_at_any_moment_leaves_whole_images_and_the_next_run_works(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    disk = tmp_path / "d.raw"
    make_disk(disk, data_bytes=16 * MIB)
    measured = Registering(tmp_path / "measured", name="measured", disk=disk)
    started = time.monotonic()
    measured.go()
    assert measured.finish().startswith("ami-")
    whole_s = time.monotonic() - started
    acknowledged: list[str] = []
    chance = random.Random(5)
    for number in range(KILLS):
        make_disk(disk, data_bytes=16 * MIB)
        registering = Registering(folder, name="the image", disk=disk)
        registering.go()
        said = registering.kill_after(chance.uniform(0, whole_s * 1.1)).decode().strip()
        if said.startswith("ami-"):
            acknowledged.append(said)
        if not folder.exists():
            continue
        assert set(acknowledged) <= set(check_whole(folder)), f"after kill {number}"
    assert len(acknowledged) < KILLS
    last = Registering(folder, name="the image", disk=disk)
    last.go()
    image_id = last.finish()
    assert image_id in check_whole(folder)
    with Catalog(folder) as catalog:
        assert [image.image_id for image in catalog.images()] == [image_id]
    # A blob that is there already needs no copy, and so no sweep: one more disk sweeps.
    make_disk(disk)
    sweeping = Registering(folder, name="the image", disk=disk)
    sweeping.go()
    sweeping.finish()
    assert asides(folder) == []


def test_a_kill_in_the_middle_of_the_copy_is_swept_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    disk = tmp_path / "d.raw"
    make_disk(disk)
    left = folder / "blobs" / ".imgforge-aside-killed"
    left.mkdir(parents=True)
    (left / "blob").write_bytes(b"half")
    registering = Registering(folder, name="the image", disk=disk)
    registering.go()
    assert registering.finish().startswith("ami-")
    assert asides(folder) == []


@pytest.mark.parametrize("round_", range(3))
def test_equal_disks_at_once_become_one_image(tmp_path: Path, round_: int) -> None:
    folder = tmp_path / "catalog"
    disk = tmp_path / "d.raw"
    make_disk(disk, data_bytes=8 * MIB)
    both = [Registering(folder, name="same", disk=disk, conflict="refuse") for _ in range(2)]
    for one in both:
        one.go()
    said = [one.finish() for one in both]
    assert said[0] == said[1], round_
    assert check_whole(folder) == [said[0]]
    assert len(list((folder / "blobs" / "sha256").glob("*/*"))) == 1


def test_different_disks_at_once_become_two_images(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    disks = [tmp_path / "d.raw", tmp_path / "e.raw"]
    for disk in disks:
        make_disk(disk, data_bytes=8 * MIB)
    both = [Registering(folder, name=disk.name, disk=disk) for disk in disks]
    for one in both:
        one.go()
    assert sorted(one.finish() for one in both) == sorted(check_whole(folder))


@pytest.mark.parametrize("conflict", ["refuse", "supersede"])
def test_two_disks_for_one_name_at_once_leave_one_image(tmp_path: Path, conflict: str) -> None:
    folder = tmp_path / "catalog"
    disks = [tmp_path / "d.raw", tmp_path / "e.raw"]
    for disk in disks:
        make_disk(disk, data_bytes=8 * MIB)
    both = [Registering(folder, name="same", disk=disk, conflict=conflict) for disk in disks]
    for one in both:
        one.go()
    said = sorted(one.finish() for one in both)
    ids = check_whole(folder)
    with Catalog(folder) as catalog:
        assert len(catalog.images()) == 1
    if conflict == "refuse":
        assert said[0].startswith("BadInputError: Image 'same': the name belongs to")
        assert ids == [said[1]]
    else:
        assert sorted(ids) == said


def test_a_full_file_system_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    sha256 = make_disk(disk, data_bytes=8 * MIB)
    small = tmp_path / "small"
    shell = ["unshare", "-Urm", "sh", "-c", _ON_SMALL_TMPFS, "sh", str(small)]
    if subprocess.run([*shell, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    look = f"""
print([p.name for p in Path({str(small)!r}).rglob("*") if p.is_file() and "sqlite" not in p.name])
with Catalog(Path({str(small)!r})) as catalog:
    print(catalog.images())
"""
    ended = subprocess.run(
        [*shell, sys.executable, "-c", REGISTER + look, small, "x-1", disk, sha256, "refuse"],
        check=False,
        capture_output=True,
        input=b"go\n",
        timeout=60,
    )
    lines = ended.stdout.decode().splitlines()
    assert lines[1:] == [
        f"HostError: Catalog {small}: no space is left on its file system for the disk.",
        "[]",
        "[]",
    ], ended.stderr
