"""What `imgforge register` is given is what the real AWS CLI shows: field by field, and no more.

Everything that RegisterImage knows is among it but billing products, which AWS lets few accounts
give; the endpoint refuses them as for all others.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgforge.disk import Disk
from tests.aws_cli import asked_by_aws
from tests.bundle_material import ACCOUNT as BUNDLER
from tests.bundle_material import make_material, noise
from tests.menu_disks import make_disk as make_pv_disk
from tests.registering import configured, make_disk, ran, run, verdict_file
from tests.serving import ACCOUNT, Serving, code_of, make_snapshot

AKI = "aki-5c21674b"
UEFI_DATA = "QU1aTlVFRkkAAAAA"


@dataclass(frozen=True)
class Place:
    """An endpoint, and a user's home."""

    serving: Serving
    home: Path

    @property
    def variables(self) -> dict[str, str]:
        return configured(self.serving.url)

    def register(self, *words: str | Path) -> dict[str, Any]:
        """Register; return what imgforge tells of the image."""
        told: dict[str, Any] = ran(self.home, "register", *words, place=self.variables)
        return told

    def shown(self, image_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the AWS CLI tells of an image, and of the snapshot of its root."""
        asked = asked_by_aws(self.variables, "describe-images", "--image-ids", image_id)
        [image] = asked["Images"]
        of = {one["DeviceName"]: one for one in image["BlockDeviceMappings"]}
        ids = ("--snapshot-ids", of[image["RootDeviceName"]]["Ebs"]["SnapshotId"])
        [snapshot] = asked_by_aws(self.variables, "describe-snapshots", *ids)["Snapshots"]
        return image, snapshot


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
        yield Place(serving, tmp_path)


def tags(told: dict[str, Any]) -> dict[str, str]:
    """Take the tags out of what is told."""
    return {one["Key"]: one["Value"] for one in told.pop("Tags", [])}


def assert_made_by_imgforge(
    found: dict[str, str], disk: Disk, *, verdict: str, own: Mapping[str, str]
) -> None:
    assert {key: value for key, value in found.items() if not key.startswith("imgforge:")} == own
    assert found["imgforge:made"] == "register"
    assert found["imgforge:sha256"] == disk.sha256
    assert found["imgforge:size-bytes"] == str(disk.size_bytes)
    assert found.get("imgforge:verdict", verdict) == verdict


ALWAYS = {
    "PlatformDetails": "Linux/UNIX",
    "UsageOperation": "RunInstances",
    "Hypervisor": "xen",
    "ImageType": "machine",
    "OwnerId": ACCOUNT,
    "Public": False,
    "State": "available",
    "DeregistrationProtection": "disabled",
    "ProductCodes": [],
}


def test_an_hvm_image_has_all_that_it_was_registered_with(place: Place, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    data = make_snapshot(place.serving.client(), size_gib=2)
    given: list[dict[str, Any]] = [
        {
            "DeviceName": "/dev/sda1",
            "Ebs": {
                "VolumeSize": 7,
                "VolumeType": "gp3",
                "Iops": 3500,
                "Throughput": 150,
                "DeleteOnTermination": False,
            },
        },
        {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral23"},
        {"DeviceName": "/dev/sdd", "NoDevice": ""},
        {
            "DeviceName": "/dev/sde",
            "Ebs": {"SnapshotId": data, "VolumeType": "io2", "Iops": 500, "VolumeSize": 8},
        },
        {
            "DeviceName": "/dev/xvdca",
            "Ebs": {"VolumeSize": 125, "VolumeType": "st1", "Encrypted": True},
        },
    ]
    told = place.register(
        disk.path,
        *("--name", "all (of) [it] ./-'@_", "--description", "ünïcode 名前", "--unverified"),
        *("--virtualization-type", "hvm", "--architecture", "x86_64"),
        *("--root-device-name", "/dev/sda1", "--block-device-mappings", json.dumps(given)),
        *("--boot-mode", "uefi", "--tpm-support", "v2.0", "--imds-support", "v2.0"),
        *("--ena-support", "--sriov-net-support", "simple", "--uefi-data", UEFI_DATA),
        *("--tag", "team=web ünï", "--tag", "empty="),
    )
    image, snapshot = place.shown(told["ImageId"])
    assert image == told
    assert_made_by_imgforge(
        tags(image), disk, verdict="unverified", own={"team": "web ünï", "empty": ""}
    )
    devices = [dict(device) for device in given]
    devices[0]["Ebs"] |= {"SnapshotId": snapshot["SnapshotId"], "Encrypted": False}
    devices[4]["Ebs"] |= {"DeleteOnTermination": False, "Encrypted": False}
    devices[5]["Ebs"] |= {"DeleteOnTermination": False}
    assert image.pop("BlockDeviceMappings") == devices
    assert image.pop("CreationDate")
    assert image == {
        **ALWAYS,
        "ImageId": told["ImageId"],
        "Name": "all (of) [it] ./-'@_",
        "ImageLocation": f"{ACCOUNT}/all (of) [it] ./-'@_",
        "Description": "ünïcode 名前",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/sda1",
        "RootDeviceType": "ebs",
        "BootMode": "uefi",
        "TpmSupport": "v2.0",
        "ImdsSupport": "v2.0",
        "EnaSupport": True,
        "SriovNetSupport": "simple",
    }
    assert_made_by_imgforge(tags(snapshot), disk, verdict="unverified", own={})
    assert snapshot.pop("StartTime")
    assert snapshot.pop("CompletionTime", "there")
    assert snapshot == {
        "SnapshotId": snapshot["SnapshotId"],
        "Description": "imgforge: all (of) [it] ./-'@_",
        "Encrypted": False,
        "OwnerId": ACCOUNT,
        "Progress": "100%",
        "State": "completed",
        "StorageTier": "standard",
        "TransferType": "standard",
        "VolumeId": "vol-ffffffff",
        "VolumeSize": 1,
        **{key: snapshot[key] for key in ("FullSnapshotSizeInBytes",) if key in snapshot},
    }
    about = ("--image-id", told["ImageId"], "--attribute", "uefiData")
    kept = asked_by_aws(place.variables, "describe-image-attribute", *about)
    assert kept["UefiData"] == {"Value": UEFI_DATA}


@pytest.mark.parametrize("with_kernel", [True, False])
def test_a_pv_image_has_its_kernel_or_its_ramdisk(
    place: Place, tmp_path: Path, with_kernel: bool
) -> None:
    path = make_pv_disk(tmp_path, {"boot/grub/menu.lst": b"title x\nroot (hd0)\nkernel /k\n"})
    more = ("--kernel-id", AKI) if with_kernel else ("--ramdisk-id", "ari-0123456789abcdef0")
    told = place.register(path, "--name", "of old", "--unverified", *more)
    image, snapshot = place.shown(told["ImageId"])
    assert image == told
    found = tags(image)
    assert found["imgforge:layout"] == "pv"
    assert image.pop("CreationDate")
    [root] = image.pop("BlockDeviceMappings")
    assert root.pop("DeviceName") == "/dev/sda1"
    assert root.pop("Ebs") == {
        "SnapshotId": snapshot["SnapshotId"],
        "VolumeSize": 1,
        "VolumeType": "gp3",
        "DeleteOnTermination": True,
        "Encrypted": False,
    }
    assert image == {
        **ALWAYS,
        "ImageId": told["ImageId"],
        "Name": "of old",
        "ImageLocation": f"{ACCOUNT}/of old",
        "Architecture": "x86_64",
        "VirtualizationType": "paravirtual",
        "RootDeviceName": "/dev/sda1",
        "RootDeviceType": "ebs",
        "EnaSupport": False,
        **({"KernelId": AKI} if with_kernel else {"RamdiskId": "ari-0123456789abcdef0"}),
    }


def test_a_bundle_has_its_location_and_what_is_asked_beside_it(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(noise(2**20))
    manifest = make_material(tmp_path, tmp_path / "image").bundle.manifest_path
    variables = {**place.variables, "AWS_ACCESS_KEY_ID": BUNDLER}
    run(tmp_path, "bundle", "upload", manifest, "the-bucket/a/b", place=variables)
    location = f"the-bucket/a/b/{manifest.name}"
    words = ("--manifest", location, "--name", "stored", "--unverified", "--tag", "team=web")
    given = [{"DeviceName": "/dev/sdc", "VirtualName": "ephemeral1"}]
    told = ran(
        tmp_path, "register", *words, "--virtualization-type", "hvm", "--description", "of parts",
        "--block-device-mappings", json.dumps(given), place=variables,
    )  # fmt: skip
    [image] = asked_by_aws(variables, "describe-images", "--image-ids", told["ImageId"])["Images"]
    assert image == told
    found = tags(image)
    assert (found["team"], found["imgforge:verdict"]) == ("web", "unverified")
    assert image.pop("CreationDate")
    assert image == {
        **ALWAYS,
        "OwnerId": BUNDLER,
        "ImageId": told["ImageId"],
        "Name": "stored",
        "ImageLocation": location,
        "Description": "of parts",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/sda1",
        "RootDeviceType": "instance-store",
        "EnaSupport": False,
        "BlockDeviceMappings": given,
        "ProductCodes": [{"ProductCodeId": "A1B2C3", "ProductCodeType": "marketplace"}],
    }


def test_billing_products_are_refused(place: Place) -> None:
    ec2 = place.serving.client()
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": make_snapshot(ec2)}}
    asked = {
        "Name": "billed",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [root],
    }
    refused = code_of(ec2.register_image, **asked, BillingProducts=["bp-6ba54002"])
    assert refused == "AuthFailure"


def test_an_accepted_disk_is_shown_as_accepted(place: Place, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    verdict = verdict_file(tmp_path / "t", disk)
    told = place.register(disk.path, "--name", "accepted", "--verdict", verdict)
    image, _ = place.shown(told["ImageId"])
    assert_made_by_imgforge(tags(image), disk, verdict="accepted", own={})
