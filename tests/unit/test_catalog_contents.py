"""What was written block by block is a disk again, for whoever launches it."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from imgforge.catalog import Account, Catalog
from imgforge.errors import HostError

BLOCK_BYTES = 524_288
REGION = "us-east-1"
BLOCKS = {0: b"a" * BLOCK_BYTES, 3: bytes(BLOCK_BYTES), 5: b"z" * BLOCK_BYTES}


def register_blocks(folder: Path) -> str:
    """Write a snapshot of 1 GiB with three blocks, and register an image of it."""
    with Account(folder, regions=[REGION], pending_s=0) as account:

        def ask(name: str, **parameters: Any) -> Any:
            return account.perform(name, parameters, region=REGION)

        snapshot_id = ask("StartSnapshot", VolumeSize=1)["SnapshotId"]
        for number, data in BLOCKS.items():
            ask(
                "PutSnapshotBlock",
                SnapshotId=snapshot_id,
                BlockIndex=number,
                BlockData=data,
                DataLength=len(data),
                Checksum=base64.b64encode(hashlib.sha256(data).digest()).decode(),
            )
        ask("CompleteSnapshot", SnapshotId=snapshot_id, ChangedBlocksCount=len(BLOCKS))
        mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}]
        asked = {"Name": "of blocks", "RootDeviceName": "/dev/sda1"}
        return str(ask("RegisterImage", **asked, BlockDeviceMappings=mapping)["ImageId"])


def test_an_image_of_blocks_has_its_disk(tmp_path: Path) -> None:
    image_id = register_blocks(tmp_path)
    with Catalog(tmp_path) as catalog:
        disk = catalog.disk_of(catalog.image(image_id))
        assert catalog.disk_of(catalog.image(image_id)).path == disk.path
    assert disk.size_bytes == 2**30
    assert disk.path.stat().st_blocks * 512 < 2 * 2**20  # zeros are holes
    with disk.path.open("rb") as file:
        assert file.read(BLOCK_BYTES) == BLOCKS[0]
        assert file.read(4 * BLOCK_BYTES) == bytes(4 * BLOCK_BYTES)
        assert file.read(BLOCK_BYTES) == BLOCKS[5]
    with disk.path.open("rb") as file:
        assert disk.sha256 == hashlib.file_digest(file, "sha256").hexdigest()


def test_a_block_that_is_gone_is_named(tmp_path: Path) -> None:
    image_id = register_blocks(tmp_path)
    digest = hashlib.sha256(BLOCKS[5]).hexdigest()
    (tmp_path / "blocks" / "sha256" / digest[:2] / digest).unlink()
    with Catalog(tmp_path) as catalog, pytest.raises(HostError, match=digest):
        catalog.disk_of(catalog.image(image_id))
    assert list((tmp_path / "contents").glob("*.raw")) == []


def test_equal_blocks_are_kept_once(tmp_path: Path) -> None:
    register_blocks(tmp_path)
    with Account(tmp_path, regions=[REGION]) as account:
        account.perform("DescribeImages", {}, region=REGION)
    names = [path.name for path in (tmp_path / "blocks" / "sha256").glob("*/*")]
    assert sorted(names) == sorted(hashlib.sha256(data).hexdigest() for data in BLOCKS.values())
