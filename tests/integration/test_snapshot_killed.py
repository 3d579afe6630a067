"""`imgforge snapshots upload|download` killed at any moment: run again, the result is the same."""

import json
import random
import time
from pathlib import Path

import pytest

from imgforge.ec2 import BLOCK_BYTES
from tests.serving import Serving
from tests.snapshot_disks import Command, blocks_of, content_of, noise, write_disk

COUNT = 48
RECORD_BYTES = 44
MOST_KILLS = 30
LIMIT_S = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    blocks = {number: noise(number) for number in range(0, COUNT, 2)}
    return write_disk(tmp_path / "disk.raw", blocks, size_bytes=COUNT * BLOCK_BYTES)


def kill_at(command: Command, folder: Path, pattern: str, size_bytes: int) -> bool:
    """Kill a command once its journal has this size; tell whether it was in time."""
    end_s = time.monotonic() + LIMIT_S
    while command.process.poll() is None:
        assert time.monotonic() < end_s, "the journal does not grow"
        sizes = [path.stat().st_size for path in folder.glob(pattern)]
        if sizes and max(sizes) >= size_bytes:
            command.kill()
            return True
        time.sleep(0.001)
    return False


def test_an_upload_killed_at_any_moment_is_finished_by_the_next(disk: Path, tmp_path: Path) -> None:
    lot = random.Random(11)
    data = tmp_path / "data"
    journals = data / "imgforge" / "snapshot-uploads"
    # 300 bytes are before the snapshot is started, some 400 after.
    steps = iter(sorted(lot.randrange(300, 600 + COUNT * RECORD_BYTES) for _ in range(6)))
    with Serving(
        tmp_path / "catalog", "--latency", "300ms", "--fault", "slow=20ms:PutSnapshotBlock"
    ) as serving:
        kills = 0
        for size_bytes in [1, *steps]:
            command = Command(data, serving.url, "upload", disk, "--json", "--verify")
            if not kill_at(command, journals, "*.journal", size_bytes):
                code, out, err = command.end()
                assert code == 0, err
                break
            kills += 1
        else:
            code, out, err = Command(data, serving.url, "upload", disk, "--json", "--verify").end()
            assert code == 0, err
        assert kills >= 4
        done = json.loads(out)
        assert content_of(serving, done["snapshot_id"]) == blocks_of(disk)
        found = serving.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert [(one["SnapshotId"], one["State"]) for one in found] == [
            (done["snapshot_id"], "completed")
        ]


def test_a_download_killed_at_any_moment_is_finished_by_the_next(
    disk: Path, tmp_path: Path
) -> None:
    lot = random.Random(12)
    data, back = tmp_path / "data", tmp_path / "back.raw"
    steps = sorted(lot.randrange(1, COUNT * RECORD_BYTES) for _ in range(4))
    with Serving(
        tmp_path / "catalog", "--latency", "0s", "--fault", "slow=20ms:GetSnapshotBlock"
    ) as serving:
        code, out, err = Command(data, serving.url, "upload", disk).end()
        assert code == 0, err
        snapshot_id = out.strip()
        for size_bytes in steps:
            command = Command(data, serving.url, "download", snapshot_id, "-o", back)
            if not kill_at(command, tmp_path, ".back.raw.part.journal", size_bytes):
                break
            assert not back.exists()
        code, out, err = Command(
            data, serving.url, "download", snapshot_id, "-o", back, "--force"
        ).end()
        assert code == 0, err
    with back.open("rb") as file:
        assert file.read(disk.stat().st_size) == disk.read_bytes()
    assert back.stat().st_size == 2**30
    assert not list(tmp_path.glob(".back*"))
