"""What `imgforge serve` answered is there after a kill; what was deleted gives its space back."""

import base64
import hashlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.serving import Serving, code_of, make_snapshot, register

BLOCK_BYTES = 512 * 1024
LIMIT_S = 30


def block(seed: int) -> bytes:
    return random.Random(seed).randbytes(BLOCK_BYTES)


def checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def put(ebs: Any, snapshot_id: str, number: int, data: bytes) -> None:
    ebs.put_snapshot_block(
        SnapshotId=snapshot_id,
        BlockIndex=number,
        BlockData=data,
        DataLength=BLOCK_BYTES,
        Checksum=checksum(data),
        ChecksumAlgorithm="SHA256",
    )


def upload(ebs: Any, seeds: list[int]) -> str:
    """Return a completed snapshot of so many blocks."""
    snapshot_id = str(ebs.start_snapshot(VolumeSize=1)["SnapshotId"])
    for number, seed in enumerate(seeds):
        put(ebs, snapshot_id, number, block(seed))
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(seeds))
    return snapshot_id


def seeds_of(ebs: Any, snapshot_id: str, seeds: list[int]) -> bool:
    """Tell whether a snapshot has the blocks that were put."""
    listed = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    found = []
    for one in listed:
        number, token = one["BlockIndex"], one["BlockToken"]
        got = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=number, BlockToken=token)
        found.append(got["BlockData"].read())
    return found == [block(seed) for seed in seeds]


class Writer:
    """Writes until the endpoint is gone, and knows what it was answered."""

    def __init__(self, serving: Serving, name: str) -> None:
        self.name = name
        self.ec2, self.ebs, self.kms = (serving.client(one) for one in ("ec2", "ebs", "kms"))
        self.images: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.uploads: dict[str, list[int]] = {}
        self.pending: dict[str, list[int]] = {}
        self.keys: list[str] = []
        self.deleted: list[str] = []
        self._snapshot_id = make_snapshot(self.ec2)

    def write(self) -> None:
        steps: list[Callable[[int], None]] = [self._image, self._upload, self._key, self._delete]
        try:
            for number in range(10_000):
                steps[number % len(steps)](number)
        except (BotoCoreError, ClientError, OSError):
            return  # the endpoint was killed

    def _image(self, number: int) -> None:
        name = f"{self.name} {number}"
        image_id = register(self.ec2, name, self._snapshot_id)
        self.images[image_id] = name
        self.ec2.create_tags(Resources=[image_id], Tags=[{"Key": "n", "Value": name}])
        self.tags[image_id] = name

    def _upload(self, number: int) -> None:
        seeds = [number, number + 1]
        snapshot_id = str(self.ebs.start_snapshot(VolumeSize=1)["SnapshotId"])
        self.pending[snapshot_id] = []
        for at, seed in enumerate(seeds):
            put(self.ebs, snapshot_id, at, block(seed))
            self.pending[snapshot_id].append(seed)
        self.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(seeds))
        self.uploads[snapshot_id] = self.pending.pop(snapshot_id)

    def _key(self, _: int) -> None:
        self.keys.append(self.kms.create_key()["KeyMetadata"]["KeyId"])

    def _delete(self, _: int) -> None:
        snapshot_id = make_snapshot(self.ec2)
        self.ec2.delete_snapshot(SnapshotId=snapshot_id)
        self.deleted.append(snapshot_id)

    def check(self, serving: Serving) -> None:
        ec2, ebs, kms = (serving.client(one) for one in ("ec2", "ebs", "kms"))
        found = {one["ImageId"]: one for one in ec2.describe_images(Owners=["self"])["Images"]}
        assert {one: found[one]["Name"] for one in self.images} == self.images
        for image_id, value in self.tags.items():
            assert found[image_id]["Tags"] == [{"Key": "n", "Value": value}]
        for snapshot_id, seeds in self.uploads.items():
            assert seeds_of(ebs, snapshot_id, seeds)
        for snapshot_id, seeds in self.pending.items():
            # The last block may be there unanswered, or the snapshot be complete.
            counts = range(len(seeds), len(seeds) + 2)
            codes = [
                code_of(ebs.complete_snapshot, SnapshotId=snapshot_id, ChangedBlocksCount=count)
                for count in counts
            ]
            assert "" in codes or ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
        kept = {one["KeyId"] for one in kms.list_keys()["Keys"]}
        assert set(self.keys) <= kept
        for snapshot_id in self.deleted:
            code = code_of(ec2.describe_snapshots, SnapshotIds=[snapshot_id])
            assert code == "InvalidSnapshot.NotFound"


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path, count: int) -> None:
    catalog = tmp_path / "catalog"
    serving = Serving(catalog, "--latency", "0s")
    writers = [Writer(serving, f"writer {number}") for number in range(3)]
    threads = [threading.Thread(target=writer.write) for writer in writers]
    for thread in threads:
        thread.start()
    end_s = time.monotonic() + LIMIT_S
    while sum(len(writer.images) for writer in writers) < count:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    time.sleep(random.random() / 2)  # a kill at any moment
    serving.kill()
    for thread in threads:
        thread.join(LIMIT_S)
    with Serving(catalog, "--latency", "0s") as again:
        for writer in writers:
            writer.check(again)


def blocks_in(catalog: Path) -> int:
    """Return how many places of the packs have a digest."""
    indexes = [path.read_bytes() for path in (catalog / "blocks").glob("*.index")]
    digests = [one[at : at + 32] for one in indexes for at in range(0, len(one), 32)]
    return sum(digest != bytes(32) for digest in digests)


def wait_for_blocks(catalog: Path, count: int) -> None:
    end_s = time.monotonic() + LIMIT_S
    while blocks_in(catalog) != count:
        assert time.monotonic() < end_s, f"{blocks_in(catalog)} blocks, {count} were expected"
        time.sleep(0.05)


def test_a_deleted_snapshots_blocks_go_but_for_those_of_others(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    with Serving(catalog, "--latency", "0s") as serving:
        ec2, ebs = serving.client(), serving.client("ebs")
        first, second = upload(ebs, [1, 2, 3]), upload(ebs, [3, 4])
        zone = {"AvailabilityZone": "us-east-1a"}
        third = upload(ebs, [5])
        volume = ec2.create_volume(SnapshotId=third, **zone)["VolumeId"]
        copy = ec2.copy_snapshot(SourceSnapshotId=second, SourceRegion="us-east-1")["SnapshotId"]
        assert blocks_in(catalog) == 5
        for one in (first, second, third):
            ec2.delete_snapshot(SnapshotId=one)
        wait_for_blocks(catalog, 3)
        assert seeds_of(ebs, copy, [3, 4])
        again = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]  # its content stayed
        assert seeds_of(ebs, again, [5])
        ec2.delete_snapshot(SnapshotId=again)
        ec2.delete_volume(VolumeId=volume)
        ec2.delete_snapshot(SnapshotId=copy)
    assert blocks_in(catalog) == 0  # what is left is swept at the end


def test_a_childs_parent_can_be_deleted_while_the_child_is_written(tmp_path: Path) -> None:
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
        ec2, ebs = serving.client(), serving.client("ebs")
        parent = upload(ebs, [1, 2])
        child = ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=parent)["SnapshotId"]
        ec2.delete_snapshot(SnapshotId=parent)
        time.sleep(1.5)  # a sweep passes
        put(ebs, child, 2, block(3))
        ebs.complete_snapshot(SnapshotId=child, ChangedBlocksCount=1)
        assert seeds_of(ebs, child, [1, 2, 3])


def test_uploads_lose_nothing_to_sweeps(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    with Serving(catalog, "--latency", "0s") as serving:
        ec2 = serving.client()
        kept: list[tuple[str, list[int]]] = []

        def work(number: int) -> None:
            ebs = serving.client("ebs")
            for turn in range(6):
                # The same blocks again and again: of what is being deleted, too.
                seeds = [turn, turn + 1, number]
                gone = upload(ebs, seeds)
                ec2.delete_snapshot(SnapshotId=gone)
                kept.append((upload(ebs, seeds), seeds))

        threads = [threading.Thread(target=work, args=(number,)) for number in (100, 200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * LIMIT_S)
        ebs = serving.client("ebs")
        assert len(kept) == 18
        assert all(seeds_of(ebs, snapshot_id, seeds) for snapshot_id, seeds in kept)
