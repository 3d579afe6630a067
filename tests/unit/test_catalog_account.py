"""Many ask at once, over several openings of one catalog: each answer holds."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imgforge.catalog import Account, RefusedError

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
