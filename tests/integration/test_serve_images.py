"""Images on `imgforge serve`, by boto3: registered, found, copied, shared, deregistered."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.serving import ACCOUNT, OTHER_ACCOUNT, Serving, code_of, make_snapshot, register


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        yield running


@pytest.fixture(scope="module")
def ec2(serving: Serving) -> Any:
    return serving.client()


@pytest.fixture(scope="module")
def snapshot_id(ec2: Any) -> str:
    return make_snapshot(ec2)


def describe(ec2: Any, image_id: str, **more: Any) -> Any:
    [image] = ec2.describe_images(ImageIds=[image_id], **more)["Images"]
    return image


def names(ec2: Any, **asked: Any) -> list[str]:
    return [image["Name"] for image in ec2.describe_images(**asked)["Images"]]


def filtered(ec2: Any, **filters: str | list[str]) -> list[str]:
    """Return the names of own images by filters; _ stands for - and __ for a dot."""
    listed = [
        {
            "Name": name.replace("__", ".").replace("_", "-"),
            "Values": [values] if isinstance(values, str) else values,
        }
        for name, values in filters.items()
    ]
    return names(ec2, Owners=["self"], Filters=listed)


def test_an_image_is_shown_with_all_it_was_registered_with(ec2: Any, snapshot_id: str) -> None:
    second = make_snapshot(ec2, size_gib=2)
    image_id = register(
        ec2,
        "all (of) [it] ./-'@_",
        snapshot_id,
        Description="what it is: <&> ümläut",
        RootDeviceName="/dev/sda1",
        BootMode="uefi",
        TpmSupport="v2.0",
        ImdsSupport="v2.0",
        EnaSupport=True,
        SriovNetSupport="simple",
        BlockDeviceMappings=[
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "SnapshotId": snapshot_id,
                    "VolumeSize": 9,
                    "VolumeType": "gp3",
                    "Iops": 4000,
                    "Throughput": 200,
                    "DeleteOnTermination": False,
                },
            },
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": second}},
            {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 5, "Encrypted": True}},
            {"DeviceName": "/dev/sdd", "VirtualName": "ephemeral0"},
            {"DeviceName": "/dev/sde", "NoDevice": ""},
        ],
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}],
    )
    image = describe(ec2, image_id)
    assert datetime.now(UTC) - datetime.fromisoformat(image.pop("CreationDate")) < timedelta(
        minutes=5
    )
    assert image == {
        "Architecture": "x86_64",
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "DeleteOnTermination": False,
                    "Encrypted": False,
                    "Iops": 4000,
                    "SnapshotId": snapshot_id,
                    "Throughput": 200,
                    "VolumeSize": 9,
                    "VolumeType": "gp3",
                },
            },
            {
                "DeviceName": "/dev/sdb",
                "Ebs": {
                    "DeleteOnTermination": False,
                    "Encrypted": False,
                    "SnapshotId": second,
                    "VolumeSize": 2,
                    "VolumeType": "standard",
                },
            },
            {
                "DeviceName": "/dev/sdc",
                "Ebs": {
                    "DeleteOnTermination": False,
                    "Encrypted": True,
                    "VolumeSize": 5,
                    "VolumeType": "standard",
                },
            },
            {"DeviceName": "/dev/sdd", "VirtualName": "ephemeral0"},
            {"DeviceName": "/dev/sde", "NoDevice": ""},
        ],
        "BootMode": "uefi",
        "DeregistrationProtection": "disabled",
        "Description": "what it is: <&> ümläut",
        "EnaSupport": True,
        "Hypervisor": "xen",
        "ImageId": image_id,
        "ImageLocation": f"{ACCOUNT}/all (of) [it] ./-'@_",
        "ImageType": "machine",
        "ImdsSupport": "v2.0",
        "Name": "all (of) [it] ./-'@_",
        "OwnerId": ACCOUNT,
        "PlatformDetails": "Linux/UNIX",
        "ProductCodes": [],
        "Public": False,
        "RootDeviceName": "/dev/sda1",
        "RootDeviceType": "ebs",
        "SriovNetSupport": "simple",
        "State": "available",
        "Tags": [{"Key": "k", "Value": "v"}],
        "TpmSupport": "v2.0",
        "UsageOperation": "RunInstances",
        "VirtualizationType": "hvm",
    }
    assert code_of(ec2.delete_snapshot, SnapshotId=second) == "InvalidSnapshot.InUse"


PV = {
    "VirtualizationType": "paravirtual",
    "RootDeviceName": "/dev/sda1",
    "KernelId": "aki-5c21674b",
}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Name": "ab"}, "InvalidAMIName.Malformed"),
        ({"Name": "a" * 129}, "InvalidAMIName.Malformed"),
        ({"Name": "semi;colon"}, "InvalidAMIName.Malformed"),
        ({"Description": "a" * 256}, "InvalidParameterValue"),
        ({"KernelId": "aki-5c21674b"}, "InvalidParameterCombination"),
        ({"RamdiskId": "ari-12345678"}, "InvalidParameterCombination"),
        ({"VirtualizationType": "xen"}, "InvalidParameterValue"),
        ({"RootDeviceName": "/dev/sdf"}, "InvalidBlockDeviceMapping"),
        ({"RootDeviceName": ""}, "InvalidBlockDeviceMapping"),
        ({"TpmSupport": "v2.0"}, "InvalidParameterCombination"),
        ({"UefiData": "x"}, "InvalidParameterCombination"),
        ({"SriovNetSupport": "complex"}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": []}, "MissingParameter"),
        ({**PV, "EnaSupport": True}, "InvalidParameterCombination"),
        ({**PV, "SriovNetSupport": "simple"}, "InvalidParameterCombination"),
        ({**PV, "BootMode": "uefi"}, "InvalidParameterCombination"),
        ({**PV, "RamdiskId": "ari-12345678"}, "InvalidParameterCombination"),
        ({**PV, "Architecture": "i386"}, "InvalidParameterCombination"),
        ({**PV, "KernelId": "aki-70cb0e10"}, "InvalidAMIID.NotFound"),
        ({**PV, "KernelId": "vmlinuz"}, "InvalidParameterCombination"),
    ],
)
def test_what_breaks_a_rule_is_refused(
    ec2: Any, snapshot_id: str, asked: dict[str, Any], code: str
) -> None:
    root = asked.get("RootDeviceName") or "/dev/xvda"
    name = "/dev/sda1" if root == "/dev/sda1" else "/dev/xvda"
    mapping = [{"DeviceName": name, "Ebs": {"SnapshotId": snapshot_id}}]
    given = {"Name": "refused", "BlockDeviceMappings": mapping, **asked}
    with pytest.raises(ClientError) as caught:
        register(ec2, given.pop("Name"), snapshot_id, **given)
    assert caught.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(
    ("device", "code"),
    [
        ({"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/hda", "Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping"),
        ({"Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/sdb"}, "InvalidBlockDeviceMapping"),
        (
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0", "NoDevice": ""},
            "InvalidBlockDeviceMapping",
        ),
        ({"DeviceName": "/dev/sdb", "VirtualName": "ephemeral24"}, "InvalidBlockDeviceMapping"),
        ({"DeviceName": "/dev/sdb", "Ebs": {}}, "InvalidBlockDeviceMapping"),
        (
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}},
            "InvalidSnapshot.NotFound",
        ),
        ({"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "x"}}, "InvalidSnapshotID.Malformed"),
        ({"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 0}}, "InvalidBlockDeviceMapping"),
        (
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 16385, "VolumeType": "gp2"}},
            "InvalidBlockDeviceMapping",
        ),
        (
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 100, "VolumeType": "st1"}},
            "InvalidBlockDeviceMapping",
        ),
        (
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 8, "VolumeType": "io1"}},
            "InvalidBlockDeviceMapping",
        ),
        (
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 8, "Throughput": 125}},
            "InvalidBlockDeviceMapping",
        ),
        (
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 8, "VolumeType": "floppy"}},
            "InvalidParameterValue",
        ),
    ],
)
def test_a_device_that_cannot_be_is_refused(
    ec2: Any, snapshot_id: str, device: dict[str, Any], code: str
) -> None:
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    with pytest.raises(ClientError) as caught:
        register(ec2, "refused", snapshot_id, BlockDeviceMappings=[root, device])
    assert caught.value.response["Error"]["Code"] == code


def test_encrypted_beside_a_snapshot_is_refused(ec2: Any, snapshot_id: str) -> None:
    ebs = {"SnapshotId": snapshot_id, "Encrypted": False}
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": ebs}]
    with pytest.raises(ClientError, match="as the snapshot is"):
        register(ec2, "refused", snapshot_id, BlockDeviceMappings=mapping)


def test_without_saying_so_an_image_is_i386_and_paravirtual(ec2: Any, snapshot_id: str) -> None:
    image_id = ec2.register_image(
        Name="defaults",
        RootDeviceName="/dev/sda1",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    image = describe(ec2, image_id)
    assert (image["Architecture"], image["VirtualizationType"]) == ("i386", "paravirtual")


def test_a_name_is_one_images_until_that_is_gone(ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "only once", snapshot_id)
    with pytest.raises(ClientError, match=image_id) as caught:
        register(ec2, "only once", snapshot_id)
    assert caught.value.response["Error"]["Code"] == "InvalidAMIName.Duplicate"
    ec2.deregister_image(ImageId=image_id)
    assert code_of(ec2.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"
    assert code_of(ec2.deregister_image, ImageId=image_id) == "InvalidAMIID.NotFound"
    register(ec2, "only once", snapshot_id)


def test_each_filter_finds_and_leaves_out(ec2: Any, snapshot_id: str) -> None:
    image_id = register(
        ec2,
        "to be [found] 1",
        snapshot_id,
        Description="find me",
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "team", "Value": "a*b"}]}],
    )
    register(ec2, "to be found 2", snapshot_id)
    one = ["to be [found] 1"]
    both = [*one, "to be found 2"]
    assert filtered(ec2, name="to be*") == both
    assert filtered(ec2, name="to be [found]*") == one
    assert filtered(ec2, name="to be ?found? ?") == one
    assert filtered(ec2, name=r"to be\*") == []
    assert filtered(ec2, name=["nothing", "to be found 2"]) == ["to be found 2"]
    assert filtered(ec2, name="TO BE*") == []
    assert filtered(ec2, image_id=image_id) == one
    assert filtered(ec2, description="find*") == one
    assert filtered(ec2, **{"tag:team": r"a\*b"}) == one
    assert filtered(ec2, **{"tag:team": "a?b"}) == one
    assert filtered(ec2, **{"tag:team": "axb"}) == []
    assert filtered(ec2, tag_key="te*") == one
    assert both == filtered(
        ec2,
        name="to be*",
        architecture="x86_64",
        block_device_mapping__delete_on_termination="true",
        block_device_mapping__device_name="/dev/xvd*",
        block_device_mapping__snapshot_id=snapshot_id,
        block_device_mapping__volume_size="1",
        block_device_mapping__volume_type="standard",
        block_device_mapping__encrypted="false",
        creation_date="20*Z",
        ena_support="false",
        hypervisor="xen",
        image_type="machine",
        is_public="false",
        manifest_location=f"{ACCOUNT}/*",
        owner_id=ACCOUNT,
        root_device_name="/dev/xvda",
        root_device_type="ebs",
        state="available",
        virtualization_type="hvm",
        image_allowed="true",
    )
    for nothing in (
        {"kernel_id": "*"},
        {"ramdisk_id": "*"},
        {"owner_alias": "*"},
        {"platform": "windows"},
        {"product_code": "*"},
        {"product_code__type": "marketplace"},
        {"sriov_net_support": "simple"},
        {"state_reason_code": "*"},
        {"source_image_id": "*"},
        {"source_instance_id": "*"},
        {"architecture": "arm64"},
        {"state": "pending"},
    ):
        assert filtered(ec2, name="to be*", **nothing) == [], nothing


@pytest.mark.parametrize(
    "asked",
    [
        {"Filters": [{"Name": "colour", "Values": ["red"]}]},
        {"Filters": [{"Name": "name", "Values": []}]},
        {"Owners": ["me"]},
        {"ExecutableUsers": ["me"]},
        {"ImageIds": ["ami-1"]},
        {"ImageIds": ["ami-0123456789abcdef0"]},
        {"MaxResults": 0},
        {"MaxResults": 1001},
        {"NextToken": "x"},
        {"NextToken": "bnVsbA=="},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(ec2: Any, asked: dict[str, Any]) -> None:
    assert code_of(ec2.describe_images, **asked)


def test_pages_hold_each_image_once(ec2: Any, snapshot_id: str) -> None:
    for number in range(7):
        register(ec2, f"page {number}", snapshot_id)
    asked = {"Owners": ["self"], "Filters": [{"Name": "name", "Values": ["page *"]}]}
    pages = ec2.get_paginator("describe_images").paginate(**asked, PaginationConfig={"PageSize": 3})
    found = [[image["Name"] for image in page["Images"]] for page in pages]
    assert [len(page) for page in found] == [3, 3, 1]
    assert sorted(name for page in found for name in page) == [
        f"page {number}" for number in range(7)
    ]
    token = ec2.describe_images(**asked, MaxResults=3)["NextToken"]
    assert code_of(ec2.describe_images, MaxResults=3, NextToken=token) == "InvalidNextToken"


def test_pv_grubs_are_amazons_and_each_regions_own(serving: Serving) -> None:
    west = serving.client(region="us-west-2")
    found = west.describe_images(
        Owners=["amazon"], Filters=[{"Name": "name", "Values": ["pv-grub-*.gz"]}]
    )["Images"]
    assert {image["ImageId"]: image["Name"] for image in found} == {
        "aki-7a69931a": "pv-grub-hd0_1.05-i386.gz",
        "aki-70cb0e10": "pv-grub-hd0_1.05-x86_64.gz",
    }
    image = describe(west, "aki-70cb0e10")
    assert image["Description"] == "PV-GRUB release 1.05, 64-bit"
    assert image["ImageOwnerAlias"] == "amazon"
    assert code_of(west.describe_images, ImageIds=["aki-5c21674b"]) == "InvalidAMIID.NotFound"
    assert code_of(west.deregister_image, ImageId="aki-70cb0e10") == "AuthFailure"


def test_an_image_is_seen_by_whom_it_is_shared_with(
    serving: Serving, ec2: Any, snapshot_id: str
) -> None:
    other = serving.client(account=OTHER_ACCOUNT)
    image_id = register(ec2, "shared", snapshot_id)
    assert code_of(other.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"
    assert code_of(other.deregister_image, ImageId=image_id) == "InvalidAMIID.NotFound"
    add = {"Add": [{"UserId": OTHER_ACCOUNT}]}
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=add)
    assert names(other, ExecutableUsers=["self"]) == ["shared"]
    assert names(other, Owners=[ACCOUNT], ImageIds=[image_id]) == ["shared"]
    assert code_of(other.deregister_image, ImageId=image_id) == "AuthFailure"
    shown = ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert shown["LaunchPermissions"] == [{"UserId": OTHER_ACCOUNT}]
    ec2.modify_image_attribute(ImageId=image_id, OperationType="remove", UserIds=[OTHER_ACCOUNT])
    assert names(other, ExecutableUsers=["self"]) == []
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}]})
    assert describe(other, image_id)["Public"] is True
    assert "shared" in names(other, ExecutableUsers=["all"])
    ec2.reset_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert describe(ec2, image_id)["Public"] is False


def test_adding_and_removing_in_one_call_is_refused(ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "permissions", snapshot_id)
    both = {"Add": [{"UserId": OTHER_ACCOUNT}], "Remove": [{"Group": "all"}]}
    wrong: list[dict[str, Any]] = [
        {"LaunchPermission": both},
        {"LaunchPermission": {"Add": [{"UserId": "me"}]}},
        {"LaunchPermission": {"Add": [{"UserId": OTHER_ACCOUNT, "Group": "all"}]}},
        {"LaunchPermission": {}},
        {"Attribute": "kernel", "Value": "aki-5c21674b"},
        {"Description": {"Value": "x"}, "ProductCodes": ["abc"]},
        {"UserIds": [OTHER_ACCOUNT]},
        {},
    ]
    for asked in wrong:
        assert code_of(ec2.modify_image_attribute, ImageId=image_id, **asked), asked
    assert (
        ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")[
            "LaunchPermissions"
        ]
        == []
    )


def test_a_product_code_stays_and_keeps_the_image_from_the_public(
    ec2: Any, snapshot_id: str
) -> None:
    image_id = register(ec2, "paid", snapshot_id)
    ec2.modify_image_attribute(ImageId=image_id, ProductCodes=["774F4FF8"])
    public = {"Add": [{"Group": "all"}]}
    assert code_of(ec2.modify_image_attribute, ImageId=image_id, LaunchPermission=public)
    assert code_of(ec2.modify_image_attribute, ImageId=image_id, ProductCodes=["OTHER"])
    assert describe(ec2, image_id)["ProductCodes"] == [
        {"ProductCodeId": "774F4FF8", "ProductCodeType": "marketplace"}
    ]
    assert filtered(ec2, product_code="774*") == ["paid"]


def test_attributes_are_described_one_by_one(ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "attributes", snapshot_id, Description="before", BootMode="uefi")
    ec2.modify_image_attribute(ImageId=image_id, Description={"Value": "after"})
    ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})
    for attribute, member, value in (
        ("description", "Description", {"Value": "after"}),
        ("bootMode", "BootMode", {"Value": "uefi"}),
        ("imdsSupport", "ImdsSupport", {"Value": "v2.0"}),
        ("kernel", "KernelId", {}),
        ("ramdisk", "RamdiskId", {}),
        ("sriovNetSupport", "SriovNetSupport", {}),
        ("tpmSupport", "TpmSupport", {}),
        ("uefiData", "UefiData", {}),
        ("deregistrationProtection", "DeregistrationProtection", {"Value": "disabled"}),
        ("productCodes", "ProductCodes", []),
    ):
        shown = ec2.describe_image_attribute(ImageId=image_id, Attribute=attribute)
        assert (shown["ImageId"], shown[member]) == (image_id, value), attribute


def test_a_copy_is_its_regions_own(serving: Serving, ec2: Any, snapshot_id: str) -> None:
    west = serving.client(region="us-west-2")
    source = ec2.register_image(
        Name="to copy",
        Architecture="x86_64",
        RootDeviceName="/dev/sda1",
        KernelId="aki-5c21674b",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}],
    )["ImageId"]
    ec2.modify_image_attribute(ImageId=source, LaunchPermission={"Add": [{"Group": "all"}]})
    asked = {"Name": "copied", "SourceImageId": source, "SourceRegion": "us-east-1"}
    copy_id = west.copy_image(**asked, ClientToken="t")["ImageId"]
    assert west.copy_image(**asked, ClientToken="t")["ImageId"] == copy_id
    other = {**asked, "Name": "another"}
    assert code_of(west.copy_image, **other, ClientToken="t") == "IdempotentParameterMismatch"
    assert code_of(west.copy_image, **asked) == "InvalidAMIName.Duplicate"
    copy = describe(west, copy_id)
    [device] = copy["BlockDeviceMappings"]
    assert device["Ebs"]["SnapshotId"] != snapshot_id
    assert device["Ebs"]["Encrypted"] is False
    assert (copy["Tags"], copy["Public"]) == ([], False)
    assert (copy["SourceImageId"], copy["SourceImageRegion"]) == (source, "us-east-1")
    assert copy["KernelId"] == "aki-70cb0e10"  # the same PV-GRUB, by its id there
    assert code_of(ec2.describe_images, ImageIds=[copy_id]) == "InvalidAMIID.NotFound"
    ec2.deregister_image(ImageId=source)
    assert describe(west, copy_id)["State"] == "available"
    tagged = west.copy_image(
        Name="tagged", SourceImageId=copy_id, SourceRegion="us-west-2", CopyImageTags=True
    )
    assert describe(west, tagged["ImageId"])["Name"] == "tagged"
    nowhere = serving.client(region="eu-west-3")  # no PV-GRUB is listed there
    assert code_of(
        nowhere.copy_image, Name="no kernel", SourceImageId=copy_id, SourceRegion="us-west-2"
    )


def test_copies_are_encrypted_as_the_guides_table_says(
    serving: Serving, ec2: Any, snapshot_id: str
) -> None:
    west = serving.client(region="us-west-2")
    key = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/0123abcd-0000-0000-0000-000000000000"
    plain = register(ec2, "plain", snapshot_id)
    from_east = {"SourceRegion": "us-east-1"}

    def copy(name: str, source: str, **more: Any) -> tuple[bool, str | None]:
        asked = {"Name": name, "SourceImageId": source, **from_east, **more}
        [device] = describe(west, west.copy_image(**asked)["ImageId"])["BlockDeviceMappings"]
        [made] = west.describe_snapshots(SnapshotIds=[device["Ebs"]["SnapshotId"]])["Snapshots"]
        assert made["Encrypted"] is device["Ebs"]["Encrypted"]
        return made["Encrypted"], made.get("KmsKeyId")

    assert copy("1 plain to plain", plain) == (False, None)
    is_encrypted, default_key = copy("2 plain to encrypted", plain, Encrypted=True)
    assert is_encrypted
    assert default_key is not None
    assert default_key.startswith(f"arn:aws:kms:us-west-2:{ACCOUNT}:key/")
    assert copy("3 with a key", plain, Encrypted=True, KmsKeyId=key) == (True, key)
    encrypted = register(
        ec2, "encrypted", make_snapshot(ec2, Encrypted=True, KmsKeyId="alias/mine")
    )
    assert copy("4 encrypted stays", encrypted) == (True, default_key)
    assert copy("5 another key", encrypted, Encrypted=True, KmsKeyId=key) == (True, key)
    asked = {"Name": "none", "SourceImageId": encrypted, **from_east}
    assert code_of(west.copy_image, **asked, Encrypted=False) == "InvalidParameterCombination"
    asked["SourceImageId"] = plain
    assert code_of(west.copy_image, **asked, KmsKeyId=key) == "InvalidParameterDependency"
    foreign = key.replace("us-west-2", "us-east-1")
    assert code_of(west.copy_image, **asked, Encrypted=True, KmsKeyId=foreign)
    public = {"Add": [{"Group": "all"}]}
    assert code_of(ec2.modify_image_attribute, ImageId=encrypted, LaunchPermission=public)
    named = {"Add": [{"UserId": OTHER_ACCOUNT}]}
    ec2.modify_image_attribute(ImageId=encrypted, LaunchPermission=named)
    other = serving.client(account=OTHER_ACCOUNT)
    assert code_of(other.copy_image, Name="none", SourceImageId=encrypted, **from_east)


def test_anothers_image_is_copied_only_with_its_snapshots_shared(
    serving: Serving, ec2: Any
) -> None:
    snapshot_id = make_snapshot(ec2)
    image_id = register(ec2, "lent", snapshot_id)
    other = serving.client(account=OTHER_ACCOUNT)
    asked = {"Name": "lent", "SourceImageId": image_id, "SourceRegion": "us-east-1"}
    assert code_of(other.copy_image, **asked) == "InvalidAMIID.NotFound"
    add = {"Add": [{"UserId": OTHER_ACCOUNT}]}
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=add)
    assert code_of(other.copy_image, **asked) == "InvalidRequest"
    ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=add)
    assert describe(other, other.copy_image(**asked)["ImageId"])["OwnerId"] == OTHER_ACCOUNT


def test_a_deprecated_image_is_hidden_from_others(
    serving: Serving, ec2: Any, snapshot_id: str
) -> None:
    image_id = register(ec2, "old", snapshot_id)
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}]})
    now = datetime.now(UTC)
    assert code_of(ec2.enable_image_deprecation, ImageId=image_id, DeprecateAt=now)
    late = now + timedelta(days=366 * 11)
    assert code_of(ec2.enable_image_deprecation, ImageId=image_id, DeprecateAt=late)
    # Rounded to the minute, this is now.
    soon = (now + timedelta(seconds=29)).replace(microsecond=0)
    if soon.minute == now.minute and soon.second < 30 and soon > now:
        ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=soon)
        other = serving.client(account=OTHER_ACCOUNT)
        assert "old" not in names(other, ExecutableUsers=["all"])
        assert "old" in names(other, ExecutableUsers=["all"], IncludeDeprecated=True)
        assert describe(other, image_id)["DeprecationTime"]
        assert "old" in names(ec2, Owners=["self"])
    at = now + timedelta(days=30)
    ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=at)
    shown = datetime.fromisoformat(describe(ec2, image_id)["DeprecationTime"])
    assert shown.second == 0
    assert abs(shown - at) <= timedelta(seconds=30)
    ec2.disable_image_deprecation(ImageId=image_id)
    assert "DeprecationTime" not in describe(ec2, image_id)


def test_a_protected_image_is_not_deregistered(ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "protected", snapshot_id)
    ec2.enable_image_deregistration_protection(ImageId=image_id)
    assert code_of(ec2.deregister_image, ImageId=image_id) == "OperationNotPermitted"
    ec2.disable_image_deregistration_protection(ImageId=image_id)
    ec2.enable_image_deregistration_protection(ImageId=image_id, WithCooldown=True)
    ec2.disable_image_deregistration_protection(ImageId=image_id)
    assert code_of(ec2.deregister_image, ImageId=image_id) == "OperationNotPermitted"
    shown = describe(ec2, image_id)["DeregistrationProtection"]
    assert shown.startswith("disabled-with-cooldown-until 20")


def test_a_disabled_image_is_shown_on_request_alone(ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "disabled", snapshot_id)
    ec2.disable_image(ImageId=image_id)
    assert filtered(ec2, name="disabled") == []
    assert "disabled" in names(ec2, Owners=["self"], IncludeDisabled=True)
    ec2.enable_image(ImageId=image_id)
    assert filtered(ec2, name="disabled") == ["disabled"]


def test_an_image_goes_with_its_snapshots_on_request(ec2: Any, snapshot_id: str) -> None:
    own = make_snapshot(ec2)
    mapping = [
        {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": own}},
        {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": snapshot_id}},
    ]
    image_id = register(ec2, "going", own, BlockDeviceMappings=mapping)
    register(ec2, "staying", snapshot_id)
    said = ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)
    assert [(one["SnapshotId"], one["ReturnCode"]) for one in said["DeleteSnapshotResults"]] == [
        (own, "success"),
        (snapshot_id, "skipped"),
    ]
    assert code_of(ec2.describe_snapshots, SnapshotIds=[own]) == "InvalidSnapshot.NotFound"


def test_a_dry_run_changes_nothing(ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "dry", snapshot_id)
    assert code_of(ec2.deregister_image, ImageId=image_id, DryRun=True) == "DryRunOperation"
    assert describe(ec2, image_id)["Name"] == "dry"
    assert code_of(ec2.describe_images, DryRun=True) == "DryRunOperation"


def test_tags_are_put_found_and_taken(ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "tags", snapshot_id)
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    ec2.create_tags(Resources=[image_id, snapshot_id], Tags=tags)
    ec2.create_tags(Resources=[image_id], Tags=[{"Key": "a", "Value": "2"}])
    assert describe(ec2, image_id)["Tags"] == [
        {"Key": "a", "Value": "2"},
        {"Key": "b", "Value": ""},
    ]
    by_id = [{"Name": "resource-id", "Values": [image_id, snapshot_id]}]
    shown = ec2.describe_tags(Filters=by_id)["Tags"]
    assert {(tag["ResourceType"], tag["Key"], tag["Value"]) for tag in shown} == {
        ("image", "a", "2"),
        ("image", "b", ""),
        ("snapshot", "a", "1"),
        ("snapshot", "b", ""),
    }
    by_tag = [*by_id, {"Name": "tag:a", "Values": ["?"]}]
    found = ec2.describe_tags(Filters=by_tag)["Tags"]
    assert sorted(tag["Value"] for tag in found) == ["1", "2"]
    ec2.delete_tags(Resources=[image_id], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}])
    assert [tag["Key"] for tag in describe(ec2, image_id)["Tags"]] == ["a"]
    for resources, wrong in (
        ([image_id], [{"Key": "aws:x", "Value": ""}]),
        ([image_id], [{"Key": "", "Value": ""}]),
        ([image_id], [{"Key": "k" * 129, "Value": ""}]),
        ([image_id], [{"Key": "k", "Value": "v" * 257}]),
        ([image_id], [{"Key": f"k{n}", "Value": ""} for n in range(51)]),
        (["ami-0123456789abcdef0"], tags),
        (["nothing"], tags),
        ([image_id], []),
    ):
        assert code_of(ec2.create_tags, Resources=resources, Tags=wrong), wrong


def test_who_signs_nothing_or_wrongly_is_refused(serving: Serving) -> None:
    def ask(**headers: str) -> tuple[int, str]:
        form = {"Action": "DescribeImages", "Version": "2016-11-15"}
        got = requests.post(serving.url, data=form, headers=headers)
        code = got.text.partition("<Code>")[2].partition("</Code>")[0]
        return got.status_code, code

    def signed(date: str, region: str = "us-east-1", service: str = "ec2") -> dict[str, str]:
        scope = f"AKID/{date[:8]}/{region}/{service}/aws4_request"
        rest = f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
        return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, {rest}", "X-Amz-Date": date}

    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    assert ask() == (403, "MissingAuthenticationToken")
    assert ask(Authorization="Basic abc") == (400, "IncompleteSignature")
    assert ask(Authorization="AWS4-HMAC-SHA256 Foo") == (400, "IncompleteSignature")
    assert ask(**signed("20200101T000000Z")) == (400, "RequestExpired")
    assert ask(**signed(now, region="moon-1")) == (401, "AuthFailure")
    assert ask(**signed(now)) == (200, "")
    without_date = signed(now)
    del without_date["X-Amz-Date"]
    assert ask(**without_date) == (400, "IncompleteSignature")


def test_the_aws_cli_finds_an_image(serving: Serving, ec2: Any, snapshot_id: str) -> None:
    image_id = register(ec2, "by the cli", snapshot_id)
    said = subprocess.run(
        [
            str(Path(sys.executable).parent / "aws"),
            *("ec2", "describe-images", "--owners", "self"),
            *("--filters", "Name=name,Values=by the *"),
        ],
        env={
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": serving.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        capture_output=True,
        check=True,
    )
    [image] = json.loads(said.stdout)["Images"]
    assert image["ImageId"] == image_id


def test_what_is_made_is_pending_for_a_while(tmp_path: Path) -> None:
    with Serving(tmp_path / "catalog", "--latency", "2s") as slow:
        ec2 = slow.client()
        volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)
        snapshot = ec2.create_snapshot(VolumeId=volume["VolumeId"])
        assert (volume["State"], snapshot["State"]) == ("creating", "pending")
        wait = {"Delay": 1, "MaxAttempts": 30}
        snapshot_id = snapshot["SnapshotId"]
        assert code_of(register, ec2=ec2, name="early", snapshot_id=snapshot_id)
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=wait)
        image_id = register(ec2, "slow", snapshot_id)
        assert describe(ec2, image_id)["State"] == "pending"
        assert filtered(ec2, state="pending") == ["slow"]
        ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig=wait)


def test_faults_come_when_they_are_asked_for(tmp_path: Path) -> None:
    faults = ("throttle:DescribeTags@2", "error:DescribeVolumes@1", "cut:DescribeImages@1")
    options = [word for fault in faults for word in ("--fault", fault)]
    with Serving(tmp_path / "catalog", *options, "--fault", "cut-after:CreateVolume@1") as broken:
        ec2 = broken.client()
        assert [code_of(ec2.describe_tags) for _ in range(3)] == ["", "RequestLimitExceeded", ""]
        assert [code_of(ec2.describe_volumes) for _ in range(2)] == ["InternalError", ""]
        with pytest.raises(Exception, match="Connection was closed"):
            ec2.describe_images()
        ec2.describe_images()
        with pytest.raises(Exception, match="Connection was closed"):
            ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, ClientToken="t")
        again = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, ClientToken="t")
        [volume] = ec2.describe_volumes()["Volumes"]
        assert volume["VolumeId"] == again["VolumeId"]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    for round_ in range(4):
        with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
            ec2 = serving.client()
            shown = {image["ImageId"]: image["Name"] for image in own(ec2)}
            assert shown == acknowledged
            snapshot_id = make_snapshot(ec2)
            for number in range(5):
                name = f"round {round_} {number}"
                acknowledged[register(ec2, name, snapshot_id)] = name
            serving.kill()


def own(ec2: Any) -> list[Any]:
    return list(ec2.describe_images(Owners=["self"])["Images"])
