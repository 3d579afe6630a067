"""`imgforge register`: disks, snapshots and bundles become images, once and through the gate."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgforge.catalog import ImageRegistration, NameConflict
from imgforge.cloud_access import reached_ec2
from imgforge.ec2 import Cloud, CloudWish, Credentials
from imgforge.errors import BadInputError, CloudError, HostError, ImageRejectedError
from imgforge.layout import Layout
from imgforge.recipe import ImagePart
from imgforge.registering import DiskWish, register_disk
from tests.bundle_material import ACCOUNT as BUNDLER
from tests.bundle_material import make_material, noise
from tests.registering import (
    accept,
    configured,
    make_disk,
    ran,
    run,
    start,
    tags_of,
    verdict_file,
)
from tests.serving import ACCOUNT, Serving, make_snapshot

AWS = str(Path(sys.executable).parent / "aws")
KEYS = Credentials(ACCOUNT, "very-secret-word")
NAME = "my image 1"
HVM = ImageRegistration.of_recipe(ImagePart(name=NAME), layout=Layout.HVM_MBR)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with reached_ec2(CloudWish(url="local")) as opened:
        yield opened


def served(tmp_path: Path, *options: str) -> Serving:
    return Serving(tmp_path / "catalog", "--latency", "0s", *options)


def asked(serving: Serving) -> CloudWish:
    return CloudWish(url=serving.url, credentials=KEYS)


def own(cloud: Cloud) -> tuple[int, int]:
    """Return how many images and snapshots there are."""
    compute = cloud.compute
    return len(compute.images(owners=["self"])), len(compute.snapshots(owners=["self"]))


# A disk.


def test_a_disk_is_registered_with_all_that_was_asked(cloud: Cloud, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    part = ImagePart.model_validate(
        {
            "name": NAME,
            "description": "a test",
            "tags": {"b": "2"},
            "block_devices": (
                {"device_name": "/dev/sdb", "virtual_name": "ephemeral0"},
                {"device_name": "/dev/sdc", "no_device": True},
                {"device_name": "/dev/sdd", "ebs": {"volume_size": 3, "encrypted": True}},
            ),
        }
    )
    registration = ImageRegistration.of_recipe(part, layout=Layout.HVM_MBR)
    image = register_disk(cloud, DiskWish(disk, registration, accept(disk)))
    told = image.told
    assert (image.name, image.state, told["Description"]) == (NAME, "available", "a test")
    assert (told["Architecture"], told["VirtualizationType"]) == ("x86_64", "hvm")
    assert (told["BootMode"], told["EnaSupport"]) == ("legacy-bios", True)
    assert told["RootDeviceName"] == "/dev/xvda"
    devices = {one["DeviceName"]: one for one in told["BlockDeviceMappings"]}
    assert devices["/dev/xvda"]["Ebs"]["SnapshotId"] == image.root_snapshot_id
    assert devices["/dev/xvda"]["Ebs"]["VolumeType"] == "gp3"
    assert devices["/dev/sdb"]["VirtualName"] == "ephemeral0"
    assert "NoDevice" in devices["/dev/sdc"]
    assert devices["/dev/sdd"]["Ebs"]["VolumeSize"] == 3
    assert devices["/dev/sdd"]["Ebs"]["Encrypted"] is True
    tags = image.tags
    assert (tags["b"], tags["imgforge:verdict"]) == ("2", "accepted")
    assert (tags["imgforge:sha256"], tags["imgforge:layout"]) == (disk.sha256, "hvm-mbr")
    assert tags["imgforge:size-bytes"] == str(disk.size_bytes)
    assert len(tags["imgforge:verdict-sha256"]) == 64
    snapshot = cloud.compute.snapshot(image.root_snapshot_id)
    assert snapshot.tags["imgforge:sha256"] == disk.sha256
    assert "imgforge:unfinished" not in snapshot.tags


def test_registering_the_same_twice_gives_the_same_image(cloud: Cloud, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    first = register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
    assert register_disk(cloud, DiskWish(disk, HVM, accept(disk))) == first
    assert own(cloud) == (1, 1)


def test_a_taken_name_is_refused_or_superseded(cloud: Cloud, tmp_path: Path) -> None:
    disk, other = make_disk(tmp_path / "d.raw"), make_disk(tmp_path / "o.raw", seed=b"2")
    first = register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
    with pytest.raises(BadInputError, match=r"another disk .*InvalidAMIName\.Duplicate") as refused:
        register_disk(cloud, DiskWish(other, HVM, accept(other)))
    assert first.image_id in str(refused.value)
    described = replace(HVM, description="another")
    with pytest.raises(BadInputError, match="other attributes"):
        register_disk(cloud, DiskWish(disk, described, accept(disk)))
    assert own(cloud) == (1, 1)
    wish = DiskWish(other, HVM, accept(other), NameConflict.SUPERSEDE)
    second = register_disk(cloud, wish)
    assert second.image_id != first.image_id
    assert own(cloud) == (1, 2)


def test_a_disk_without_its_verdict_is_kept_out(cloud: Cloud, tmp_path: Path) -> None:
    disk, other = make_disk(tmp_path / "d.raw"), make_disk(tmp_path / "o.raw", seed=b"2")
    with pytest.raises(BadInputError, match="of another disk"):
        register_disk(cloud, DiskWish(disk, HVM, accept(other)))
    with pytest.raises(ImageRejectedError, match="rejection"):
        register_disk(cloud, DiskWish(disk, HVM, accept(disk, accepted=False, reason="no init")))
    assert own(cloud) == (0, 0)


def test_an_unverified_image_says_so_until_a_verdict_comes(cloud: Cloud, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    image = register_disk(cloud, DiskWish(disk, HVM, None))
    assert image.tags["imgforge:verdict"] == "unverified"
    again = register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
    assert again.image_id == image.image_id
    assert again.tags["imgforge:verdict"] == "accepted"
    later = register_disk(cloud, DiskWish(disk, HVM, None))
    assert later.tags["imgforge:verdict"] == "accepted"


def test_all_broken_rules_are_told_before_anything_is_asked(cloud: Cloud, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    wrong = replace(HVM, name="a*", kernel_id="aki-5c21674b")
    with pytest.raises(BadInputError) as refused:
        register_disk(cloud, DiskWish(disk, wrong, accept(disk)))
    assert "name:" in str(refused.value)
    assert "kernel-id:" in str(refused.value)
    assert own(cloud) == (0, 0)


def test_a_disk_that_would_not_boot_is_refused_and_registered_unverified_with_a_warning(
    cloud: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = make_disk(tmp_path / "d.raw")
    uefi = HVM.asked({"BootMode": "uefi"})
    with pytest.raises(BadInputError, match="esp:"):
        register_disk(cloud, DiskWish(disk, uefi, accept(disk)))
    register_disk(cloud, DiskWish(disk, uefi, None))
    assert "esp:" in caplog.text


def test_a_disk_that_booted_without_pv_grub_is_registered_with_a_warning(
    cloud: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = make_disk(tmp_path / "d.raw")
    uefi = HVM.asked({"BootMode": "uefi"})
    register_disk(cloud, DiskWish(disk, uefi, accept(disk, boot_method="direct")))
    assert "would not boot on EC2: esp:" in caplog.text


def test_a_disk_that_changed_since_it_was_tested_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with disk.path.open("r+b") as file:
        file.seek(5 * 2**20)
        file.write(b"changed")
    with pytest.raises(BadInputError, match=r"SHA-256 is .* now"):
        register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
    disk.path.unlink()
    with pytest.raises(BadInputError):
        register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
    assert own(cloud) == (0, 0)


# What goes wrong on the way.


def test_what_was_made_is_deleted_where_ec2_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    disk = make_disk(tmp_path / "d.raw")
    with (
        served(tmp_path, "--fault", "denied:RegisterImage") as serving,
        reached_ec2(asked(serving)) as cloud,
    ):
        with pytest.raises(CloudError) as refused:
            register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
        assert refused.value.code == "UnauthorizedOperation"
        assert own(cloud) == (0, 0)
    assert "is deleted again" in caplog.text


def test_an_answer_that_was_lost_makes_no_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    disk = make_disk(tmp_path / "d.raw")
    with (
        served(tmp_path, "--fault", "cut-after:RegisterImage@1") as serving,
        reached_ec2(asked(serving)) as cloud,
    ):
        image = register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
        assert own(cloud) == (1, 1)
        assert cloud.compute.own_image_named(NAME) == image


def test_an_endpoint_that_goes_away_leaves_the_snapshot_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    disk = make_disk(tmp_path / "d.raw")
    with (
        served(tmp_path, "--fault", "cut:RegisterImage") as serving,
        reached_ec2(asked(serving), attempts=1) as cloud,
    ):
        with pytest.raises(HostError):
            register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
        assert own(cloud) == (0, 1)
    with served(tmp_path) as serving, reached_ec2(asked(serving)) as cloud:
        register_disk(cloud, DiskWish(disk, HVM, accept(disk)))
        assert own(cloud) == (1, 1)


@pytest.mark.parametrize("fault", ["PutSnapshotBlock@5+", "RegisterImage"])
def test_after_a_kill_the_next_run_finishes_the_work(tmp_path: Path, fault: str) -> None:
    disk = make_disk(tmp_path / "d.raw")
    words = ("register", disk.path, "--verdict", verdict_file(tmp_path / "t", disk))
    named = ("--name", NAME)
    with served(tmp_path, "--fault", f"timeout:{fault}") as serving:
        process = start(tmp_path, *words, *named, **configured(serving.url))
        action = fault.partition("@")[0]
        until = "upload:" if action == "PutSnapshotBlock" else "completing"
        assert process.stderr is not None
        for line in process.stderr:
            if until in line:
                break
        time.sleep(1)  # it is within the request that is never answered
        process.kill()
        process.communicate()
        port = serving.url.rpartition(":")[2]
    with served(tmp_path, "--port", port) as serving:
        ran(tmp_path, *words, *named, place=configured(serving.url))
        ec2 = serving.client()
        assert len(ec2.describe_images(Owners=["self"])["Images"]) == 1
        assert len(ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 1


def test_two_runs_at_once_make_one_image(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    words = ("register", disk.path, "--verdict", verdict_file(tmp_path / "t", disk))
    both = [start(tmp_path, *words, "--name", NAME) for _ in range(2)]
    ids = {process.communicate(timeout=120)[0].strip() for process in both}
    assert len(ids) == 1
    assert [one["ImageId"] for one in ran(tmp_path, "images")] == list(ids)


# The command.


def test_the_real_aws_cli_shows_every_attribute_that_was_registered(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    verdict = verdict_file(tmp_path / "t", disk)
    with served(tmp_path) as serving:
        place = configured(serving.url)
        mappings = [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "VolumeSize": 4,
                    "VolumeType": "io2",
                    "Iops": 500,
                    "DeleteOnTermination": False,
                },
            },
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        ]
        options: list[str | Path] = [
            "--name",
            NAME,
            "--description",
            "all of it",
            "--verdict",
            verdict,
        ]
        options += ["--root-device-name", "/dev/sda1", "--sriov-net-support", "simple"]
        options += ["--block-device-mappings", json.dumps(mappings)]
        told = ran(tmp_path, "register", disk.path, *options, place=place)
        words = [AWS, "ec2", "describe-images", "--owners", "self", "--output", "json"]
        ended = subprocess.run(
            words,
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **place},
        )
    [shown] = json.loads(ended.stdout)["Images"]
    assert (shown["ImageId"], shown["Name"]) == (told["ImageId"], NAME)
    assert (shown["Description"], shown["State"]) == ("all of it", "available")
    assert (shown["Architecture"], shown["VirtualizationType"]) == ("x86_64", "hvm")
    assert (shown["EnaSupport"], shown["SriovNetSupport"]) == (True, "simple")
    assert (shown["BootMode"], shown["RootDeviceName"]) == ("legacy-bios", "/dev/sda1")
    root, ephemeral = shown["BlockDeviceMappings"]
    assert root["Ebs"].pop("SnapshotId").startswith("snap-")
    assert root["Ebs"] == {
        "VolumeSize": 4,
        "VolumeType": "io2",
        "Iops": 500,
        "DeleteOnTermination": False,
        "Encrypted": False,
    }
    assert ephemeral == {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}
    assert tags_of(shown)["imgforge:sha256"] == disk.sha256
    assert tags_of(shown)["imgforge:verdict"] == "accepted"


def test_a_snapshot_is_registered_through_the_gate(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    verdict = verdict_file(tmp_path / "t", disk)
    first = ran(tmp_path, "register", disk.path, "--verdict", verdict, "--name", NAME)
    snapshot_id = first["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    words = ("register", "--snapshot", snapshot_id, "--name", "of a snapshot")
    typed = ("--virtualization-type", "hvm", "--architecture", "x86_64")
    told = ran(tmp_path, *words, *typed, "--verdict", verdict)
    assert tags_of(told)["imgforge:verdict"] == "accepted"
    assert told["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == snapshot_id
    assert ran(tmp_path, *words, *typed, "--verdict", verdict)["ImageId"] == told["ImageId"]
    other = verdict_file(tmp_path / "o", make_disk(tmp_path / "o.raw", seed=b"2"))
    refused = run(
        tmp_path, "register", "--snapshot", snapshot_id, "--name", "of another", *typed,
        "--verdict", other, code=2,
    )  # fmt: skip
    assert "of another disk" in refused
    absent = "snap-0123456789abcdef0"
    gone = run(
        tmp_path, "register", "--snapshot", absent, "--name", "abc", *typed,
        "--unverified", code=4,
    )  # fmt: skip
    assert "InvalidSnapshot.NotFound" in gone


def test_a_volume_of_a_snapshot_that_is_not_completed_is_refused(tmp_path: Path) -> None:
    with served(tmp_path) as serving:
        root = make_snapshot(serving.client())
        begun = str(serving.client("ebs").start_snapshot(VolumeSize=1)["SnapshotId"])
        devices = [
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}},
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": begun}},
        ]
        refused = run(
            tmp_path, "register", "--snapshot", root, "--name", "abc", "--unverified",
            "--virtualization-type", "hvm", "--architecture", "x86_64",
            "--block-device-mappings", json.dumps(devices),
            code=2, place=configured(serving.url),
        )  # fmt: skip
        assert f"snapshot-state: found {begun} is pending" in refused
        assert serving.client().describe_images(Owners=["self"])["Images"] == []


def test_a_bundle_in_s3_is_registered_as_instance_store(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(noise(2**20))
    material = make_material(tmp_path, tmp_path / "image")
    manifest = material.bundle.manifest_path
    place = {"AWS_ACCESS_KEY_ID": BUNDLER} if BUNDLER != ACCOUNT else {}
    with served(tmp_path) as serving:
        variables = {**configured(serving.url), **place}
        run(tmp_path, "bundle", "upload", manifest, "my-bucket/folder", place=variables)
        location = f"my-bucket/folder/{manifest.name}"
        words = ("register", "--manifest", location, "--name", NAME, "--unverified")
        told = ran(tmp_path, *words, "--virtualization-type", "hvm", place=variables)
        assert told["ImageLocation"] == location
        assert (told["RootDeviceType"], told["VirtualizationType"]) == ("instance-store", "hvm")
        again = ran(tmp_path, *words, "--virtualization-type", "hvm", place=variables)
        assert again["ImageId"] == told["ImageId"]
        wrong = ("--architecture", "arm64")
        other = ("register", "--manifest", location, "--name", "other", "--unverified")
        assert "not arm64" in run(tmp_path, *other, *wrong, code=2, place=variables)
        here = ("register", "--manifest", str(manifest), "--name", "other", "--unverified")
        said = run(tmp_path, *here, code=2, place=variables)
        assert "is on this host" in said
        assert "imgforge bundle upload" in said
        elsewhere = run(tmp_path, *other, "--region", "eu-west-1", code=2, place=variables)
        assert "the bucket my-bucket is in us-east-1" in elsewhere
        serving.client("s3", account=BUNDLER).put_bucket_ownership_controls(
            Bucket="my-bucket",
            OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        )
        assert "no aws-exec-read" in run(tmp_path, *other, code=2, place=variables)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ((), "give a disk, --snapshot or --manifest"),
        (("--snapshot", "snap-1", "--manifest", "b/m.manifest.xml"), "one of them"),
        (("--snapshot", "snap-1", "--unverified"), "nothing names the image"),
        (("--snapshot", "snap-1", "--name", "abc"), "--verdict"),
    ],
)
def test_what_is_typed_wrongly_is_told(tmp_path: Path, words: tuple[str, ...], needed: str) -> None:
    assert needed in run(tmp_path, "register", *words, code=2)


def test_images_lists_what_was_registered_and_shows_one(tmp_path: Path) -> None:
    assert "no images yet" in run(tmp_path, "images")
    disk = make_disk(tmp_path / "d.raw")
    told = ran(tmp_path, "register", disk.path, "--unverified", "--name", NAME)
    listed: list[Any] = ran(tmp_path, "images")
    assert listed == [told]
    assert "unverified" in run(tmp_path, "images")
    assert disk.sha256 in run(tmp_path, "images", told["ImageId"])
    assert "InvalidAMIID.NotFound" in run(tmp_path, "images", "ami-0123456789abcdef0", code=4)
