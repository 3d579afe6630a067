"""Names, descriptions, tags and keys in every script and length: client and endpoint agree.

What an endpoint takes it gives back to the letter; what it refuses the client refuses before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imgforge.bucket_name import bucket_name_problem, key_problem
from imgforge.catalog import CopyWish, ImageFacts, Severity, check_copy
from imgforge.errors import BadInputError
from imgforge.made_tags import check_key, no_request_carries, parse_tags
from tests.serving import ACCOUNT, Serving, make_snapshot, register

REGION, ELSEWHERE = "us-east-1", "eu-west-1"
# Letters of every script, marks that combine, emoji, directions; no halves of a pair (Cs), which no
# request can carry.
ANY = st.characters(codec="utf-8")
SHOWN = st.characters(codec="utf-8", exclude_categories=["Cc"])
ENDS = st.sampled_from(["", "x", "xy", "x" * 128, "x" * 129, "x" * 255, "x" * 256, "x" * 300])
PLAIN = "abcxyzABC019()[] ./-'@_"
NAMES = st.one_of(
    st.text(PLAIN, max_size=140),
    st.text(ANY, max_size=40),
    st.builds("{}{}".format, ENDS, st.text()),
)
TEXTS = st.one_of(
    st.text(ANY, max_size=60), st.builds("{}{}".format, ENDS, st.text(ANY, max_size=3))
)
quick = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@dataclass(frozen=True)
class World:
    """An endpoint with an image and its snapshot."""

    ec2: Any
    elsewhere: Any
    s3: Any
    ebs: Any
    image_id: str
    snapshot_id: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as serving:
        ec2 = serving.client(region=REGION)
        snapshot_id = make_snapshot(ec2)
        yield World(
            ec2,
            serving.client(region=ELSEWHERE),
            serving.client("s3", region=REGION),
            serving.client("ebs", region=REGION),
            register(ec2, "the image", snapshot_id),
            snapshot_id,
        )


def code_of(call: Any, **asked: Any) -> str:
    """Return the code of a refusal, "" for none; it is the request's fault, not the endpoint's."""
    try:
        call(**asked)
    except ClientError as error:
        refusal = error.response
    else:
        return ""
    assert refusal["ResponseMetadata"]["HTTPStatusCode"] < 500, refusal
    return str(refusal["Error"]["Code"])


@quick
@given(name=NAMES, description=TEXTS)
@example(name="abc", description="")
@example(name="a" * 128, description="й" * 255)
@example(name="a" * 128, description="🐧" * 255)
def test_a_copys_name_and_description(world: World, name: str, description: str) -> None:
    wish = CopyWish(name, ELSEWHERE, ACCOUNT, description=description)
    source = ImageFacts(world.image_id, ACCOUNT, REGION)
    refused = [one for one in check_copy(source, wish) if one.severity is Severity.REFUSED]
    asked = {"Name": name, "SourceImageId": world.image_id, "SourceRegion": REGION}
    code = code_of(world.elsewhere.copy_image, **asked, Description=description, DryRun=True)
    if no_request_carries(name + description):  # refused before anything else is looked at
        assert (code, bool(refused)) == ("InvalidParameterValue", True)
    else:
        assert code == (refused[0].code if refused else "DryRunOperation")


@quick
@given(name=NAMES, description=TEXTS)
def test_an_instances_image_is_refused_in_words(world: World, name: str, description: str) -> None:
    asked = {"InstanceId": "i-0123456789abcdef0", "Name": name, "Description": description}
    assert code_of(world.ec2.create_image, **asked) in {
        "InvalidAMIName.Malformed",
        "InvalidParameterValue",
        "InvalidInstanceID.NotFound",
    }


@quick
@given(key=st.one_of(TEXTS, st.sampled_from(["aws:x", "AWS:x", "k", "k" * 128])), value=TEXTS)
@example(key="k" * 128, value="v" * 256)
@example(key="ключ", value="значение = 1")
@example(key="k", value="a\tb")
@example(key="k\x01", value="")
@example(key="k", value="\ufffe")
def test_a_tag(world: World, key: str, value: str) -> None:
    if set(key + value) & set("\n\r"):  # EC2 takes them, on a command line they are a slip
        return
    is_refused = False
    try:
        check_key(key)
        if "=" not in key:  # on a command line the first one ends the key
            assert parse_tags([f"{key}={value}"]) == {key: value}
        else:
            is_refused = len(value) > 256 or bool(no_request_carries(value))
    except BadInputError:
        is_refused = True
    tag = {"Key": key, "Value": value}
    code = code_of(world.ec2.create_tags, Resources=[world.image_id], Tags=[tag])
    assert bool(code) is is_refused, code
    [image] = world.ec2.describe_images(ImageIds=[world.image_id])["Images"]
    if not code:
        assert tag in image["Tags"]
        wanted = [
            {
                "Name": "key",
                "Values": [key.replace("\\", r"\\").replace("*", r"\*").replace("?", r"\?")],
            }
        ]
        assert tag in [
            {"Key": one["Key"], "Value": one["Value"]}
            for one in world.ec2.describe_tags(Filters=wanted)["Tags"]
        ]
        world.ec2.delete_tags(Resources=[world.image_id], Tags=[{"Key": key}])


@quick
@given(text=TEXTS)
@example(text="x" * 255)
@example(text="名" * 255)
@example(text="a\x00b")
@example(text="\ufffe")
def test_a_description_is_given_back_to_the_letter(world: World, text: str) -> None:
    """Of an image that is there, of a snapshot by EC2 and by EBS direct, of a copy."""
    modify = world.ec2.modify_image_attribute
    codes = {code_of(modify, ImageId=world.image_id, Description={"Value": text})}
    asked = {"ImageId": world.image_id, "Attribute": "description"}
    if codes == {""}:
        shown = world.ec2.describe_image_attribute(**asked)["Description"]
        assert shown.get("Value", "") == text
    copied = {"SourceSnapshotId": world.snapshot_id, "SourceRegion": REGION, "Description": text}
    codes.add(
        code_of(world.ec2.copy_snapshot, **copied, DryRun=True).replace("DryRunOperation", "")
    )
    assert len(codes) == 1, codes
    if text:
        started = code_of(world.ebs.start_snapshot, VolumeSize=1, Description=text)
        assert bool(started) is bool(codes.pop())


@quick
@given(
    name=st.one_of(
        st.text("abcz019.-", min_size=2, max_size=64),
        st.text(SHOWN, max_size=10),
        st.sampled_from(["x" * 63, "x" * 64, "a..b", "192.168.0.1", "xn--a", "a-s3alias", "A-b"]),
    )
)
def test_a_buckets_name(world: World, name: str) -> None:
    if not name or "/" in name or name in {".", ".."}:  # another path than a bucket's
        return
    try:
        code = code_of(world.s3.create_bucket, Bucket=name)
    except ParamValidationError:  # boto3's own rules, before it asks
        code = "by boto3"
    assert bool(code) is bool(bucket_name_problem(name)), (name, code)
    if not code:
        world.s3.delete_bucket(Bucket=name)


@quick
@given(
    key=st.one_of(
        st.text(SHOWN, min_size=1, max_size=40),
        st.sampled_from(
            [
                "k" * 1024,
                "k" * 1025,
                "й" * 512,
                "й" * 513,
                "a//b",
                "/a",
                "a/",
                " a ",
                "a+b%20c",
                "a&b<c>",
            ]
        ),
    )
)
@example(key="a/../b")
@example(key="..")
def test_an_objects_key(world: World, key: str) -> None:
    bucket = "of-names"
    code_of(world.s3.create_bucket, Bucket=bucket)
    code = code_of(world.s3.put_object, Bucket=bucket, Key=key, Body=key.encode())
    assert bool(code) is bool(key_problem(key)), code
    if not code:
        assert world.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        listed = world.s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        assert key in [one["Key"] for one in listed]
        world.s3.delete_object(Bucket=bucket, Key=key)
