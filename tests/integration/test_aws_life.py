"""The life of an image, as a client sees it: on `imgforge serve`, and with --aws on AWS itself.

With --aws the credentials are boto3's own, the region AWS_REGION or the profile's. What is made has
names or tags that begin with "imgforge-test-" and 12 digits of this run, and goes however the test
ends; nothing else is written to. It needs the rights to the EC2 and EBS actions below, in that
region and one more, and takes some ten minutes. It costs less than a cent: some six snapshots of
1 GiB with a few MiB of data for minutes, a hundred calls of EBS direct, and some MiB from one
region to the other.
"""

import base64
import hashlib
import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imgforge.cli.command_line import run_command_line
from tests.aws_cloud import NOT_YET, STILL, Cloud, aws_itself, served, snapshots_of
from tests.registering import make_disk
from tests.serving import Serving, code_of

BLOCK_BYTES = 512 * 1024


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
            made.sweep_at_the_end()
            yield made
        assert made.left_behind() == []


def base64_sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.fixture(scope="module")
def snapshot_id(cloud: Cloud) -> str:
    """A snapshot of 1 GiB with data in two blocks, by EBS direct."""
    ebs = cloud.client("ebs", cloud.region)
    tags = [{"Key": "Name", "Value": cloud.prefix}]
    started = ebs.start_snapshot(VolumeSize=1, Description=cloud.prefix, Tags=tags, Timeout=10)
    made = str(started["SnapshotId"])
    blocks = {0: b"\1" * BLOCK_BYTES, 2047: b"\2" * BLOCK_BYTES}
    for index, data in blocks.items():
        cloud.settled(
            ebs.put_snapshot_block,
            NOT_YET,
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
                    "VolumeSize": 7,
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
    ec2 = cloud.client("ec2", cloud.region)
    made = str(ec2.register_image(**asked, TagSpecifications=cloud.tags("image"))["ImageId"])
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
        TagSpecifications=cloud.tags("snapshot"),
        **more,
    )
    copy_id = copied["ImageId"]
    cloud.wait("image_available", cloud.other_region, ImageIds=[copy_id])
    copy, source = describe(there, copy_id), describe(ec2, image_id)
    same = ("Architecture", "BootMode", "EnaSupport", "RootDeviceName", "VirtualizationType")
    assert {name: copy[name] for name in same} == {name: source[name] for name in same}
    assert not set(snapshots_of(copy)) & set(snapshots_of(source))
    assert copy.get("Tags", []) == []
    [snapshot] = there.describe_snapshots(SnapshotIds=snapshots_of(copy))["Snapshots"]
    by_default = there.get_ebs_encryption_by_default()["EbsEncryptionByDefault"]
    assert snapshot["Encrypted"] is (encrypted or by_default)
    if encrypted:
        refused = code_of(
            there.modify_image_attribute,
            ImageId=copy_id,
            LaunchPermission={"Add": [{"UserId": copy["OwnerId"]}]},
        )
        assert refused or cloud.is_aws  # by the account's own key; AWS may take the owner itself


def test_an_image_is_shared_and_no_longer(ec2: Any, image_id: str) -> None:
    owner = describe(ec2, image_id)["OwnerId"]

    def permissions() -> Any:
        asked = {"ImageId": image_id, "Attribute": "launchPermission"}
        return ec2.describe_image_attribute(**asked)["LaunchPermissions"]

    # The owner itself: nobody else is to see what a test makes.
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
    cloud.wait("image_available", cloud.region, ImageIds=[image_id])
    cloud.settled(ec2.deregister_image, STILL, ImageId=image_id)
    assert image_id not in [image["ImageId"] for image in cloud.images(cloud.region)]
    [snapshot] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert snapshot["State"] == "completed"


@pytest.fixture
def own(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process runs asks as whoever is asked."""
    for name in [one for one in os.environ if one.startswith(("AWS_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)


def imgforge(*words: str, code: int = 0) -> Any:
    """Run a command; return its JSON, or what it said of a refusal."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        ended = run_command_line([*words, *([] if code else ["--json"])])
    assert ended == code, err.getvalue()
    return err.getvalue() if code else json.loads(out.getvalue())


@pytest.mark.usefixtures("own")
def test_imgforges_own_commands_lead_a_whole_life(cloud: Cloud, ec2: Any, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "disk.raw", seed=secrets.token_bytes(1))
    cloud.disks.append(disk.sha256)
    name = f"{cloud.prefix} by imgforge"
    words = ("register", str(disk.path), "--unverified", "--name", name)
    made = imgforge(*words)
    image_id = str(made["ImageId"])
    assert (made["State"], made["Name"]) == ("available", name)
    assert imgforge(*words)["ImageId"] == image_id  # again: nothing twice
    found = imgforge("images", "find", "--owner", "self", "--name", f"{cloud.prefix} by*")
    assert [image["ImageId"] for image in found] == [image_id]
    published = imgforge("publish", image_id, "--to", cloud.other_region, "--unverified")
    [_, copy] = published["images"]
    there = describe(cloud.client("ec2", cloud.other_region), copy["image_id"])
    tags = {tag["Key"]: tag["Value"] for tag in there["Tags"]}
    assert tags["imgforge:sha256"] == disk.sha256
    imgforge("images", "tag", image_id, "team=web")
    imgforge("images", "share", image_id, "--account", there["OwnerId"])
    imgforge("images", "unshare", image_id, "--account", there["OwnerId"])
    imgforge("images", "protect", image_id)
    refused = imgforge("images", "deregister", image_id, code=2)
    assert "deregister-protected" in refused
    imgforge("images", "unprotect", image_id)
    back = tmp_path / "back.raw"
    [snapshot_id] = snapshots_of(made)
    imgforge("snapshots", "download", snapshot_id, "-o", str(back))
    assert back.read_bytes()[: disk.size_bytes] == disk.path.read_bytes()
    imgforge("images", "deregister", image_id)
    # Its snapshot is what nothing refers to now: gc names it, and only names it. Others of the
    # account are nobody's business here.
    left = imgforge("images", "gc", "--dry-run", "--older-than", "0s")
    assert snapshot_id in json.dumps(left)
    assert image_id not in json.dumps(left)
    imgforge("snapshots", "delete", snapshot_id)
    there_too = ("--region", cloud.other_region, "--with-snapshots")
    imgforge("images", "deregister", copy["image_id"], *there_too)
    assert not set(cloud.left_behind()) & {image_id, snapshot_id, copy["image_id"]}
