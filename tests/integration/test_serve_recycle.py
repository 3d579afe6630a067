"""The recycle bin, changes of volumes, and settings of an account, on `imgforge serve`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import ACCOUNT, Serving, code_of, make_snapshot, register


def days(number: int) -> dict[str, Any]:
    """Return how long a rule keeps what is deleted."""
    return {"RetentionPeriodValue": number, "RetentionPeriodUnit": "DAYS"}


DAYS = days(7)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        yield running


def of_region(serving: Serving, region: str) -> tuple[Any, Any]:
    """Return EC2 and the recycle bin of a region: each test has one for itself."""
    return serving.client(region=region), serving.client("rbin", region=region)


def test_what_a_rule_keeps_is_listed_and_restored(serving: Serving) -> None:
    ec2, rbin = of_region(serving, "us-east-1")
    for kind in ("EC2_IMAGE", "EBS_SNAPSHOT"):
        rbin.create_rule(RetentionPeriod=DAYS, ResourceType=kind, Description="all of them")
    snapshot_id = make_snapshot(ec2)
    tags = [{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}]
    image_id = register(ec2, "kept", snapshot_id, TagSpecifications=tags)
    ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)
    assert code_of(ec2.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"
    assert code_of(ec2.describe_snapshots, SnapshotIds=[snapshot_id]) == "InvalidSnapshot.NotFound"
    [image] = ec2.list_images_in_recycle_bin()["Images"]
    assert (image["ImageId"], image["Name"]) == (image_id, "kept")
    assert (image["RecycleBinExitTime"] - image["RecycleBinEnterTime"]).days == 7
    [kept] = ec2.list_snapshots_in_recycle_bin(SnapshotIds=[snapshot_id])["Snapshots"]
    assert kept["SnapshotId"] == snapshot_id
    restore = ec2.restore_image_from_recycle_bin
    assert code_of(restore, ImageId=image_id) == "InvalidSnapshot.NotFound"
    restored = ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot_id)
    assert (restored["State"], restored["SnapshotId"]) == ("completed", snapshot_id)
    other = register(ec2, "kept", snapshot_id)
    assert code_of(restore, ImageId=image_id) == "InvalidAMIName.Duplicate"
    ec2.deregister_image(ImageId=other)
    assert restore(ImageId=image_id)["Return"] is True
    [shown] = ec2.describe_images(ImageIds=[image_id])["Images"]
    assert shown["Tags"] == [{"Key": "k", "Value": "v"}]
    assert code_of(restore, ImageId=image_id) == "InvalidAMIID.NotFound"


def test_rules_by_tags_keep_only_those(serving: Serving) -> None:
    ec2, rbin = of_region(serving, "us-east-2")
    wanted = [{"ResourceTagKey": "keep", "ResourceTagValue": "yes"}]
    rbin.create_rule(RetentionPeriod=DAYS, ResourceType="EBS_SNAPSHOT", ResourceTags=wanted)
    kept, lost = make_snapshot(ec2), make_snapshot(ec2)
    ec2.create_tags(Resources=[kept], Tags=[{"Key": "keep", "Value": "yes"}])
    for one in (kept, lost):
        ec2.delete_snapshot(SnapshotId=one)
    found = ec2.list_snapshots_in_recycle_bin()["Snapshots"]
    assert [one["SnapshotId"] for one in found] == [kept]
    restore = ec2.restore_snapshot_from_recycle_bin
    assert code_of(restore, SnapshotId=lost) == "InvalidSnapshot.NotFound"


def test_rules_are_changed_tagged_locked_and_deleted(serving: Serving) -> None:
    _, rbin = of_region(serving, "us-west-1")
    rule = rbin.create_rule(
        RetentionPeriod=DAYS, ResourceType="EC2_IMAGE", Tags=[{"Key": "a", "Value": "1"}]
    )
    name, arn = rule["Identifier"], rule["RuleArn"]
    assert (rule["Status"], rule["LockState"]) == ("available", "unlocked")
    rbin.tag_resource(ResourceArn=arn, Tags=[{"Key": k, "Value": "2"} for k in "bc"])
    rbin.untag_resource(ResourceArn=arn, TagKeys=["a", "b"])
    assert rbin.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": "2"}]
    rbin.update_rule(Identifier=name, Description="changed")
    [listed] = rbin.list_rules(ResourceType="EC2_IMAGE")["Rules"]
    assert (listed["Identifier"], listed["Description"]) == (name, "changed")
    delay = {"UnlockDelay": {"UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS"}}
    assert rbin.lock_rule(Identifier=name, LockConfiguration=delay)["LockState"] == "locked"
    assert code_of(rbin.delete_rule, Identifier=name) == "ConflictException"
    unlocking = rbin.unlock_rule(Identifier=name)
    assert unlocking["LockState"] == "pending_unlock"
    assert rbin.get_rule(Identifier=name)["LockEndTime"] == unlocking["LockEndTime"]
    spare = rbin.create_rule(RetentionPeriod=DAYS, ResourceType="EC2_IMAGE")["Identifier"]
    rbin.delete_rule(Identifier=spare)
    assert code_of(rbin.get_rule, Identifier=spare) == "ResourceNotFoundException"
    both = {
        "ResourceTags": [{"ResourceTagKey": "a"}],
        "ExcludeResourceTags": [{"ResourceTagKey": "b"}],
    }
    create = {"ResourceType": "EC2_IMAGE", "RetentionPeriod": DAYS}
    assert code_of(rbin.create_rule, **create, **both) == "ValidationException"
    assert code_of(rbin.create_rule, ResourceType="EC2_IMAGE") == "ValidationException"
    kept = rbin.create_rule(ResourceType="EC2_IMAGE", RetentionPeriod=days(365))["Identifier"]
    for wrong in (0, 366, 3650):
        asked = {"RetentionPeriod": days(wrong)}
        code = code_of(rbin.create_rule, ResourceType="EC2_IMAGE", **asked)
        assert code == "ValidationException", wrong
        assert code_of(rbin.update_rule, Identifier=kept, **asked) == "ValidationException", wrong
    assert rbin.get_rule(Identifier=kept)["RetentionPeriod"] == days(365)


def test_a_volume_has_no_size_of_zero_and_the_iops_of_its_size(serving: Serving) -> None:
    ec2 = serving.client(region="us-west-2")
    made = make_snapshot(ec2, size_gib=8)
    zone = {"AvailabilityZone": "us-west-2a"}
    refused: list[dict[str, Any]] = [
        {"Size": 0},
        {"Size": 0, "SnapshotId": made},
        {"Size": 8, "VolumeType": "gp3", "Iops": 0},
        {"Size": 8, "VolumeType": "gp3", "Throughput": 0},
        {"Size": 8, "VolumeType": "io1", "Iops": 401},
        {"VolumeType": "io1", "Iops": 401, "SnapshotId": made},
        {"Size": 8, "VolumeType": "io2", "Iops": 8001},
        {"Size": 8, "VolumeType": "gp3", "Iops": 4001},
        {"Size": 8, "VolumeType": "gp3", "Throughput": 751},
    ]
    for asked in refused:
        assert code_of(ec2.create_volume, **asked, **zone) == "InvalidParameterValue", asked
    io1 = {"VolumeType": "io1", "Iops": 400}
    volume_id = ec2.create_volume(SnapshotId=made, **io1, **zone)["VolumeId"]
    for asked in ({"Iops": 401}, {"Iops": 0}, {"Size": 0}, {"VolumeType": "gp3", "Throughput": 0}):
        assert code_of(ec2.modify_volume, VolumeId=volume_id, **asked) == "InvalidParameterValue"
    done = ec2.modify_volume(VolumeId=volume_id, VolumeType="io2")["VolumeModification"]
    assert (done["TargetSize"], done["TargetVolumeType"], done["TargetIops"]) == (8, "io2", 3000)


def test_a_volume_grows_once_in_six_hours(serving: Serving) -> None:
    ec2 = serving.client(region="us-west-2")
    zone = {"AvailabilityZone": "us-west-2a"}
    volume = ec2.create_volume(Size=10, VolumeType="gp2", **zone)["VolumeId"]
    modify = ec2.modify_volume
    assert code_of(modify, VolumeId=volume) == "MissingParameter"
    assert code_of(modify, VolumeId=volume, Size=5) == "InvalidParameterValue"
    assert code_of(modify, VolumeId=volume, VolumeType="io1") == "InvalidParameterValue"
    done = modify(VolumeId=volume, Size=20, VolumeType="gp3", Iops=4000)["VolumeModification"]
    assert (done["OriginalSize"], done["TargetSize"], done["TargetIops"]) == (10, 20, 4000)
    assert (done["ModificationState"], done["TargetThroughput"]) == ("completed", 125)
    assert code_of(modify, VolumeId=volume, Size=30) == "VolumeModificationRateExceeded"
    [shown] = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (shown["Size"], shown["VolumeType"], shown["Iops"]) == (20, "gp3", 4000)
    big = [{"Name": "target-size", "Values": ["20"]}]
    [change] = ec2.describe_volumes_modifications(Filters=big)["VolumesModifications"]
    assert change["VolumeId"] == volume
    other = ec2.create_volume(Size=1, **zone)["VolumeId"]
    code = code_of(ec2.describe_volumes_modifications, VolumeIds=[other])
    assert code == "InvalidVolumeModification.NotFound"


def test_what_is_made_is_encrypted_where_the_account_says_so(serving: Serving) -> None:
    ec2, kms = serving.client(region="eu-west-1"), serving.client("kms", region="eu-west-1")
    plain = make_snapshot(ec2)
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    key = kms.create_key()["KeyMetadata"]["Arn"]
    assert ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)["KmsKeyId"] == key
    ec2.enable_ebs_encryption_by_default()
    volume = ec2.create_volume(Size=1, AvailabilityZone="eu-west-1a")
    assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, key)
    copy = ec2.copy_snapshot(SourceSnapshotId=plain, SourceRegion="eu-west-1")["SnapshotId"]
    [shown] = ec2.describe_snapshots(SnapshotIds=[copy])["Snapshots"]
    assert (shown["Encrypted"], shown["KmsKeyId"]) == (True, key)
    own = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
    assert ec2.reset_ebs_default_kms_key_id()["KmsKeyId"] == own
    ec2.disable_ebs_encryption_by_default()
    assert ec2.create_volume(Size=1, AvailabilityZone="eu-west-1a")["Encrypted"] is False


def test_nothing_becomes_public_where_the_account_forbids_it(serving: Serving) -> None:
    ec2 = serving.client(region="eu-west-2")
    snapshot_id = make_snapshot(ec2)
    image_id = register(ec2, "private", snapshot_id)
    ec2.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")
    ec2.enable_snapshot_block_public_access(State="block-all-sharing")
    launch = {"LaunchPermission": {"Add": [{"Group": "all"}]}}
    volume = {"CreateVolumePermission": {"Add": [{"Group": "all"}]}}
    share = ec2.modify_image_attribute
    assert code_of(share, ImageId=image_id, **launch) == "OperationNotPermitted"
    code = code_of(ec2.modify_snapshot_attribute, SnapshotId=snapshot_id, **volume)
    assert code == "OperationNotPermitted"
    ec2.disable_image_block_public_access()
    assert code_of(share, ImageId=image_id, **launch) == ""


def test_no_instance_is_there_to_make_an_image_of(serving: Serving) -> None:
    ec2 = serving.client()
    create = ec2.create_image
    absent = "i-0123456789abcdef0"
    assert code_of(create, InstanceId=absent, Name="of it") == "InvalidInstanceID.NotFound"
    assert code_of(create, InstanceId="x", Name="of it") == "InvalidInstanceID.Malformed"
    assert code_of(create, InstanceId=absent, Name="?") == "InvalidAMIName.Malformed"


def test_the_real_cli_uses_the_recycle_bin(serving: Serving, tmp_path: Path) -> None:
    def aws(*words: str) -> Any:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": serving.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }
        program = Path(sys.executable).with_name("aws")
        done = subprocess.run([program, *words], env=environment, capture_output=True, check=True)
        return json.loads(done.stdout or "{}")

    period = "RetentionPeriodValue=1,RetentionPeriodUnit=DAYS"
    kind = ("--resource-type", "EBS_SNAPSHOT")
    rule = aws("rbin", "create-rule", "--retention-period", period, *kind)["Identifier"]
    snapshot_id = make_snapshot(serving.client(region="eu-central-1"))
    aws("ec2", "delete-snapshot", "--snapshot-id", snapshot_id)
    [kept] = aws("ec2", "list-snapshots-in-recycle-bin")["Snapshots"]
    assert kept["SnapshotId"] == snapshot_id
    aws("ec2", "restore-snapshot-from-recycle-bin", "--snapshot-id", snapshot_id)
    aws("rbin", "delete-rule", "--identifier", rule)
    assert aws("rbin", "list-rules", *kind)["Rules"] == []
