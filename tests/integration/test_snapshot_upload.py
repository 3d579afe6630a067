"""`imgforge snapshots upload|download` on `imgforge serve`: what goes in is what comes out."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.ec2 import BLOCK_BYTES, Cloud
from imgforge.errors import BadInputError, CloudError
from imgforge.snapshot_transfer import (
    Again,
    DownloadWish,
    Existing,
    Holes,
    SnapshotWish,
    Verifying,
    download_snapshot,
    upload_snapshot,
)
from tests.serving import OTHER_ACCOUNT, Serving
from tests.snapshot_disks import (
    MIB,
    blocks_of,
    change_disk,
    cloud_of,
    content_of,
    noise,
    write_disk,
)

BLANK = bytes(BLOCK_BYTES)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        yield running


@pytest.fixture(scope="module")
def cloud(serving: Serving) -> Iterator[Cloud]:
    with cloud_of(serving) as reached:
        yield reached


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    # 20 MiB and a bit: the last block is cut short.
    blocks = {0: noise(1), 3: b"a little", 7: noise(2), 40: b"end"}
    return write_disk(tmp_path / "disk.raw", blocks, size_bytes=20 * MIB + 3)


def test_all_blocks_of_a_disk_are_in_its_snapshot(
    serving: Serving, cloud: Cloud, disk: Path
) -> None:
    wish = SnapshotWish(description="d", tags={"k": "v"}, verifying=Verifying.READ_BACK)
    done = upload_snapshot(cloud, disk, wish)
    assert (done.volume_size_gib, done.blocks_sent, done.blocks_left_out) == (1, 41, 0)
    assert (done.is_encrypted, done.is_verified) == (False, True)
    assert content_of(serving, done.snapshot_id) == blocks_of(disk)
    [shown] = serving.client().describe_snapshots(SnapshotIds=[done.snapshot_id])["Snapshots"]
    assert (shown["State"], shown["Description"]) == ("completed", "d")
    assert {"Key": "k", "Value": "v"} in shown["Tags"]


def test_holes_are_left_out_on_request(serving: Serving, cloud: Cloud, disk: Path) -> None:
    done = upload_snapshot(
        cloud, disk, SnapshotWish(holes=Holes.SKIP, verifying=Verifying.READ_BACK)
    )
    assert (done.blocks_sent, done.blocks_left_out) == (4, 37)
    assert sorted(content_of(serving, done.snapshot_id)) == [0, 3, 7, 40]


def test_zeros_that_somebody_wrote_are_no_hole(serving: Serving, cloud: Cloud, disk: Path) -> None:
    change_disk(disk, 5, BLANK)
    done = upload_snapshot(cloud, disk, SnapshotWish(holes=Holes.SKIP))
    assert content_of(serving, done.snapshot_id)[5] == BLANK


def test_an_encrypted_snapshot_has_all_blocks(serving: Serving, cloud: Cloud, disk: Path) -> None:
    with pytest.raises(BadInputError, match="--skip-holes"):
        SnapshotWish(holes=Holes.SKIP, is_encrypted=True)
    done = upload_snapshot(
        cloud, disk, SnapshotWish(is_encrypted=True, verifying=Verifying.READ_BACK)
    )
    assert done.is_encrypted
    assert content_of(serving, done.snapshot_id) == blocks_of(disk)
    with pytest.raises(BadInputError, match="--skip-holes"):  # a child is encrypted, too
        upload_snapshot(cloud, disk, SnapshotWish(holes=Holes.SKIP, parent_id=done.snapshot_id))


def test_the_same_upload_again_gives_the_same_snapshot(
    serving: Serving, cloud: Cloud, disk: Path
) -> None:
    first = upload_snapshot(cloud, disk)
    again = upload_snapshot(cloud, disk)
    assert (again.snapshot_id, again.blocks_sent, again.blocks_kept) == (first.snapshot_id, 0, 41)
    assert (
        upload_snapshot(cloud, disk, SnapshotWish(again=Again.NEW)).snapshot_id != first.snapshot_id
    )
    os.utime(disk, (1, 1))  # touched, and the same
    later = upload_snapshot(cloud, disk, SnapshotWish(description="another"))
    assert later.snapshot_id != first.snapshot_id
    change_disk(disk, 3, b"changed")
    changed = upload_snapshot(cloud, disk)
    assert changed.snapshot_id != first.snapshot_id
    assert content_of(serving, changed.snapshot_id) == blocks_of(disk)


@pytest.mark.parametrize("known", ["from here", "from elsewhere"])
def test_a_child_gets_what_its_parent_has_not(
    serving: Serving,
    cloud: Cloud,
    disk: Path,
    known: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parent = upload_snapshot(cloud, disk)
    change_disk(disk, 3, noise(9))
    change_disk(disk, 12, b"new")
    before = blocks_of(disk)
    with disk.open("r+b") as file:  # the last block goes: what the parent has there is zeros now
        file.truncate(20 * MIB)
    if known == "from elsewhere":
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    wish = SnapshotWish(parent_id=parent.snapshot_id, verifying=Verifying.READ_BACK)
    child = upload_snapshot(cloud, disk, wish)
    assert (child.blocks_sent, child.blocks_inherited) == (3, 38)
    expected = "this host's notes" if known == "from here" else "the snapshot itself"
    assert child.parent_source == expected
    assert content_of(serving, child.snapshot_id) == {**before, 40: BLANK}
    again = upload_snapshot(cloud, disk, SnapshotWish(parent_id=child.snapshot_id))
    assert again.blocks_sent == 0
    assert content_of(serving, again.snapshot_id) == {**before, 40: BLANK}


def test_a_child_of_other_wishes_is_refused(
    serving: Serving, cloud: Cloud, disk: Path, tmp_path: Path
) -> None:
    large = write_disk(tmp_path / "large.raw", {0: b"x"}, size_bytes=1025 * MIB)
    parent = upload_snapshot(cloud, large, SnapshotWish(holes=Holes.SKIP)).snapshot_id
    for wrong in ({"is_encrypted": True}, {"kms_key_arn": "arn:aws:kms:us-east-1:1:key/a"}):
        with pytest.raises(BadInputError, match="exclude each other"):
            SnapshotWish(parent_id=parent, **wrong)
    with pytest.raises(BadInputError, match="cannot be smaller"):
        upload_snapshot(cloud, disk, SnapshotWish(parent_id=parent))
    with pytest.raises(CloudError) as caught:
        upload_snapshot(cloud, disk, SnapshotWish(parent_id="snap-01234567890123456"))
    assert caught.value.code == "InvalidSnapshot.NotFound"


def test_a_hole_over_what_the_parent_has_is_sent(
    serving: Serving, cloud: Cloud, disk: Path
) -> None:
    parent = upload_snapshot(cloud, disk, SnapshotWish(holes=Holes.SKIP))
    content = disk.read_bytes()
    write_disk(disk, {0: content[:BLOCK_BYTES]}, size_bytes=len(content))
    wish = SnapshotWish(parent_id=parent.snapshot_id, holes=Holes.SKIP)
    child = upload_snapshot(cloud, disk, wish)
    assert child.blocks_sent == 3
    assert content_of(serving, child.snapshot_id) == {
        0: content[:BLOCK_BYTES],
        **dict.fromkeys((3, 7, 40), BLANK),
    }


def test_a_snapshot_becomes_a_sparse_disk(
    serving: Serving, cloud: Cloud, disk: Path, tmp_path: Path
) -> None:
    snapshot_id = upload_snapshot(cloud, disk).snapshot_id
    back = tmp_path / "back.raw"
    done = download_snapshot(cloud, snapshot_id, back)
    assert (done.size_bytes, done.blocks_fetched, done.blocks_kept) == (2**30, 41, 0)
    with pytest.raises(BadInputError, match="already exists"):
        download_snapshot(cloud, snapshot_id, back)
    download_snapshot(cloud, snapshot_id, back, DownloadWish(existing=Existing.REPLACE))
    assert back.stat().st_size == 2**30
    with back.open("rb") as file:
        assert file.read(20 * MIB + 3) == disk.read_bytes()
    assert back.stat().st_blocks * 512 <= 6 * BLOCK_BYTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.raw", "data", "disk.raw"]


def test_a_snapshot_of_nobody_is_no_disk(
    serving: Serving, cloud: Cloud, disk: Path, tmp_path: Path
) -> None:
    snapshot_id = upload_snapshot(cloud, disk).snapshot_id
    for region, account in (("us-west-2", "123456789012"), ("us-east-1", OTHER_ACCOUNT)):
        with (
            cloud_of(serving, region=region, account=account) as other,
            pytest.raises(CloudError) as caught,
        ):
            download_snapshot(other, snapshot_id, tmp_path / "back.raw")
        assert caught.value.code == "ResourceNotFoundException"
    assert not list(tmp_path.glob("*back*"))


@pytest.mark.parametrize("kind", ["nothing", "folder", "fifo", "empty"])
def test_what_is_no_disk_is_not_uploaded(cloud: Cloud, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    with pytest.raises(BadInputError, match=str(path)):
        upload_snapshot(cloud, path)
