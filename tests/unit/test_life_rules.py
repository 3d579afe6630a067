"""EC2's rules of copying, sharing and deregistering: what each takes, and what it refuses."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from imgforge.catalog import (
    BucketFacts,
    CopyWish,
    Finding,
    ImageFacts,
    KeyFacts,
    ShareWish,
    SnapshotFacts,
    advise_copy,
    advise_deregister,
    advise_from_snapshot,
    check_bucket,
    check_copy,
    check_delete_snapshot,
    check_deregister,
    check_name_is_free,
    check_product_codes,
    check_share,
    check_snapshot_share,
    refuse_before,
)
from imgforge.errors import BadInputError

MINE, OTHERS = "123456789012", "111122223333"
PLAIN = SnapshotFacts("snap-1", MINE)
SECRET = replace(PLAIN, is_encrypted=True)
OWN_KEY = replace(SECRET, has_default_key=True)
IMAGE = ImageFacts("ami-1", MINE, "us-east-1", snapshots=(PLAIN,))
BUNDLE = replace(IMAGE, root_device_type="instance-store", image_location="b/m.xml", snapshots=())
FOREIGN = replace(IMAGE, owner_id=OTHERS, snapshots=(replace(PLAIN, owner_id=OTHERS),))
WISH = CopyWish("a copy", "eu-west-1", MINE)
HERE = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
THERE = HERE.replace("eu-west-1", "us-east-1")
ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-abcdefghij"


def rules(findings: Iterable[Finding]) -> list[str]:
    return [finding.rule for finding in findings]


def with_snapshot(image: ImageFacts, snapshot: SnapshotFacts) -> ImageFacts:
    return replace(image, snapshots=(PLAIN, snapshot))


@pytest.mark.parametrize(
    ("source", "wish", "broken"),
    [
        (IMAGE, WISH, []),
        (IMAGE, replace(WISH, region="us-east-1"), []),
        (IMAGE, replace(WISH, region="cn-north-1"), ["copy-partition"]),
        (IMAGE, replace(WISH, region="us-gov-west-1"), ["copy-partition"]),
        (replace(IMAGE, region="cn-north-1"), replace(WISH, region="cn-northwest-1"), []),
        (IMAGE, replace(WISH, name="xy"), ["name"]),
        (IMAGE, replace(WISH, description="x" * 255), []),
        (IMAGE, replace(WISH, description="x" * 256), ["description"]),
        (IMAGE, replace(WISH, taken_by="ami-2"), ["name-taken"]),
        (replace(IMAGE, state="pending"), WISH, ["image-state"]),
        (replace(IMAGE, state="disabled"), WISH, ["image-state"]),
        (IMAGE, replace(WISH, encrypted=True), []),
        (IMAGE, replace(WISH, encrypted=True, kms_key_id=HERE), []),
        (IMAGE, replace(WISH, encrypted=True, kms_key_id="alias/mine"), []),
        (IMAGE, replace(WISH, kms_key_id=HERE), ["copy-kms-key-id"]),
        (IMAGE, replace(WISH, encrypted=False, kms_key_id=HERE), ["copy-kms-key-id"]),
        (IMAGE, replace(WISH, encrypted=True, kms_key_id=THERE), ["copy-key-region"]),
        (with_snapshot(IMAGE, SECRET), WISH, []),
        (with_snapshot(IMAGE, SECRET), replace(WISH, encrypted=True), []),
        (with_snapshot(IMAGE, SECRET), replace(WISH, encrypted=False), ["copy-encrypted"]),
        (IMAGE, replace(WISH, encrypted=False), []),
        (BUNDLE, WISH, []),
        (BUNDLE, replace(WISH, encrypted=True), ["copy-instance-store"]),
        (FOREIGN, WISH, []),
        (replace(FOREIGN, snapshots=(replace(PLAIN, is_usable=False),)), WISH, ["copy-storage"]),
        (with_snapshot(FOREIGN, replace(SECRET, owner_id=OTHERS)), WISH, ["copy-shared-encrypted"]),
        (replace(FOREIGN, product_codes=("abc",)), WISH, ["copy-billing-code"]),
        (replace(FOREIGN, platform_details="Windows"), WISH, ["copy-billing-code"]),
        (replace(FOREIGN, platform_details="Windows BYOL"), WISH, []),
        (replace(IMAGE, product_codes=("abc",), platform_details="Windows"), WISH, []),
        (IMAGE, replace(WISH, pending_into=49, pending_from=24), []),
        (IMAGE, replace(WISH, pending_into=50), ["copy-limit"]),
        (IMAGE, replace(WISH, pending_into=25, pending_from=25), ["copy-limit"]),
    ],
)
def test_copying(source: ImageFacts, wish: CopyWish, broken: list[str]) -> None:
    assert rules(check_copy(source, wish)) == broken


@pytest.mark.parametrize(
    ("known", "broken"),
    [
        ({}, []),
        ({"Arn": THERE}, ["copy-key-region"]),
        ({"KeySpec": "RSA_2048"}, ["copy-key-spec"]),
        ({"KeySpec": "SYMMETRIC_DEFAULT", "KeyState": "Enabled"}, []),
        ({"KeyState": "PendingDeletion"}, ["copy-key-state"]),
    ],
)
def test_the_key_of_a_copy_is_one_of_its_region_symmetric_and_enabled(
    known: dict[str, str], broken: list[str]
) -> None:
    key = KeyFacts.of_kms({"Arn": HERE, **known})
    wish = replace(WISH, encrypted=True, kms_key_id="alias/mine", key=key)
    assert rules(check_copy(IMAGE, wish)) == broken


@pytest.mark.parametrize(
    ("image", "add", "broken"),
    [
        (IMAGE, [("UserId", OTHERS)], []),
        (IMAGE, [("Group", "all"), ("OrganizationArn", ORGANIZATION)], []),
        (IMAGE, [("UserId", "12345")], ["share-whom"]),
        (IMAGE, [("UserId", OTHERS + "\n")], ["share-whom"]),
        (IMAGE, [("Group", "some")], ["share-group"]),
        (IMAGE, [("OrganizationArn", "o-abcdefghij")], ["share-whom"]),
        (IMAGE, [], ["share-nobody"]),
        (replace(IMAGE, state="disabled"), [("UserId", OTHERS)], ["share-disabled"]),
        (replace(IMAGE, product_codes=("abc",)), [("UserId", OTHERS)], []),
        (replace(IMAGE, product_codes=("abc",)), [("Group", "all")], ["share-product-code"]),
        (with_snapshot(IMAGE, SECRET), [("UserId", OTHERS)], []),
        (with_snapshot(IMAGE, SECRET), [("Group", "all")], ["share-encrypted"]),
        (with_snapshot(IMAGE, OWN_KEY), [("UserId", OTHERS)], ["share-default-key"]),
    ],
)
def test_sharing(image: ImageFacts, add: list[tuple[str, str]], broken: list[str]) -> None:
    assert rules(check_share(image, ShareWish(add=add))) == broken


@pytest.mark.parametrize(
    ("snapshot", "add", "broken"),
    [
        (PLAIN, [("UserId", OTHERS), ("Group", "all")], []),
        (PLAIN, [("UserId", "x")], ["share-snapshot-whom"]),
        (PLAIN, [], ["share-nobody"]),
        (SECRET, [("UserId", OTHERS)], []),
        (SECRET, [("Group", "all")], ["share-encrypted"]),
        (OWN_KEY, [("UserId", OTHERS)], ["share-default-key"]),
        (replace(PLAIN, state="error"), [("UserId", OTHERS)], ["share-snapshot-state"]),
    ],
)
def test_sharing_a_snapshot(
    snapshot: SnapshotFacts, add: list[tuple[str, str]], broken: list[str]
) -> None:
    assert rules(check_snapshot_share(snapshot, ShareWish(add=add))) == broken


def test_nobody_is_added_and_another_removed_in_one_call() -> None:
    both = ShareWish(add=[("UserId", OTHERS)], remove=[("Group", "all")])
    assert rules(check_share(IMAGE, both)) == ["share-both"]
    assert rules(check_snapshot_share(PLAIN, both)) == ["share-both"]
    assert rules(check_share(IMAGE, ShareWish(remove=[("Group", "all")]))) == []


@pytest.mark.parametrize(
    ("image", "codes", "broken"),
    [
        (IMAGE, ["774F4FF8"], []),
        (IMAGE, ["a b"], ["product-code-form"]),
        (replace(IMAGE, is_public=True), ["774F4FF8"], ["product-code-public"]),
        (replace(IMAGE, product_codes=("774F4FF8",)), ["774F4FF8"], []),
        (replace(IMAGE, product_codes=("774F4FF8",)), ["other"], ["product-code"]),
        (replace(IMAGE, product_codes=("774F4FF8",)), [], ["product-code"]),
    ],
)
def test_product_codes(image: ImageFacts, codes: list[str], broken: list[str]) -> None:
    assert rules(check_product_codes(image, codes)) == broken


def test_a_protected_image_is_not_deregistered() -> None:
    assert rules(check_deregister(IMAGE)) == []
    protected = replace(IMAGE, protection="enabled")
    assert rules(check_deregister(protected)) == ["deregister-protected"]


def test_what_stays_is_told() -> None:
    [snapshots] = advise_deregister(IMAGE)
    [bundle] = advise_deregister(BUNDLE)
    [copy] = advise_copy(IMAGE)
    assert (snapshots.found, bundle.found) == ("snap-1", "b/m.xml")
    assert "tags" in copy.found
    assert {one.code for one in (snapshots, bundle, copy)} == {""}


def test_a_snapshot_in_use_is_not_deleted() -> None:
    assert rules(check_delete_snapshot("snap-1", [])) == []
    assert rules(check_delete_snapshot("snap-1", ["ami-1"])) == ["snapshot-in-use"]


def test_a_bucket_is_of_the_region_and_takes_acls() -> None:
    bucket = BucketFacts("b", "us-east-1", takes_acls=True)
    assert rules(check_bucket(bucket, region="us-east-1")) == []
    assert rules(check_bucket(bucket, region="eu-west-1")) == ["bucket-region"]
    enforced = replace(bucket, takes_acls=False)
    assert rules(check_bucket(enforced, region="us-east-1")) == ["bucket-acl"]


@pytest.mark.parametrize(
    ("platform", "broken"),
    [
        ("Linux/UNIX", []),
        ("Debian GNU/Linux 12 (bookworm)", []),
        ("Red Hat Enterprise Linux", ["billing-code"]),
        ("SUSE Linux", ["billing-code"]),
        ("Windows", ["billing-code"]),
    ],
)
def test_an_image_of_a_snapshot_keeps_no_billing_code(platform: str, broken: list[str]) -> None:
    assert rules(advise_from_snapshot(platform)) == broken


def test_a_name_is_free_where_nobody_has_it() -> None:
    assert rules(check_name_is_free("x", "")) == []
    assert rules(check_name_is_free("x", "ami-1")) == ["name-taken"]


def test_all_that_is_refused_is_told_before_anybody_is_asked() -> None:
    findings = check_copy(replace(IMAGE, state="pending"), replace(WISH, name="x"))
    with pytest.raises(BadInputError) as caught:
        refuse_before("Image ami-1 cannot be copied", findings)
    assert str(caught.value).startswith("Image ami-1 cannot be copied:\n  image-state: found")
    assert "name: found 'x'" in str(caught.value)
    refuse_before("x", advise_copy(IMAGE))


def test_what_ec2_shows_of_an_image_is_read() -> None:
    shown: dict[str, Any] = {
        "ImageId": "ami-1",
        "OwnerId": OTHERS,
        "State": "available",
        "Public": True,
        "PlatformDetails": "Red Hat Enterprise Linux",
        "RootDeviceType": "ebs",
        "ProductCodes": [{"ProductCodeId": "abc", "ProductCodeType": "marketplace"}],
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-1", "Encrypted": True}},
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-2", "Encrypted": True}},
            {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"},
        ],
    }
    seen = {"SnapshotId": "snap-1", "OwnerId": OTHERS, "Encrypted": True, "KmsKeyId": HERE}
    image = ImageFacts.of_ec2(shown, region="eu-west-1", snapshots=[seen], default_keys=[HERE])
    assert image.is_billed
    assert image.product_codes == ("abc",)
    assert [one.is_usable for one in image.snapshots] == [True, False]
    assert [one.has_default_key for one in image.snapshots] == [True, False]
    assert rules(check_copy(image, WISH)) == [
        "copy-billing-code",
        "copy-storage",
        "copy-shared-encrypted",
    ]
