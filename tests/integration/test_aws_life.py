"""The life of an image, as a client sees it: on `imgforge serve`, and with --aws on AWS itself.

With --aws the credentials and the region are boto3's own (AWS_PROFILE, AWS_REGION, …). What is made
has names that begin with "imgforge-test-", and goes however the test ends. It needs the rights to
the EC2 and EBS actions below, in two regions.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.serving import ACCOUNT, Serving, code_of

BLOCK_BYTES = 512 * 1024
Client = Callable[[str, str], Any]
"""Gives boto3's client of a service in a region."""


@dataclass(frozen=True)
class Cloud:
    """Who is asked, and what is to go at the end; `environment` is for the AWS CLI."""

    client: Client
    region: str
    other_region: str
    prefix: str
    environment: dict[str, str]
    waits: dict[str, int]
    leftovers: ExitStack = field(default_factory=ExitStack)

    def keep_in_mind(self, region: str, image_id: str) -> None:
        """Let an image go at the end, and its snapshots."""
        self.leftovers.callback(self._remove, region, image_id)

    def _remove(self, region: str, image_id: str) -> None:
        ec2 = self.client("ec2", region)
        with suppress(ClientError):
            ec2.disable_image_deregistration_protection(ImageId=image_id)
        with suppress(ClientError):
            images = ec2.describe_images(ImageIds=[image_id], IncludeDisabled=True)["Images"]
            ec2.deregister_image(ImageId=image_id)
            for snapshot_id in snapshots_of(images[0]):
                with suppress(ClientError):
                    ec2.delete_snapshot(SnapshotId=snapshot_id)

    def wait(self, what: str, region: str, **asked: Any) -> None:
        """Wait until an image or a snapshot is done."""
        waiter = self.client("ec2", region).get_waiter(what)
        waiter.wait(**asked, WaiterConfig=self.waits)


@pytest.fixture(scope="module")
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    with ExitStack() as stack:
        if request.config.getoption("--aws"):
            made = aws_itself()
        else:
            folder = tmp_path_factory.mktemp("serve")
            made = served(stack.enter_context(Serving(folder / "catalog")), folder)
        with made.leftovers:
            yield made
        assert left_behind(made) == []


def aws_itself() -> Cloud:
    session = boto3.session.Session()
    if session.get_credentials() is None:
        pytest.skip("--aws: boto3 finds no credentials")
    if session.region_name is None:
        pytest.skip("--aws: boto3 finds no region (AWS_REGION)")
    return Cloud(
        client=lambda service, region: session.client(service, region_name=region),
        region=session.region_name,
        other_region="us-west-2" if session.region_name == "us-east-1" else "us-east-1",
        prefix=f"imgforge-test-{uuid.uuid4().hex[:12]}",
        environment=dict(os.environ),
        waits={"Delay": 10, "MaxAttempts": 120},
    )


def served(serving: Serving, home: Path) -> Cloud:
    return Cloud(
        client=lambda service, region: serving.client(service, region=region),
        region="us-east-1",
        other_region="us-west-2",
        prefix=f"imgforge-test-{uuid.uuid4().hex[:12]}",
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ENDPOINT_URL": serving.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "secret",
        },
        waits={"Delay": 1, "MaxAttempts": 60},
    )


def left_behind(cloud: Cloud) -> list[str]:
    """Return what a test made and nothing removed."""
    found = []
    named = [{"Name": "name", "Values": [f"{cloud.prefix}*"]}]
    tagged = [{"Name": "tag:Name", "Values": [cloud.prefix]}]
    for region in (cloud.region, cloud.other_region):
        ec2 = cloud.client("ec2", region)
        images = ec2.describe_images(Owners=["self"], Filters=named)["Images"]
        snapshots = ec2.describe_snapshots(OwnerIds=["self"], Filters=tagged)["Snapshots"]
        found += [image["ImageId"] for image in images]
        found += [snapshot["SnapshotId"] for snapshot in snapshots]
    return found


def snapshots_of(image: Any) -> list[str]:
    mapped = (device.get("Ebs", {}) for device in image["BlockDeviceMappings"])
    return [ebs["SnapshotId"] for ebs in mapped if "SnapshotId" in ebs]


def base64_sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.fixture(scope="module")
def snapshot_id(cloud: Cloud) -> str:
    """A snapshot of 1 GiB with data in two blocks, by EBS direct."""
    ebs = cloud.client("ebs", cloud.region)
    tags = [{"Key": "Name", "Value": cloud.prefix}]
    started = ebs.start_snapshot(VolumeSize=1, Description=cloud.prefix, Tags=tags, Timeout=10)
    made = str(started["SnapshotId"])
    ec2 = cloud.client("ec2", cloud.region)
    cloud.leftovers.callback(code_of, ec2.delete_snapshot, SnapshotId=made)
    blocks = {0: b"\1" * BLOCK_BYTES, 2047: b"\2" * BLOCK_BYTES}
    for index, data in blocks.items():
        ebs.put_snapshot_block(
            SnapshotId=made,
            BlockIndex=index,
            BlockData=data,
            DataLength=BLOCK_BYTES,
            Checksum=base64_sha256(data),
            ChecksumAlgorithm="SHA256",
        )
    digests = b"".join(hashlib.sha256(data).digest() for data in blocks.values())
    ebs.complete_snapshot(
        SnapshotId=made,
        ChangedBlocksCount=len(blocks),
        Checksum=base64_sha256(digests),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    cloud.wait("snapshot_completed", cloud.region, SnapshotIds=[made])
    return made


@pytest.fixture(scope="module")
def asked(cloud: Cloud, snapshot_id: str) -> dict[str, Any]:
    """All that an hvm image of a snapshot can be registered with."""
    return {
        "Name": f"{cloud.prefix} (all) [of it] ./-'@_",
        "Description": "made by a test of imgforge",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BootMode": "uefi",
        "TpmSupport": "v2.0",
        "ImdsSupport": "v2.0",
        "EnaSupport": True,
        "SriovNetSupport": "simple",
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "SnapshotId": snapshot_id,
                    "VolumeSize": 2,
                    "VolumeType": "gp3",
                    "Iops": 3500,
                    "Throughput": 150,
                    "DeleteOnTermination": True,
                },
            },
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        ],
    }


@pytest.fixture(scope="module")
def image_id(cloud: Cloud, asked: dict[str, Any]) -> str:
    tags = [{"Key": "Name", "Value": cloud.prefix}]
    specification = [{"ResourceType": "image", "Tags": tags}]
    ec2 = cloud.client("ec2", cloud.region)
    made = str(ec2.register_image(**asked, TagSpecifications=specification)["ImageId"])
    cloud.keep_in_mind(cloud.region, made)
    cloud.wait("image_available", cloud.region, ImageIds=[made])
    return made


@pytest.fixture(scope="module")
def ec2(cloud: Cloud) -> Any:
    return cloud.client("ec2", cloud.region)


def describe(ec2: Any, image_id: str) -> Any:
    [image] = ec2.describe_images(ImageIds=[image_id])["Images"]
    return image


def assert_shown(asked: dict[str, Any], shown: Any) -> None:
    """Assert that an image is shown with each attribute it was registered with."""
    for name, value in asked.items():
        if name == "BlockDeviceMappings":
            by_name = {device["DeviceName"]: device for device in shown[name]}
            for device in value:
                found = by_name[device["DeviceName"]]
                assert found.get("VirtualName") == device.get("VirtualName")
                assert device.get("Ebs", {}).items() <= found.get("Ebs", {}).items()
        else:
            assert shown[name] == value, name


def test_what_was_uploaded_is_read_back(cloud: Cloud, snapshot_id: str) -> None:
    ebs = cloud.client("ebs", cloud.region)
    listed = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    assert (listed["VolumeSize"], listed["BlockSize"]) == (1, BLOCK_BYTES)
    tokens = {block["BlockIndex"]: block["BlockToken"] for block in listed["Blocks"]}
    assert set(tokens) == {0, 2047}
    got = ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=2047, BlockToken=tokens[2047])
    assert got["BlockData"].read() == b"\2" * BLOCK_BYTES
    assert got["Checksum"] == base64_sha256(b"\2" * BLOCK_BYTES)


def test_an_image_is_shown_with_all_it_was_registered_with(
    ec2: Any, asked: dict[str, Any], image_id: str
) -> None:
    image = describe(ec2, image_id)
    assert_shown(asked, image)
    assert (image["State"], image["Public"], image["RootDeviceType"]) == ("available", False, "ebs")
    assert image["ImageLocation"] == f"{image['OwnerId']}/{asked['Name']}"
    assert image["PlatformDetails"] == "Linux/UNIX"


def test_the_aws_cli_shows_each_attribute(
    cloud: Cloud, asked: dict[str, Any], image_id: str
) -> None:
    program = Path(sys.executable).with_name("aws")
    words = ["ec2", "describe-images", "--image-ids", image_id, "--region", cloud.region]
    done = subprocess.run(
        [program, *words, "--output", "json"],
        env={**cloud.environment, "AWS_PAGER": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [shown] = json.loads(done.stdout)["Images"]
    assert_shown(asked, shown)


def test_attributes_are_described_one_by_one(
    ec2: Any, asked: dict[str, Any], image_id: str
) -> None:
    def attribute(name: str, member: str) -> Any:
        return ec2.describe_image_attribute(ImageId=image_id, Attribute=name)[member]

    assert attribute("description", "Description") == {"Value": asked["Description"]}
    assert attribute("bootMode", "BootMode") == {"Value": "uefi"}
    assert attribute("tpmSupport", "TpmSupport") == {"Value": "v2.0"}
    assert attribute("imdsSupport", "ImdsSupport") == {"Value": "v2.0"}
    assert attribute("sriovNetSupport", "SriovNetSupport") == {"Value": "simple"}
    assert attribute("launchPermission", "LaunchPermissions") == []
    ec2.modify_image_attribute(ImageId=image_id, Description={"Value": "another"})
    assert attribute("description", "Description") == {"Value": "another"}
    ec2.modify_image_attribute(ImageId=image_id, Description={"Value": asked["Description"]})


def test_an_image_is_found_by_its_name_and_its_tag(cloud: Cloud, ec2: Any, image_id: str) -> None:
    for name, value in (
        ("name", f"{cloud.prefix}*"),
        ("tag:Name", cloud.prefix),
        ("description", "made by a test of ?mgforge"),
    ):
        wanted = [{"Name": name, "Values": [value]}, {"Name": "image-id", "Values": [image_id]}]
        found = ec2.describe_images(Owners=["self"], Filters=wanted)["Images"]
        assert [image["ImageId"] for image in found] == [image_id], name


def test_a_name_is_one_images(ec2: Any, asked: dict[str, Any], image_id: str) -> None:
    assert image_id
    assert code_of(ec2.register_image, **asked) == "InvalidAMIName.Duplicate"


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_copy_is_its_regions_own(cloud: Cloud, ec2: Any, image_id: str, encrypted: bool) -> None:
    there = cloud.client("ec2", cloud.other_region)
    more = {"Encrypted": True} if encrypted else {}
    copied = there.copy_image(
        Name=f"{cloud.prefix} copy {encrypted}",
        SourceImageId=image_id,
        SourceRegion=cloud.region,
        **more,
    )
    copy_id = copied["ImageId"]
    cloud.keep_in_mind(cloud.other_region, copy_id)
    cloud.wait("image_available", cloud.other_region, ImageIds=[copy_id])
    copy, source = describe(there, copy_id), describe(ec2, image_id)
    same = ("Architecture", "BootMode", "EnaSupport", "RootDeviceName", "VirtualizationType")
    assert {name: copy[name] for name in same} == {name: source[name] for name in same}
    assert not set(snapshots_of(copy)) & set(snapshots_of(source))
    assert copy.get("Tags", []) == []
    [snapshot] = there.describe_snapshots(SnapshotIds=snapshots_of(copy))["Snapshots"]
    assert snapshot["Encrypted"] is encrypted


def test_an_image_is_shared_and_no_longer(ec2: Any, image_id: str) -> None:
    owner = describe(ec2, image_id)["OwnerId"]

    def permissions() -> Any:
        asked = {"ImageId": image_id, "Attribute": "launchPermission"}
        return ec2.describe_image_attribute(**asked)["LaunchPermissions"]

    for change, left in (("Add", [{"UserId": owner}]), ("Remove", [])):
        changed = {change: [{"UserId": owner}]}
        ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=changed)
        assert permissions() == left


def test_tags_come_and_go(ec2: Any, image_id: str) -> None:
    ec2.create_tags(Resources=[image_id], Tags=[{"Key": "verdict", "Value": "accepted"}])
    tags = {tag["Key"]: tag["Value"] for tag in describe(ec2, image_id)["Tags"]}
    assert tags["verdict"] == "accepted"
    ec2.delete_tags(Resources=[image_id], Tags=[{"Key": "verdict"}])
    assert "verdict" not in {tag["Key"] for tag in describe(ec2, image_id)["Tags"]}


def test_an_image_is_deprecated_and_no_longer(ec2: Any, image_id: str) -> None:
    at = datetime.now(UTC) + timedelta(days=30)
    ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=at)
    shown = datetime.fromisoformat(describe(ec2, image_id)["DeprecationTime"])
    assert abs(shown - at) <= timedelta(minutes=1)
    ec2.disable_image_deprecation(ImageId=image_id)
    assert "DeprecationTime" not in describe(ec2, image_id)


def test_a_protected_image_is_not_deregistered_and_its_snapshot_not_deleted(
    ec2: Any, image_id: str, snapshot_id: str
) -> None:
    ec2.enable_image_deregistration_protection(ImageId=image_id)
    assert code_of(ec2.deregister_image, ImageId=image_id) == "OperationNotPermitted"
    ec2.disable_image_deregistration_protection(ImageId=image_id)
    assert code_of(ec2.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.InUse"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Name": "imgforge-test-;"}, "InvalidAMIName.Malformed"),
        ({"KernelId": "aki-5c21674b"}, ""),
        ({"BlockDeviceMappings": []}, ""),
    ],
)
def test_what_breaks_a_rule_is_refused(
    cloud: Cloud, ec2: Any, asked: dict[str, Any], change: dict[str, Any], code: str
) -> None:
    """What codes AWS has for those without one here is told by a run against it."""
    refused = code_of(ec2.register_image, **{**asked, "Name": f"{cloud.prefix} no", **change})
    assert refused
    assert code in {"", refused}


def test_in_the_end_the_image_goes_and_then_its_snapshot(
    cloud: Cloud, ec2: Any, asked: dict[str, Any], snapshot_id: str
) -> None:
    last = {**asked, "Name": f"{cloud.prefix} last"}
    image_id = ec2.register_image(**last)["ImageId"]
    cloud.keep_in_mind(cloud.region, image_id)
    cloud.wait("image_available", cloud.region, ImageIds=[image_id])
    ec2.deregister_image(ImageId=image_id)
    found = ec2.describe_images(
        Owners=["self"], Filters=[{"Name": "name", "Values": [last["Name"]]}]
    )
    assert found["Images"] == []
    [snapshot] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert snapshot["State"] == "completed"
