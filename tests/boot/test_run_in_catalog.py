"""`imgforge run` ends in the catalog: the real AWS CLI shows the image with all of its recipe."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.aws_cli import asked_by_aws
from tests.boot.command_line import DIRECT_PV, Room, file_sha256
from tests.boot.conftest import Workshop
from tests.serving import Serving

pytestmark = pytest.mark.boot

_DECLARED = """
version = "7"

[image.tags]
team = "web ünï"

[[image.block_devices]]
device_name = "/dev/sda1"
ebs = { volume_size = 4, volume_type = "io2", iops = 500, delete_on_termination = false }

[[image.block_devices]]
device_name = "/dev/sdb"
virtual_name = "ephemeral0"

[[image.block_devices]]
device_name = "/dev/sdc"
no_device = true

[[image.block_devices]]
device_name = "/dev/sdf"
ebs = { volume_size = 8, volume_type = "gp3", encrypted = true }
"""


def test_what_was_run_is_described_with_all_that_its_recipe_says(
    workshop: Workshop, room: Room, tmp_path: Path
) -> None:
    recipe = workshop.write_recipe(tmp_path)
    text = recipe.read_text(encoding="utf-8")
    text = text.replace(
        'name = "imgforge-minimal-{layout}"', 'name = "min (of) {layout} {version}"'
    )
    recipe.write_text(text + _DECLARED, encoding="utf-8")
    ended = room.run("run", recipe, *DIRECT_PV, "--out", room.out, "--json")
    assert ended.exit_code == 0, ended.stderr
    catalog = room.folder / "data" / "imgforge" / "catalog"
    with Serving(catalog) as serving:
        asks = {
            "AWS_ENDPOINT_URL": serving.url,
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        [image] = asked_by_aws(asks, "describe-images", "--owners", "self")["Images"]
        [snapshot] = asked_by_aws(asks, "describe-snapshots", "--owner-ids", "self")["Snapshots"]
    record = json.loads((room.out / "minimal-pv.disk.json").read_bytes())
    disk = room.out / "minimal-pv.raw"
    assert record["sha256"] == file_sha256(disk)
    tags = _tags(image)
    assert tags.pop("team") == "web ünï"
    assert len(tags.pop("imgforge:work")) == 32
    assert len(tags.pop("imgforge:verdict-sha256")) == 64
    of_disk = {
        "imgforge:made": "register",
        "imgforge:sha256": record["sha256"],
        "imgforge:size-bytes": str(disk.stat().st_size),
        "imgforge:layout": "pv",
    }
    assert tags == {
        **of_disk,
        "imgforge:verdict": "accepted",
        "imgforge:recipe-sha256": record["recipe_sha256"],
        "imgforge:lock-sha256": record["lock_sha256"],
    }
    assert image.pop("ImageId").startswith("ami-")
    assert image.pop("CreationDate")
    owner = image.pop("OwnerId")
    assert image == {
        "Name": "min (of) pv 7",
        "ImageLocation": f"{owner}/min (of) pv 7",
        "Description": "Debian's kernel, busybox and dropbear",
        "Architecture": "x86_64",
        "VirtualizationType": "paravirtual",
        "RootDeviceName": "/dev/sda1",
        "RootDeviceType": "ebs",
        "EnaSupport": False,
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "Hypervisor": "xen",
        "ImageType": "machine",
        "Public": False,
        "State": "available",
        "DeregistrationProtection": "disabled",
        "ProductCodes": [],
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "SnapshotId": snapshot["SnapshotId"],
                    "VolumeSize": 4,
                    "VolumeType": "io2",
                    "Iops": 500,
                    "DeleteOnTermination": False,
                    "Encrypted": False,
                },
            },
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
            {"DeviceName": "/dev/sdc", "NoDevice": ""},
            {
                "DeviceName": "/dev/sdf",
                "Ebs": {
                    "VolumeSize": 8,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "Encrypted": True,
                },
            },
        ],
    }
    kept = _tags(snapshot)
    assert kept.items() >= of_disk.items()
    assert (snapshot["State"], snapshot["Progress"]) == ("completed", "100%")
    assert (snapshot["Encrypted"], snapshot["VolumeSize"]) == (False, 1)
    assert (snapshot["OwnerId"], snapshot["Description"]) == (owner, "imgforge: min (of) pv 7")


def _tags(told: dict[str, Any]) -> dict[str, str]:
    """Take the tags out of what is told."""
    return {one["Key"]: one["Value"] for one in told.pop("Tags")}
