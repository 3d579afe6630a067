"""A catalog that may only be read: it is looked at, and what would change it is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.registering import environment, run
from tests.snapshot_disks import write_disk

_READ_ONLY = (
    'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'  # mount(8)
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a user's home whose catalog has a snapshot."""
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def snapshot_id(home: Path) -> str:
    disk = write_disk(home / "disk.raw", {0: b"1"}, size_bytes=2**20)
    return run(home, "snapshots", "upload", disk).strip()


def read_only(home: Path, *words: str | Path) -> tuple[int, str]:
    """Run `imgforge` where the user's data cannot be written to."""
    shell = ["unshare", "-Urm", "sh", "-c", _READ_ONLY, "sh", str(home / "data")]
    if subprocess.run([*shell, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    done = subprocess.run(
        [*shell, sys.executable, "-m", "imgforge", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(home),
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "failed unexpectedly" not in said
    return done.returncode, said


def test_what_is_there_is_read(home: Path, snapshot_id: str) -> None:
    before = sorted(path for path in (home / "data").rglob("*"))
    assert snapshot_id in read_only(home, "snapshots", "list")[1]
    code, said = read_only(home, "images", "find", "--name", "pv-grub-hd0_1.05*")
    assert (code, "pv-grub-hd0_1.05-x86_64.gz" in said) == (0, True)
    copied = home / "copied.raw"
    code, said = read_only(home, "snapshots", "download", snapshot_id, "--out", copied)
    assert code == 0, said
    with copied.open("rb") as file:
        assert file.read(2**20) == (home / "disk.raw").read_bytes()
    assert sorted(path for path in (home / "data").rglob("*")) == before


def test_what_would_change_it_is_refused_at_once(home: Path, snapshot_id: str) -> None:
    for words in (("snapshots", "tag", snapshot_id, "a=b"), ("snapshots", "delete", snapshot_id)):
        code, said = read_only(home, *words)
        assert (code, "read-only here: nothing in it can be changed" in said) == (4, True), said
    code, said = read_only(home, "snapshots", "upload", home / "disk.raw", "--new")
    assert (code, "cannot be written there: Read-only file system" in said) == (3, True), said


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_catalog_of_another_user_is_read(home: Path, snapshot_id: str) -> None:
    catalog = home / "data" / "imgforge" / "catalog"
    for path in [catalog, *catalog.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert snapshot_id in run(home, "snapshots", "list")
    finally:
        for path in [catalog, *catalog.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
