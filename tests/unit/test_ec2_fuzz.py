"""Any request that the models allow, and many others, are answered or refused: none fails."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgforge.catalog import Account, RefusedError
from imgforge.catalog.actions import ACTIONS
from imgforge.ec2.local.ebs_rest import RestRequest, find_route, parse_rest, write_rest
from imgforge.ec2.local.ec2_answer import write_xml
from imgforge.ec2.local.ec2_query import parse_query, read_fields
from imgforge.ec2.local.operations import find_operation, service_model
from tests.ec2_shapes import Words, values_of

REGIONS = ("us-east-1", "us-west-2")
EC2 = sorted(
    name
    for name in service_model("ec2").operation_names
    if any(
        word in name for word in ("Image", "Snapshot", "Volume", "Tags", "Regions", "Zones", "Ebs")
    )
)
ANSWERED = sorted(set(EC2) & set(ACTIONS))
EBS = sorted(service_model("ebs").operation_names)
_CODE = re.compile(r"([A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)*)?")
"""The code of a refusal as EC2's are, or "" of an answer."""
MANY = settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


class Small:
    """An account with an image, a snapshot and a volume in it, and the words that name them."""

    def __init__(self, account: Account) -> None:
        self.account = account
        volume = self.ask("CreateVolume", AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        snapshot = self.ask("CreateSnapshot", VolumeId=volume)["SnapshotId"]
        started = self.ask("StartSnapshot", VolumeSize=1)["SnapshotId"]
        ebs = {"SnapshotId": snapshot}
        image = self.ask(
            "RegisterImage",
            Name="the image",
            RootDeviceName="/dev/sda1",
            BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": ebs}],
        )["ImageId"]
        regions, users = ("us-east-1", "us-west-2"), ("111122223333", "123456789012")
        devices = ("/dev/sda1", "/dev/xvda", "/dev/sdb", "/dev/sdc")
        ids = (image, snapshot, started, volume, "aki-5c21674b")
        filters = ("name", "tag:k", "tag-key", "state", "status", "volume-size", "image-id")
        self.words: Words = {
            "ImageId": (image,),
            "ImageIds": (image, "aki-5c21674b"),
            "SnapshotId": (snapshot, started),
            "SnapshotIds": (snapshot, started),
            "VolumeId": (volume,),
            "VolumeIds": (volume,),
            "Resources": ids,
            "KernelId": ("aki-5c21674b", "aki-04206613"),
            "Region": regions,
            "RegionNames": regions,
            "ZoneNames": ("us-east-1a", "us-east-1b"),
            "AvailabilityZone": ("us-east-1a",),
            "DeviceName": devices,
            "RootDeviceName": devices,
            "VirtualName": ("ephemeral0", "ephemeral1"),
            "VirtualizationType": ("hvm", "paravirtual"),
            "Name": ("the image", "another", *filters, *devices),
            "Values": (*ids, "the*", "v", "available", "1", "*", r"\*"),
            "Owners": ("self", "amazon", *users),
            "OwnerIds": ("self", *users),
            "Users": ("self", "all", *users),
            "UserIds": users,
            "UserId": users,
            "Groups": ("all",),
            "Attribute": ("launchPermission", "description"),
            "KmsKeyId": ("alias/aws/ebs", "alias/mine"),
            "KmsKeyArn": ("arn:aws:kms:us-east-1:123456789012:key/a",),
            "Key": ("k", "key"),
            "": ("a", "v", "simple", "774F4FF8", "t"),
        }

    def ask(self, name: str, **parameters: Any) -> Any:
        return self.account.perform(name, parameters, region="us-east-1")

    def code_of(self, service: str, name: str, parameters: Any) -> str:
        """Return the code of a refusal, "" for an answer, which can be written."""
        operation = find_operation(service, name)
        try:
            result = self.account.perform(name, parameters, region="us-east-1")
        except RefusedError as error:
            return error.code
        if service == "ec2":
            assert write_xml(operation, result, request_id="r")
        else:
            assert write_rest(operation, result, request_id="r").body is not None
        return ""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with Account(tmp_path_factory.mktemp("catalog"), regions=REGIONS, pending_s=0) as account:
        yield Small(account)


@MANY
@given(st.data())
def test_whatever_ec2s_model_allows_is_answered_or_refused(
    small: Small, data: st.DataObject
) -> None:
    name = data.draw(st.one_of(st.sampled_from(ANSWERED), st.sampled_from(EC2)))
    operation = find_operation("ec2", name)
    assert operation is not None
    shape = operation.input_shape
    parameters = data.draw(values_of(shape, words=small.words)) if shape else {}
    if name in {"DeleteVolume", "DeleteSnapshot", "DeregisterImage"}:
        parameters = {**parameters, "DryRun": True}  # the next example needs it
    code = small.code_of("ec2", name, parameters)
    assert code or name in ACTIONS


@MANY
@given(st.data())
def test_whatever_ebs_directs_model_allows_is_answered_or_refused(
    small: Small, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(EBS))
    operation = find_operation("ebs", name)
    assert operation is not None
    small.code_of("ebs", name, data.draw(values_of(operation.input_shape, words=small.words)))


FIELDS = st.dictionaries(
    st.sampled_from(
        [
            *("ImageId", "ImageId.1", "SnapshotId", "Name", "Filter.1.Name", "Filter.1.Value.1"),
            *("BlockDeviceMapping.1.DeviceName", "BlockDeviceMapping.1.Ebs.SnapshotId", "Owner.1"),
            *("BlockDeviceMapping.1.Ebs.VolumeSize", "TagSpecification.1.ResourceType", "DryRun"),
            *("LaunchPermission.Add.1.UserId", "Attribute", "Value", "MaxResults", "NextToken"),
            *("ResourceId.1", "Tag.1.Key", "Tag.1.Value", "DeprecateAt", "ClientToken", "Size"),
        ]
    ),
    st.one_of(st.text(max_size=20), st.integers().map(str)),
    max_size=6,
)


@MANY
@given(st.sampled_from(ANSWERED), FIELDS)
def test_fields_of_any_kind_are_answered_or_refused(
    small: Small, name: str, fields: dict[str, str]
) -> None:
    try:
        parameters = parse_query(fields, find_operation("ec2", name))
    except RefusedError:
        return
    assert _CODE.fullmatch(small.code_of("ec2", name, parameters))


STEPS = ("snapshots", "blocks", "completion", "changedblocks", "x", "1", "%2e", "")


@MANY
@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    st.lists(st.sampled_from(STEPS), max_size=5),
    st.binary(max_size=40),
    st.dictionaries(
        st.sampled_from(["pageToken", "maxResults", "blockToken", "firstSnapshotId"]),
        st.text(max_size=10),
    ),
)
def test_paths_and_bodies_of_any_kind_are_answered_or_refused(
    small: Small, method: str, steps: list[str], body: bytes, query: dict[str, str]
) -> None:
    route = find_route(method, "/" + "/".join(steps))
    if route is None:
        return
    operation, in_path = route
    headers = {"x-amz-data-length": "5", "x-amz-checksum": "eA==", "x-amz-changedblockscount": "x"}
    try:
        parameters = parse_rest(operation, RestRequest(in_path, query, headers, body))
    except RefusedError:
        return
    assert _CODE.fullmatch(small.code_of("ebs", operation.name, parameters))


@given(st.binary(max_size=200))
def test_json_of_any_kind_is_read_or_refused(body: bytes) -> None:
    operation = find_operation("ebs", "StartSnapshot")
    try:
        parse_rest(operation, RestRequest({}, {}, {}, body))
    except RefusedError as refused:
        assert refused.code in {"SerializationException", "ValidationException"}  # noqa: PT017 (both ways are right)


def test_a_form_of_nothing_names_no_action() -> None:
    assert read_fields(b"") == {}


def test_what_is_in_the_table_is_in_the_models() -> None:
    known = {name for one in ("ec2", "ebs", "rbin") for name in service_model(one).operation_names}
    assert set(ACTIONS) <= known
