"""Many ask at once, over several openings of one catalog: each answer holds."""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imgforge.catalog import Account, RefusedError
from imgforge.catalog.contents import Content, Contents, block_sha256
from imgforge.catalog.packs import BLOCK_BYTES

REGION = "us-east-1"


def test_a_name_that_many_ask_for_at_once_becomes_one_images(tmp_path: Path) -> None:
    accounts = [Account(tmp_path, regions=[REGION], pending_s=0) for _ in range(2)]
    with accounts[0], accounts[1]:
        volume = {"AvailabilityZone": f"{REGION}a", "Size": 1}
        volume_id = accounts[0].perform("CreateVolume", volume, region=REGION)["VolumeId"]
        wanted = {"VolumeId": volume_id}
        snapshot = accounts[0].perform("CreateSnapshot", wanted, region=REGION)["SnapshotId"]

        def register(number: int) -> str:
            mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}]
            asked = {"Name": "the name", "RootDeviceName": "/dev/sda1"}
            try:
                answer = accounts[number % 2].perform(
                    "RegisterImage", {**asked, "BlockDeviceMappings": mapping}, region=REGION
                )
            except RefusedError as error:
                return error.code
            return str(answer["ImageId"])

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(register, range(8)))
        images = accounts[1].perform("DescribeImages", {"Owners": ["self"]}, region=REGION)
    [image] = images["Images"]
    assert sorted(answers) == sorted(["InvalidAMIName.Duplicate"] * 7 + [image["ImageId"]])


def test_a_new_catalog_is_its_users_alone(tmp_path: Path) -> None:
    with Account(tmp_path / "catalog", regions=["us-east-1"]) as account:
        assert account.folder.stat().st_mode & 0o777 == 0o700


def test_a_block_that_is_swept_while_it_is_read_is_refused_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Account(tmp_path, regions=[REGION], pending_s=0) as account:

        def ask(name: str, **parameters: Any) -> Any:
            return account.perform(name, parameters, region=REGION)

        data = b"1" * BLOCK_BYTES
        checksum = base64.b64encode(block_sha256(data)).decode()
        snapshot_id = ask("StartSnapshot", VolumeSize=1)["SnapshotId"]
        put = {"BlockIndex": 0, "BlockData": data, "DataLength": BLOCK_BYTES, "Checksum": checksum}
        ask("PutSnapshotBlock", SnapshotId=snapshot_id, ChecksumAlgorithm="SHA256", **put)
        ask("CompleteSnapshot", SnapshotId=snapshot_id, ChangedBlocksCount=1)
        [listed] = ask("ListSnapshotBlocks", SnapshotId=snapshot_id)["Blocks"]
        asked = {"SnapshotId": snapshot_id, **listed}
        assert ask("GetSnapshotBlock", **asked)["BlockData"] == data
        read = Contents.read

        def read_late(self: Contents, content: Content, number: int) -> Any:
            monkeypatch.setattr(Contents, "read", read)
            ask("DeleteSnapshot", SnapshotId=snapshot_id)
            assert account.sweep(limit_s=10)
            return self.read(content, number)

        monkeypatch.setattr(Contents, "read", read_late)
        with pytest.raises(RefusedError) as refused:
            ask("GetSnapshotBlock", **asked)
    assert refused.value.code == "ResourceNotFoundException"
