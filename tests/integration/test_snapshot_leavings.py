"""What an upload leaves: told by name where it ends early, and taken away when nobody needs it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from imgforge.ec2 import BLOCK_BYTES
from imgforge.snapshot_transfer import upload_snapshot
from imgforge.snapshot_transfer.place import lock_journal
from tests.serving import Serving
from tests.snapshot_disks import Command, blocks_of, cloud_of, content_of, noise, write_disk

COUNT = 40
LIMIT_S = 60.0
_OLD_S = 100 * 86400
_ON_SMALL_TMPFS = 'mkdir -p "$1" && mount -t tmpfs -o size=12m tmpfs "$1" && shift && exec "$@"'


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    blocks = {number: noise(number) for number in range(COUNT)}
    return write_disk(tmp_path / "disk.raw", blocks, size_bytes=COUNT * BLOCK_BYTES)


def small_disk(folder: Path, number: int) -> Path:
    return write_disk(folder / f"{number}.raw", {0: noise(number)}, size_bytes=BLOCK_BYTES)


def journals(data: Path) -> set[str]:
    folder = data / "imgforge" / "snapshot-uploads"
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_upload_names_what_stays_and_goes_on_with_it(
    disk: Path, tmp_path: Path, number: int
) -> None:
    data = tmp_path / "data"
    with Serving(
        tmp_path / "catalog", "--latency", "0s", "--fault", "slow=50ms:PutSnapshotBlock"
    ) as serving:
        command = Command(data, serving.url, "upload", disk)
        folder = data / "imgforge" / "snapshot-uploads"
        end_s = time.monotonic() + LIMIT_S
        while not any(path.stat().st_size > 800 for path in folder.glob("*.journal")):
            assert time.monotonic() < end_s, "nothing was sent"
            time.sleep(0.01)
        command.process.send_signal(number)
        code, _, err = command.end()
        assert code == 130, err
        [found] = serving.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert f"{found['SnapshotId']} stays, with " in err
        assert f"of {COUNT} blocks sent: the same command goes on with it" in err
        assert f"imgforge snapshots delete {found['SnapshotId']} takes it away" in err
        code, out, err = Command(data, serving.url, "upload", disk).end()
        assert (code, out.strip()) == (0, found["SnapshotId"]), err
        assert content_of(serving, found["SnapshotId"]) == blocks_of(disk)


def test_an_interrupted_download_names_what_stays(disk: Path, tmp_path: Path) -> None:
    data, back = tmp_path / "data", tmp_path / "back.raw"
    with Serving(
        tmp_path / "catalog", "--latency", "0s", "--fault", "slow=50ms:GetSnapshotBlock"
    ) as serving:
        _, out, _ = Command(data, serving.url, "upload", disk).end()
        command = Command(data, serving.url, "download", out.strip(), "--out", back)
        part = tmp_path / ".back.raw.part"
        end_s = time.monotonic() + LIMIT_S
        journal = part.with_name(f"{part.name}.journal")
        while not journal.exists() or journal.stat().st_size < 200:
            assert time.monotonic() < end_s, "nothing came"
            time.sleep(0.01)
        command.process.send_signal(signal.SIGINT)
        code, _, err = command.end()
        assert code == 130, err
        assert f"what is here stays in {part}: the same command goes on with it" in err


def test_journals_of_what_is_gone_are_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    folder = data / "imgforge" / "snapshot-uploads"
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving, cloud_of(serving) as cloud:
        first = upload_snapshot(cloud, small_disk(tmp_path, 1)).snapshot_id
        of_first = journals(data)
        second = upload_snapshot(cloud, small_disk(tmp_path, 2)).snapshot_id
        assert of_first < journals(data)
        cloud.compute.delete_snapshot(first)
        old, held = folder / "a.journal", folder / "b.journal"
        for path in (old, held):
            path.write_bytes(b"{}\n")
            os.utime(path, (time.time() - _OLD_S,) * 2)
        descriptor = lock_journal(held)
        assert descriptor is not None
        third = upload_snapshot(cloud, small_disk(tmp_path, 3)).snapshot_id
        left = journals(data)
        assert not of_first & left
        assert old.name not in left
        assert held.name in left  # another run is at it
        os.close(descriptor)
        assert {name[:22] for name in left if name.endswith(".blocks")} == {second, third}
        # What is known of the others still is.
        child = upload_snapshot(cloud, small_disk(tmp_path, 2))
        assert child.snapshot_id == second


def test_an_upload_to_a_full_catalog_says_so_and_goes_on_when_there_is_space(
    disk: Path, tmp_path: Path
) -> None:
    small, data = tmp_path / "small", tmp_path / "data"
    shell = ["unshare", "-Urm", "sh", "-c", _ON_SMALL_TMPFS, "sh", str(small)]
    if subprocess.run([*shell, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    with Serving(small / "catalog", "--latency", "0s", under=shell) as serving:
        code, _, err = Command(data, serving.url, "upload", disk).end()
        assert code == 4, err
        assert "no space is left on the file system of" in err
        [found] = serving.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert (found["State"], f"{found['SnapshotId']} stays, with " in err) == ("pending", True)
        inside = ["nsenter", "-U", "-m", "--preserve-credentials", "-t", str(serving.process.pid)]
        mount = ["mount", "-o", "remount,size=64m", str(small)]
        if subprocess.run([*inside, *mount], check=False, capture_output=True).returncode:
            pytest.skip("the small file system cannot be made larger (nsenter, mount)")
        code, out, err = Command(data, serving.url, "upload", disk, "--verify").end()
        assert (code, out.strip()) == (0, found["SnapshotId"]), err
        assert content_of(serving, found["SnapshotId"]) == blocks_of(disk)
