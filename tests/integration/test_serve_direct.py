"""EBS direct on `imgforge serve`, by boto3: blocks go in and come out, and nothing wrong does."""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.old_catalog import IMAGE_ID, make_old_catalog
from tests.serving import OTHER_ACCOUNT, Serving, code_of, make_snapshot, register

BLOCK_BYTES = 524_288
Blocks = Mapping[int, bytes]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        yield running


@pytest.fixture(scope="module")
def ebs(serving: Serving) -> Any:
    return serving.client("ebs")


def block(letter: bytes) -> bytes:
    return letter * BLOCK_BYTES


def checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def linear(blocks: Blocks) -> str:
    """Return EBS direct's aggregate, computed as its reference says."""
    digests = b"".join(hashlib.sha256(data).digest() for _, data in sorted(blocks.items()))
    return checksum(digests)


def put(ebs: Any, snapshot_id: str, number: int, data: bytes, **more: Any) -> Any:
    asked = {
        "SnapshotId": snapshot_id,
        "BlockIndex": number,
        "BlockData": data,
        "DataLength": len(data),
        "Checksum": checksum(data),
        "ChecksumAlgorithm": "SHA256",
    }
    return ebs.put_snapshot_block(**{**asked, **more})


def upload(ebs: Any, blocks: Blocks, *, size_gib: int = 1, **started: Any) -> str:
    snapshot_id = str(ebs.start_snapshot(VolumeSize=size_gib, **started)["SnapshotId"])
    for number, data in blocks.items():
        put(ebs, snapshot_id, number, data)
    ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(blocks),
        Checksum=linear(blocks),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return snapshot_id


def tokens(ebs: Any, snapshot_id: str, **asked: Any) -> dict[int, str]:
    listed: dict[int, str] = {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, **asked)
        assert page["BlockSize"] == BLOCK_BYTES
        listed |= {one["BlockIndex"]: one["BlockToken"] for one in page["Blocks"]}
        if "NextToken" not in page:
            return listed
        asked = {**asked, "NextToken": page["NextToken"]}


def download(ebs: Any, snapshot_id: str) -> dict[int, bytes]:
    found = {}
    for number, token in tokens(ebs, snapshot_id).items():
        got = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=number, BlockToken=token)
        data = got["BlockData"].read()
        assert (got["DataLength"], got["ChecksumAlgorithm"]) == (BLOCK_BYTES, "SHA256")
        assert got["Checksum"] == checksum(data)
        found[number] = data
    return found


def reason_of(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response: Any = caught.value.response
    return response["Error"]["Code"], response.get("Reason", "")


def test_what_goes_in_comes_out(serving: Serving, ebs: Any) -> None:
    blocks = {0: block(b"a"), 7: block(b"b"), 2047: os.urandom(BLOCK_BYTES), 9: bytes(BLOCK_BYTES)}
    tags = [{"Key": "k", "Value": "v"}]
    snapshot_id = upload(ebs, blocks, Description="what it is", Tags=tags)
    assert download(ebs, snapshot_id) == blocks
    [shown] = serving.client().describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert (shown["State"], shown["Progress"], shown["VolumeSize"]) == ("completed", "100%", 1)
    assert (shown["Description"], shown["Tags"]) == ("what it is", tags)
    register(serving.client(), "of blocks", snapshot_id)


def test_the_linear_checksum_is_over_raw_digests(ebs: Any) -> None:
    # sha256sum of 512 KiB of zeros, its 32 bytes given to sha256sum again, in base64.
    assert linear({0: bytes(BLOCK_BYTES)}) == "3QyamIjs9/uk1ge+ZPpwA6Yo7YmArJ8I121qDaF+DcI="
    upload(ebs, {0: bytes(BLOCK_BYTES)})


def test_blocks_come_at_once_and_in_any_order(ebs: Any) -> None:
    blocks = {number: block(bytes([number])) for number in range(40)}
    snapshot_id = str(ebs.start_snapshot(VolumeSize=1)["SnapshotId"])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: put(ebs, snapshot_id, *item), reversed(blocks.items())))
    count = len(blocks)
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=count)
    assert download(ebs, snapshot_id) == blocks


def test_a_child_has_its_parents_blocks(ebs: Any) -> None:
    first = {0: block(b"a"), 1: block(b"b"), 2: block(b"c")}
    parent = upload(ebs, first)
    changed = {1: block(b"B"), 5: block(b"e")}
    child = upload(ebs, changed, ParentSnapshotId=parent)
    assert download(ebs, child) == {**first, **changed}
    assert download(ebs, parent) == first
    page = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)
    [one, five] = page["ChangedBlocks"]
    assert (one["BlockIndex"], five["BlockIndex"]) == (1, 5)
    assert "FirstBlockToken" not in five
    for snapshot_id, token, letter in (
        (parent, one["FirstBlockToken"], b"b"),
        (child, one["SecondBlockToken"], b"B"),
    ):
        got = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=1, BlockToken=token)
        assert got["BlockData"].read(1) == letter
    stranger = upload(ebs, first)
    asked = {"FirstSnapshotId": stranger, "SecondSnapshotId": child}
    assert reason_of(ebs.list_changed_blocks, **asked)[1] == "UNRELATED_SNAPSHOTS"
    alone = ebs.list_changed_blocks(SecondSnapshotId=child)["ChangedBlocks"]
    assert [one["BlockIndex"] for one in alone] == [0, 1, 2, 5]


def test_pages_hold_each_block_once(ebs: Any) -> None:
    blocks = {number * 3: block(bytes([number % 256])) for number in range(250)}
    snapshot_id = upload(ebs, blocks)
    page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100)
    assert len(page["Blocks"]) == 100
    assert sorted(tokens(ebs, snapshot_id, MaxResults=100)) == sorted(blocks)
    assert min(tokens(ebs, snapshot_id, StartingBlockIndex=100)) == 102
    other = upload(ebs, {0: block(b"x")})
    for wrong in (page["NextToken"], "eA==", "!"):
        asked = {"SnapshotId": other, "NextToken": wrong}
        assert reason_of(ebs.list_snapshot_blocks, **asked)[1] == "INVALID_PAGE_TOKEN"
    for size in (99, 10_001):
        assert code_of(ebs.list_snapshot_blocks, SnapshotId=other, MaxResults=size)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"Checksum": checksum(b"other")}, "INVALID_BLOCK"),
        ({"Checksum": "!"}, "INVALID_PARAMETER_VALUE"),
        ({"ChecksumAlgorithm": "MD5"}, "INVALID_PARAMETER_VALUE"),
        ({"DataLength": 512}, "INVALID_BLOCK"),
        ({"BlockIndex": 2048}, "INVALID_BLOCK"),
        ({"BlockIndex": -1}, "INVALID_PARAMETER_VALUE"),
        ({"Progress": 101}, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_a_wrong_block_is_refused(ebs: Any, wrong: dict[str, Any], reason: str) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with pytest.raises(ClientError) as caught:
        put(ebs, snapshot_id, **{"number": 0, "data": block(b"a"), **wrong})
    response: Any = caught.value.response
    assert (response["Error"]["Code"], response["Reason"]) == ("ValidationException", reason)
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)


@pytest.mark.parametrize("size_bytes", [0, 1, 512, BLOCK_BYTES - 1, BLOCK_BYTES + 1])
def test_a_block_of_another_length_is_refused(ebs: Any, size_bytes: int) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with pytest.raises(ClientError, match="524288"):
        put(ebs, snapshot_id, 0, bytes(size_bytes))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ChangedBlocksCount": 1},
        {"ChangedBlocksCount": 3},
        {"Checksum": checksum(b"other")},
        {"ChecksumAggregationMethod": "SQUARE"},
        {"ChecksumAlgorithm": "MD5"},
    ],
)
def test_completing_something_else_is_refused(ebs: Any, wrong: dict[str, Any]) -> None:
    blocks = {0: block(b"a"), 4: block(b"b")}
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for number, data in blocks.items():
        put(ebs, snapshot_id, number, data)
    right = {
        "SnapshotId": snapshot_id,
        "ChangedBlocksCount": 2,
        "Checksum": linear(blocks),
        "ChecksumAlgorithm": "SHA256",
        "ChecksumAggregationMethod": "LINEAR",
    }
    assert reason_of(ebs.complete_snapshot, **{**right, **wrong})[0] == "ValidationException"
    ebs.complete_snapshot(**right)
    assert reason_of(ebs.complete_snapshot, **right)[0] == "ValidationException"
    with pytest.raises(ClientError, match="completed"):
        put(ebs, snapshot_id, 1, block(b"late"[:1]))


def test_a_block_put_again_counts_once_and_the_last_stays(ebs: Any) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for letter in (b"a", b"a", b"b"):
        put(ebs, snapshot_id, 3, block(letter))
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    assert download(ebs, snapshot_id) == {3: block(b"b")}


def test_a_token_makes_one_snapshot(ebs: Any) -> None:
    asked = {"VolumeSize": 1, "ClientToken": "the-token", "Description": "d"}
    started = ebs.start_snapshot(**asked)
    assert ebs.start_snapshot(**asked)["SnapshotId"] == started["SnapshotId"]
    asked["VolumeSize"] = 2
    assert reason_of(ebs.start_snapshot, **asked)[0] == "ConflictException"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"VolumeSize": 0}, "INVALID_VOLUME_SIZE"),
        ({"VolumeSize": 65_537}, "INVALID_VOLUME_SIZE"),
        ({"VolumeSize": 1, "Timeout": 9}, "INVALID_PARAMETER_VALUE"),
        ({"VolumeSize": 1, "Timeout": 4321}, "INVALID_PARAMETER_VALUE"),
        ({"VolumeSize": 1, "Tags": [{"Key": "aws:x", "Value": ""}]}, "INVALID_TAG"),
        ({"VolumeSize": 1, "KmsKeyArn": "alias/x", "Encrypted": True}, "INVALID_CUSTOMER_KEY"),
        (
            {"VolumeSize": 1, "KmsKeyArn": f"arn:aws:kms:us-east-1:{'1' * 12}:key/a"},
            "INVALID_CUSTOMER_KEY",
        ),
        ({"VolumeSize": 1, "ParentSnapshotId": "vol-1"}, "INVALID_SNAPSHOT_ID"),
    ],
)
def test_a_snapshot_that_cannot_be_is_not_started(
    ebs: Any, asked: dict[str, Any], reason: str
) -> None:
    assert reason_of(ebs.start_snapshot, **asked) == ("ValidationException", reason)


def test_a_child_is_as_its_parent_is(serving: Serving, ebs: Any) -> None:
    parent = upload(ebs, {0: block(b"a")}, size_gib=2, Encrypted=True)
    for wrong in ({"Encrypted": True}, {"Encrypted": False}):
        asked = {"VolumeSize": 2, "ParentSnapshotId": parent, **wrong}
        assert reason_of(ebs.start_snapshot, **asked)[0] == "ValidationException"
    asked = {"VolumeSize": 1, "ParentSnapshotId": parent}
    assert reason_of(ebs.start_snapshot, **asked)[1] == "INVALID_VOLUME_SIZE"
    child = ebs.start_snapshot(VolumeSize=2, ParentSnapshotId=parent)
    [shown] = serving.client().describe_snapshots(SnapshotIds=[child["SnapshotId"]])["Snapshots"]
    assert shown["Encrypted"]
    assert shown["KmsKeyId"] == child["KmsKeyArn"]
    pending = {"VolumeSize": 2, "ParentSnapshotId": child["SnapshotId"]}
    assert reason_of(ebs.start_snapshot, **pending)[0] == "ValidationException"


def test_a_snapshot_is_read_once_it_is_completed_by_whom_it_is_shared_with(
    serving: Serving, ebs: Any
) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    assert reason_of(ebs.list_snapshot_blocks, SnapshotId=snapshot_id)[0] == "ValidationException"
    put(ebs, snapshot_id, 0, block(b"a"))
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    other = serving.client("ebs", account=OTHER_ACCOUNT)
    west = serving.client("ebs", region="us-west-2")
    for stranger in (other, west):
        code, reason = reason_of(stranger.list_snapshot_blocks, SnapshotId=snapshot_id)
        assert (code, reason) == ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND")
    add = {"Add": [{"UserId": OTHER_ACCOUNT}]}
    ec2 = serving.client()
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=add)
    assert download(other, snapshot_id) == {0: block(b"a")}
    assert code_of(other.start_snapshot, VolumeSize=1, ParentSnapshotId=snapshot_id)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert reason_of(ebs.list_snapshot_blocks, SnapshotId=snapshot_id)[1] == "SNAPSHOT_NOT_FOUND"


def test_a_token_opens_its_own_block_alone(ebs: Any) -> None:
    snapshot_id = upload(ebs, {0: block(b"a"), 1: block(b"b")})
    listed = tokens(ebs, snapshot_id)
    for number, token in ((0, listed[1]), (0, "eA=="), (1, listed[0])):
        asked = {"SnapshotId": snapshot_id, "BlockIndex": number, "BlockToken": token}
        assert reason_of(ebs.get_snapshot_block, **asked)[1] == "INVALID_BLOCK_TOKEN"
    asked = {"SnapshotId": snapshot_id, "BlockIndex": 2, "BlockToken": listed[0]}
    assert reason_of(ebs.get_snapshot_block, **asked)[0] == "ResourceNotFoundException"


def test_copies_share_the_blocks(serving: Serving, ebs: Any) -> None:
    blocks = {0: block(b"a"), 3: block(b"c")}
    snapshot_id = upload(ebs, blocks)
    west = serving.client(region="us-west-2")
    copy = west.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)
    assert download(serving.client("ebs", region="us-west-2"), copy["SnapshotId"]) == blocks
    volume = serving.client().create_volume(
        AvailabilityZone="us-east-1a", SnapshotId=snapshot_id, Size=4
    )
    again = serving.client().create_snapshot(VolumeId=volume["VolumeId"])
    assert download(ebs, again["SnapshotId"]) == blocks
    assert download(ebs, make_snapshot(serving.client())) == {}


def test_blocks_that_were_acknowledged_survive_a_kill(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    blocks: dict[int, bytes] = {}
    with Serving(catalog, "--latency", "0s") as first:
        snapshot_id = str(first.client("ebs").start_snapshot(VolumeSize=1)["SnapshotId"])
        first.kill()
    for round_ in range(3):
        with Serving(catalog, "--latency", "0s") as serving:
            ebs = serving.client("ebs")
            with ThreadPoolExecutor(4) as pool:
                futures = {}
                for number in range(round_ * 30, round_ * 30 + 30):
                    data = block(bytes([number + 1]))
                    futures[number] = (data, pool.submit(put, ebs, snapshot_id, number, data))
                futures[round_ * 30 + 10][1].result()
                serving.kill()
            for number, (data, future) in futures.items():
                if future.exception() is None:
                    blocks[number] = data
    assert len(blocks) >= 3
    with Serving(catalog, "--latency", "0s") as last:
        ebs = last.client("ebs")
        for number in range(90):  # a writer that goes on sends again what was not acknowledged
            if number not in blocks:
                blocks[number] = block(bytes([number + 1]))
                put(ebs, snapshot_id, number, blocks[number])
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks))
        last.kill()
    with Serving(catalog) as after:
        assert download(after.client("ebs"), snapshot_id) == blocks
    assert list(catalog.rglob(".imgforge-aside-*")) == []


def test_the_blob_of_an_old_catalogs_image_is_read_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "d.raw"
    with path.open("wb") as file:
        file.truncate(3 * BLOCK_BYTES + 4096)
        file.write(b"a" * 100)
        file.seek(3 * BLOCK_BYTES)
        file.write(b"z" * 4096)
    sha256, size_bytes = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    make_old_catalog(tmp_path / "catalog", sha256=sha256, size_bytes=size_bytes)
    blob = tmp_path / "catalog" / "blobs" / "sha256" / sha256[:2] / sha256
    blob.parent.mkdir(parents=True)
    path.rename(blob)
    with Serving(tmp_path / "catalog") as serving:
        [shown] = serving.client().describe_images(ImageIds=[IMAGE_ID])["Images"]
        root = shown["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        assert download(serving.client("ebs"), root) == {
            0: (b"a" * 100).ljust(BLOCK_BYTES, b"\0"),
            3: (b"z" * 4096).ljust(BLOCK_BYTES, b"\0"),
        }
