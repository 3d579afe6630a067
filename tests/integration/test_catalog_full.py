"""The catalog on a full file system."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 2**20
_ON_SMALL_TMPFS = 'mkdir -p "$1" && mount -t tmpfs -o size=4m tmpfs "$1" && shift && exec "$@"'
_STORE = """
import sys
from pathlib import Path
from imgforge.catalog import Account
from imgforge.catalog.blobs import store_blob
from imgforge.disk import Disk
from imgforge.errors import HostError
folder, path, sha256 = sys.argv[1:]
disk = Disk(Path(path), sha256, Path(path).stat().st_size)
try:
    store_blob(Path(folder), disk)
except HostError as error:
    print(error)
print([p.name for p in Path(folder).rglob("*") if p.is_file()])
with Account(Path(folder), regions=["us-east-1"]) as account:
    print(account.perform("DescribeImages", {"Owners": ["self"]}, region="us-east-1")["Images"])
"""


def test_a_full_file_system_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    disk.write_bytes(os.urandom(8 * MIB))
    sha256 = hashlib.sha256(disk.read_bytes()).hexdigest()
    small = tmp_path / "small"
    shell = ["unshare", "-Urm", "sh", "-c", _ON_SMALL_TMPFS, "sh", str(small)]
    if subprocess.run([*shell, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    ended = subprocess.run(
        [*shell, sys.executable, "-c", _STORE, small, disk, sha256],
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert ended.stdout.decode().splitlines() == [
        f"Catalog {small}: no space is left on its file system for the disk.",
        "[]",
        "[]",
    ], ended.stderr
