"""Uploads and downloads of snapshots where the endpoint, the disk or another run is in the way."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgforge.cloud_access import reached_ec2
from imgforge.ec2 import BLOCK_BYTES, CloudWish, Credentials
from imgforge.errors import CloudError, HostError
from imgforge.snapshot_transfer import (
    DownloadWish,
    Holes,
    SnapshotWish,
    UploadedSnapshot,
    Verifying,
    download_snapshot,
    upload_snapshot,
)
from tests.integration.test_serve_direct import put
from tests.serving import Serving
from tests.snapshot_disks import (
    Command,
    blocks_of,
    change_disk,
    cloud_of,
    content_of,
    noise,
    write_disk,
)

NOW = ("--latency", "0s")
COUNT = 40


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    blocks = {number: noise(number) for number in range(0, COUNT, 2)}
    return write_disk(tmp_path / "disk.raw", blocks, size_bytes=COUNT * BLOCK_BYTES)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


PATIENT = SnapshotWish(patience_s=30)


def upload(serving: Serving, disk: Path, wish: SnapshotWish = PATIENT) -> UploadedSnapshot:
    with cloud_of(serving) as cloud:
        return upload_snapshot(cloud, disk, wish)


def serve(tmp_path: Path, port: int, *faults: str) -> Serving:
    words = [word for fault in faults for word in ("--fault", fault)]
    return Serving(tmp_path / "catalog", *NOW, "--port", str(port), *words)


def snapshots(serving: Serving) -> list[tuple[str, str]]:
    found = serving.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return [(one["SnapshotId"], one["State"]) for one in found]


def test_what_passes_is_tried_again(
    disk: Path, tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [
        "throttle:PutSnapshotBlock@3/7",
        "error:PutSnapshotBlock@4/11",
        "unavailable:PutSnapshotBlock@5/13",
        "cut:PutSnapshotBlock@6/17",
        "cut-after:PutSnapshotBlock@7/17",
        "cut-after:StartSnapshot@1",
        "cut-after:CompleteSnapshot@1",
        "throttle:GetSnapshotBlock@2/5",
        "cut:GetSnapshotBlock@3/9",
        "throttle:ListSnapshotBlocks@1",
    ]
    with serve(tmp_path, port, *faults) as serving, caplog.at_level(logging.INFO, "imgforge"):
        done = upload(serving, disk, SnapshotWish(verifying=Verifying.READ_BACK, patience_s=30))
        assert snapshots(serving) == [(done.snapshot_id, "completed")]
        with cloud_of(serving) as cloud:
            download_snapshot(cloud, done.snapshot_id, tmp_path / "back.raw")
    with (tmp_path / "back.raw").open("rb") as file:
        assert file.read(disk.stat().st_size) == disk.read_bytes()
    assert "was throttled; it is tried again" in caplog.text
    assert "failed at the endpoint; it is tried again" in caplog.text


def test_a_completion_whose_answer_was_lost_is_waited_for(
    disk: Path, tmp_path: Path, port: int
) -> None:
    words = ("--latency", "3s", "--port", str(port), "--fault", "cut-after:CompleteSnapshot@1")
    with Serving(tmp_path / "catalog", *words) as serving:
        done = upload(serving, disk)
        assert snapshots(serving) == [(done.snapshot_id, "completed")]


@pytest.mark.parametrize(
    ("fault", "code"),
    [("denied", "AccessDeniedException"), ("expired", "ExpiredTokenException")],
)
def test_a_refusal_is_told_at_once_and_what_was_sent_stays(
    disk: Path, tmp_path: Path, port: int, fault: str, code: str
) -> None:
    with serve(tmp_path, port, f"{fault}:PutSnapshotBlock@20+") as serving:
        started_s = time.monotonic()
        with pytest.raises(CloudError) as caught:
            upload(serving, disk, SnapshotWish(patience_s=600))
        assert (caught.value.code, caught.value.exit_code) == (code, 4)
        assert time.monotonic() - started_s < 60
        [(snapshot_id, state)] = snapshots(serving)
        assert state == "pending"
    with serve(tmp_path, port) as serving:
        done = upload(serving, disk)
        assert done.snapshot_id == snapshot_id
        assert (done.blocks_kept, done.blocks_sent) == (19, COUNT - 19)
        assert content_of(serving, snapshot_id) == blocks_of(disk)
        assert snapshots(serving) == [(snapshot_id, "completed")]


def test_a_disk_that_was_touched_is_the_same_and_one_that_was_changed_is_not(
    disk: Path, tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(serving: Serving) -> str:
        with pytest.raises(CloudError):
            upload(serving, disk)
        return snapshots(serving)[-1][0]

    with serve(tmp_path, port, "denied:PutSnapshotBlock@20+") as serving:
        first = interrupted(serving)
        os.utime(disk, (1, 1))
        assert interrupted(serving) == first
    for number in range(0, COUNT, 3):
        change_disk(disk, number, b"changed")
    with serve(tmp_path, port) as serving, caplog.at_level(logging.INFO, "imgforge"):
        done = upload(serving, disk)
        assert done.snapshot_id != first
        assert content_of(serving, done.snapshot_id) == blocks_of(disk)
        assert (first, "pending") in snapshots(serving)
    assert f"{first} cannot be gone on with: the disk is not what it was" in caplog.text


def test_a_snapshot_that_is_gone_is_made_anew(disk: Path, tmp_path: Path, port: int) -> None:
    with serve(tmp_path, port, "denied:PutSnapshotBlock@20+") as serving:
        with pytest.raises(CloudError):
            upload(serving, disk)
        [(first, _)] = snapshots(serving)
        serving.client().delete_snapshot(SnapshotId=first)
    with serve(tmp_path, port) as serving:
        done = upload(serving, disk)
        assert done.snapshot_id != first
        serving.client().delete_snapshot(SnapshotId=done.snapshot_id)
        again = upload(serving, disk)
        assert again.snapshot_id != done.snapshot_id
        assert content_of(serving, again.snapshot_id) == blocks_of(disk)


def test_what_another_wrote_into_it_is_never_completed(
    disk: Path, tmp_path: Path, port: int
) -> None:
    with serve(tmp_path, port, "denied:CompleteSnapshot@1") as serving:
        with pytest.raises(CloudError):
            upload(serving, disk, SnapshotWish(holes=Holes.SKIP))
        [(snapshot_id, _)] = snapshots(serving)
        put(serving.client("ebs"), snapshot_id, 77, bytes(BLOCK_BYTES))
        with pytest.raises(CloudError, match="ChangedBlocksCount") as caught:
            upload(serving, disk, SnapshotWish(holes=Holes.SKIP))
        assert "--new" in caught.value.hint
        assert snapshots(serving) == [(snapshot_id, "pending")]


def test_an_endpoint_that_dies_and_comes_back_is_waited_for(
    disk: Path, tmp_path: Path, port: int
) -> None:
    first = serve(tmp_path, port, "slow=50ms:PutSnapshotBlock")
    command = Command(tmp_path / "data", first.url, "upload", disk, "--json")
    journals = tmp_path / "data" / "imgforge" / "snapshot-uploads"
    end_s = time.monotonic() + 60
    while not any(path.stat().st_size > 800 for path in journals.glob("*.journal")):
        assert time.monotonic() < end_s, "nothing was sent"
        assert command.process.poll() is None
        time.sleep(0.01)
    first.kill()
    with serve(tmp_path, port) as serving:
        code, out, err = command.end()
        assert code == 0, err
        assert "is tried again" in err
        done = json.loads(out)
        assert content_of(serving, done["snapshot_id"]) == blocks_of(disk)
        assert snapshots(serving) == [(done["snapshot_id"], "completed")]


def test_an_endpoint_that_stays_away_ends_the_upload(disk: Path, tmp_path: Path, port: int) -> None:
    with serve(tmp_path, port, "cut:PutSnapshotBlock@5+") as serving:
        with pytest.raises(HostError, match="does not answer") as caught:
            upload(serving, disk, SnapshotWish(patience_s=1))
        assert "run the command again" in caught.value.hint
    nobody = CloudWish(url=f"http://127.0.0.1:{port}", credentials=Credentials("a", "b"))
    with (
        reached_ec2(nobody, attempts=1) as cloud,
        pytest.raises(HostError, match="does not answer"),
    ):
        upload_snapshot(cloud, disk, SnapshotWish(description="another"))


def test_a_slow_block_is_named(
    disk: Path,
    tmp_path: Path,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("imgforge.snapshot_transfer.crew._SLOW_S", 0.3)
    with serve(tmp_path, port, "slow=1500ms:PutSnapshotBlock@1") as serving:
        upload(serving, disk)
    assert re.search(r"upload: block \d+ has taken \d+ s so far", caplog.text)


def test_of_two_runs_at_once_one_is_sent_away(disk: Path, tmp_path: Path, port: int) -> None:
    with serve(tmp_path, port, "slow=200ms:PutSnapshotBlock") as serving:
        both = [Command(tmp_path / "data", serving.url, "upload", disk) for _ in range(2)]
        ends = [command.end() for command in both]
        [snapshot] = snapshots(serving)
        assert snapshot[1] == "completed"
        assert sorted(code for code, _, _ in ends) in ([0, 3], [0, 0])
        for code, out, err in ends:
            assert snapshot[0] in out if code == 0 else "another run is at it" in err


def test_a_full_disk_ends_a_download_and_no_disk_appears(
    disk: Path, tmp_path: Path, port: int
) -> None:
    script = """
import os, subprocess, sys
place, *command = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", place], check=True)
done = subprocess.run(command, capture_output=True, text=True)
sys.stderr.write(done.stderr)
print(done.returncode, *sorted(os.listdir(place)))
"""
    place = tmp_path / "place"
    place.mkdir()
    with serve(tmp_path, port) as serving:
        snapshot_id = upload(serving, disk).snapshot_id
        words = ["imgforge", "snapshots", "download", snapshot_id, "-o", str(place / "back")]
        command = [sys.executable, "-c", script, str(place), sys.executable, "-m", *words]
        done = subprocess.run(
            ["unshare", "-rm", *command],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "AWS_ENDPOINT_URL": serving.url,
                "AWS_ACCESS_KEY_ID": "123456789012",
                "AWS_SECRET_ACCESS_KEY": "secret",
            },
            timeout=120,
        )
        assert done.stdout.split()[0] == "3", done.stderr
        assert "back" not in done.stdout.split()
        assert "no space is left" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_download_that_ended_early_goes_on(disk: Path, tmp_path: Path, port: int) -> None:
    back = tmp_path / "back.raw"
    with serve(tmp_path, port, "denied:GetSnapshotBlock@21+") as serving:
        snapshot_id = upload(serving, disk).snapshot_id
        with cloud_of(serving) as cloud, pytest.raises(CloudError, match="AccessDenied"):
            download_snapshot(cloud, snapshot_id, back)
    assert not back.exists()
    with serve(tmp_path, port) as serving, cloud_of(serving) as cloud:
        # What is there of it is looked at again: somebody wrote over some of that.
        part = tmp_path / ".back.raw.part"
        change_disk(part, 0, b"damaged")
        done = download_snapshot(cloud, snapshot_id, back, DownloadWish(patience_s=30))
    assert done.blocks_kept in {19, 20}
    assert done.blocks_fetched == COUNT - done.blocks_kept
    with back.open("rb") as file:
        assert file.read(disk.stat().st_size) == disk.read_bytes()
    assert not part.exists()


def test_a_disk_that_is_written_to_meanwhile_is_not_completed(
    disk: Path, tmp_path: Path, port: int
) -> None:
    with serve(tmp_path, port, "slow=100ms:PutSnapshotBlock") as serving:
        command = Command(tmp_path / "data", serving.url, "upload", disk)
        journals = tmp_path / "data" / "imgforge" / "snapshot-uploads"
        end_s = time.monotonic() + 60
        while not any(path.stat().st_size > 800 for path in journals.glob("*.journal")):
            assert time.monotonic() < end_s, "nothing was sent"
            time.sleep(0.01)
        change_disk(disk, 0, b"meanwhile")
        code, _, err = command.end()
        assert code == 3
        assert "changed while it was read" in err
        [(_, state)] = snapshots(serving)
        assert state == "pending"


def test_keys_and_secrets_are_nowhere(disk: Path, tmp_path: Path) -> None:
    with Serving(tmp_path / "catalog", *NOW, "--fault", "denied:CompleteSnapshot@1") as serving:
        command = Command(tmp_path / "data", serving.url, "upload", disk)
        shown = Path(f"/proc/{command.process.pid}/cmdline").read_bytes()
        assert b"very-secret-word" not in shown
        code, _, err = command.end()
        assert (code, "AccessDeniedException" in err) == (4, True)
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"very-secret-word" not in path.read_bytes()
