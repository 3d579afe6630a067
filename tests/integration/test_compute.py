"""The door to EC2: the embedded endpoint over the catalog, and what it refuses."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.cloud_access import reached_ec2
from imgforge.ec2 import (
    Cloud,
    CloudWish,
    Credentials,
    EndpointKind,
    Snapshot,
    open_cloud,
    tag_specifications,
)
from imgforge.errors import CloudError, HostError

KEYS = Credentials("123456789012", "secret")


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with reached_ec2(CloudWish(url="local")) as opened:
        yield opened


def snapshot_of(cloud: Cloud) -> Snapshot:
    volume = cloud.compute.ask(
        "Volume", "CreateVolume", {"AvailabilityZone": f"{cloud.region}a", "Size": 1}
    )
    made = cloud.compute.ask("Snapshot", "CreateSnapshot", {"VolumeId": volume["VolumeId"]})
    return cloud.compute.wait_for_snapshot(made["SnapshotId"])


def register(cloud: Cloud, name: str, *, snapshot_id: str) -> str:
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    request = {
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [root],
        "TagSpecifications": tag_specifications(image={"b": "2", "a": "1"}),
    }
    return cloud.compute.register_image(name, request)


def test_an_image_is_registered_found_tagged_and_deregistered(cloud: Cloud) -> None:
    compute = cloud.compute
    snapshot = snapshot_of(cloud)
    image_id = register(cloud, "one", snapshot_id=snapshot.snapshot_id)
    image = compute.wait_for_image(image_id)
    assert image == compute.own_image_named("one")
    assert image.root_snapshot_id == snapshot.snapshot_id
    assert image.tags == {"a": "1", "b": "2"}
    compute.tag([image_id], {"a": "3"})
    compute.untag([image_id], ["b"])
    assert compute.image(image_id).tags == {"a": "3"}
    permission = {"Add": [{"UserId": "210987654321"}]}
    compute.modify_image(image_id, {"LaunchPermission": permission})
    told = compute.image_attribute(image_id, "launchPermission")
    assert told["LaunchPermissions"] == [{"UserId": "210987654321"}]
    compute.deregister_image(image_id)
    assert compute.images(owners=["self"]) == []
    compute.delete_snapshot(snapshot.snapshot_id)
    assert compute.snapshots(owners=["self"]) == []


def test_what_is_told_is_json_with_times_as_text(cloud: Cloud) -> None:
    snapshot = snapshot_of(cloud)
    assert json.loads(json.dumps(snapshot.told))["StartTime"].endswith("Z")


def test_regions_are_kept_apart_and_a_copy_goes_between_them(cloud: Cloud) -> None:
    image_id = register(cloud, "one", snapshot_id=snapshot_of(cloud).snapshot_id)
    away = cloud.in_region("eu-west-1").compute
    assert away.images(owners=["self"]) == []
    copy_id = away.copy_image(image_id, {"SourceRegion": cloud.region, "Name": "one"})
    assert away.wait_for_image(copy_id).text("SourceImageId") == image_id
    assert {"eu-west-1", cloud.region} <= set(cloud.compute.regions())


def test_partitions_know_nothing_of_each_other(cloud: Cloud) -> None:
    snapshot_id = snapshot_of(cloud).snapshot_id
    image_id = register(cloud, "one", snapshot_id=snapshot_id)
    known = cloud.compute.regions()
    assert {"us-east-1", "af-south-1", "ap-east-1"} <= set(known)
    assert not [name for name in known if name.startswith(("cn-", "us-gov-", "us-iso", "eu-iso"))]
    told = cloud.compute.ask("Regions", "DescribeRegions", {})["Regions"]
    status = {one["RegionName"]: one["OptInStatus"] for one in told}
    assert (status["us-east-1"], status["af-south-1"]) == ("opt-in-not-required", "opted-in")
    for region, partition in (
        ("cn-north-1", ["cn-north-1", "cn-northwest-1"]),
        ("us-gov-west-1", ["us-gov-east-1", "us-gov-west-1"]),
    ):
        away = cloud.in_region(region).compute
        assert away.regions() == partition
        for copy, source_id, name in (
            (away.copy_image, image_id, {"Name": "one"}),
            (away.copy_snapshot, snapshot_id, {}),
        ):
            with pytest.raises(CloudError) as refused:
                copy(source_id, {"SourceRegion": cloud.region, **name})
            assert refused.value.code == "InvalidParameterValue"


def test_all_pages_are_read(cloud: Cloud) -> None:
    for _ in range(6):
        snapshot_of(cloud)
    asked = {"OwnerIds": ["self"], "MaxResults": 5}
    listed = list(cloud.compute.pages("Snapshots", "DescribeSnapshots", asked, of="Snapshots"))
    assert len(listed) == 6


@pytest.mark.parametrize(
    ("image_id", "code"),
    [("ami-0123456789abcdef0", "InvalidAMIID.NotFound"), ("ami-1", "InvalidAMIID.Malformed")],
)
def test_a_refusal_has_ec2s_code(cloud: Cloud, image_id: str, code: str) -> None:
    with pytest.raises(CloudError) as refused:
        cloud.compute.image(image_id)
    assert refused.value.code == code
    assert refused.value.exit_code == 4
    assert image_id in str(refused.value)


def test_a_name_is_taken_once(cloud: Cloud) -> None:
    snapshot_id = snapshot_of(cloud).snapshot_id
    register(cloud, "one", snapshot_id=snapshot_id)
    with pytest.raises(CloudError) as refused:
        register(cloud, "one", snapshot_id=snapshot_id)
    assert refused.value.code == "InvalidAMIName.Duplicate"


def test_nobody_else_is_let_in(cloud: Cloud) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    request = urllib.request.Request(
        cloud.endpoint.url, data=b"Action=DescribeRegions&Version=2016-11-15", headers=form
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 403
    wish = CloudWish(url=cloud.endpoint.url, credentials=KEYS)
    with reached_ec2(wish) as stranger, pytest.raises(CloudError) as denied:
        stranger.compute.images(owners=["self"])
    assert denied.value.code == "InvalidAccessKeyId"


def test_without_ec2_of_its_own_the_embedded_endpoint_is_s3_alone(tmp_path: Path) -> None:
    with open_cloud(CloudWish(url="local"), folder=tmp_path) as cloud:
        assert cloud.endpoint.kind is EndpointKind.EMBEDDED
        with pytest.raises(CloudError):
            cloud.compute.images(owners=["self"])


def test_a_client_is_made_once(cloud: Cloud) -> None:
    made = []

    def make() -> None:
        made.append(cloud.compute.client)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, made))) == 1


def test_variables_of_boto3_lead_each_service_to_its_own_endpoint(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_id = register(cloud, "one", snapshot_id=snapshot_of(cloud).snapshot_id)
    keys = cloud.compute.client._request_signer._credentials
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", cloud.endpoint.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    with reached_ec2(attempts=1) as configured:
        assert configured.endpoint.kind is EndpointKind.URL
        assert configured.compute.image(image_id).name == "one"
        with pytest.raises(HostError):
            configured.storage.find_bucket("my-bucket")
