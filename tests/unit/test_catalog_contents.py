"""What was written block by block is read back; what is gone is named."""

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from imgforge.catalog import Account
from imgforge.errors import HostError

BLOCK_BYTES = 524_288
REGION = "us-east-1"
BLOCKS = {0: b"a" * BLOCK_BYTES, 3: bytes(BLOCK_BYTES), 5: b"z" * BLOCK_BYTES}


def opened(folder: Path) -> Account:
    return Account(folder, regions=[REGION], pending_s=0)


def ask(account: Account, name: str, **parameters: Any) -> Any:
    return account.perform(name, parameters, region=REGION)


def write_blocks(folder: Path) -> str:
    """Write a snapshot of 1 GiB with three blocks."""
    with opened(folder) as account:
        snapshot_id = str(ask(account, "StartSnapshot", VolumeSize=1)["SnapshotId"])
        for number, data in BLOCKS.items():
            ask(
                account,
                "PutSnapshotBlock",
                SnapshotId=snapshot_id,
                BlockIndex=number,
                BlockData=data,
                DataLength=len(data),
                Checksum=base64.b64encode(hashlib.sha256(data).digest()).decode(),
            )
        count = len(BLOCKS)
        ask(account, "CompleteSnapshot", SnapshotId=snapshot_id, ChangedBlocksCount=count)
    return snapshot_id


def read_blocks(account: Account, snapshot_id: str) -> dict[int, bytes]:
    found = {}
    for one in ask(account, "ListSnapshotBlocks", SnapshotId=snapshot_id)["Blocks"]:
        got = ask(
            account,
            "GetSnapshotBlock",
            SnapshotId=snapshot_id,
            BlockIndex=one["BlockIndex"],
            BlockToken=one["BlockToken"],
        )
        found[one["BlockIndex"]] = got["BlockData"]
    return found


def test_blocks_are_read_back(tmp_path: Path) -> None:
    snapshot_id = write_blocks(tmp_path)
    with opened(tmp_path) as account:
        assert read_blocks(account, snapshot_id) == BLOCKS


def test_a_block_that_is_gone_is_named(tmp_path: Path) -> None:
    snapshot_id = write_blocks(tmp_path)
    digest = hashlib.sha256(BLOCKS[5]).hexdigest()
    [pack] = (tmp_path / "blocks").glob("*.pack")
    os.truncate(pack, 2 * BLOCK_BYTES)
    with opened(tmp_path) as account, pytest.raises(HostError, match=digest):
        read_blocks(account, snapshot_id)


def test_equal_blocks_are_kept_once(tmp_path: Path) -> None:
    write_blocks(tmp_path)
    write_blocks(tmp_path)
    [pack] = (tmp_path / "blocks").glob("*.pack")
    assert pack.stat().st_size == len(BLOCKS) * BLOCK_BYTES


def test_blocks_that_were_files_of_their_own_are_read(tmp_path: Path) -> None:
    snapshot_id = write_blocks(tmp_path)
    for path in (tmp_path / "blocks").glob("*.*"):
        path.unlink()
    for data in BLOCKS.values():
        name = hashlib.sha256(data).hexdigest()
        path = tmp_path / "blocks" / "sha256" / name[:2] / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    with opened(tmp_path) as account:
        assert read_blocks(account, snapshot_id) == BLOCKS
        ask(account, "DeleteSnapshot", SnapshotId=snapshot_id)
        assert account.sweep(limit_s=10) is not None
    assert not list((tmp_path / "blocks" / "sha256").glob("*/*"))
