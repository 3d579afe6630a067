"""The embedded S3, as boto3 and the AWS CLI see it: as strict as AWS's, and it forgets nothing."""

import base64
import hashlib
import http.client
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.bundle_material import noise
from tests.s3_serving import Served, served_s3

MIB = 2**20
AWS = str(Path(sys.executable).parent / "aws")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An endpoint with nothing in it."""
    with served_s3(tmp_path / "s3") as one:
        yield one


def client_of(url: str, region: str = "us-east-1") -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def s3(served: Served) -> Any:
    """A client, and a bucket that takes ACLs."""
    client = client_of(served.url)
    client.create_bucket(Bucket="some-bucket", ObjectOwnership="BucketOwnerPreferred")
    return client


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_an_object_comes_back_with_all_that_was_said_of_it(s3: Any) -> None:
    key = "a folder/é+%2F~ü&<>\n.bin"
    about = {"ContentType": "text/x-y", "Metadata": {"one": "1"}, "CacheControl": "no-store"}
    s3.put_object(Bucket="some-bucket", Key=key, Body=b"0123456789", **about)
    got = s3.get_object(Bucket="some-bucket", Key=key)
    assert got["Body"].read() == b"0123456789"
    assert {name: got[name] for name in about} == about
    assert got["ETag"] == f'"{hashlib.md5(b"0123456789", usedforsecurity=False).hexdigest()}"'
    some = s3.get_object(Bucket="some-bucket", Key=key, Range="bytes=2-4")
    assert (some["Body"].read(), some["ContentRange"]) == (b"234", "bytes 2-4/10")
    assert s3.get_object(Bucket="some-bucket", Key=key, Range="bytes=-3")["Body"].read() == b"789"
    assert s3.head_object(Bucket="some-bucket", Key=key)["ContentLength"] == 10
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="some-bucket")["Contents"]] == [key]
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="some-bucket", Key=key, Range="bytes=10-")
    assert code(caught) == "InvalidRange"


def test_what_is_wrong_is_refused_by_the_names_that_aws_has_for_it(s3: Any, served: Served) -> None:
    good = {"Bucket": "some-bucket", "Key": "k", "Body": b"body"}
    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    sha1 = base64.b64encode(hashlib.sha1(b"other", usedforsecurity=False).digest()).decode()
    s3.create_bucket(Bucket="plain-bucket")
    elsewhere = client_of(served.url, "eu-west-1")
    cases: dict[str, list[Callable[[], object]]] = {
        "BadDigest": [
            lambda: s3.put_object(**good, ContentMD5=wrong),
            lambda: s3.put_object(**good, ChecksumSHA1=sha1),
        ],
        "InvalidDigest": [lambda: s3.put_object(**good, ContentMD5="eA==")],
        "NoSuchBucket": [
            lambda: s3.put_object(**{**good, "Bucket": "no-such-bucket"}),
            lambda: s3.list_objects_v2(Bucket="no-such-bucket"),
            lambda: s3.delete_bucket(Bucket="no-such-bucket"),
        ],
        "NoSuchKey": [lambda: s3.get_object(Bucket="some-bucket", Key="absent")],
        "InvalidBucketName": [
            lambda: s3.create_bucket(Bucket="Capitals"),
            lambda: s3.create_bucket(Bucket="192.168.0.1"),
            lambda: s3.create_bucket(Bucket="a..b"),
        ],
        "KeyTooLongError": [lambda: s3.put_object(**{**good, "Key": "k" * 1025})],
        "AccessControlListNotSupported": [
            lambda: s3.put_object(**{**good, "Bucket": "plain-bucket"}, ACL="aws-exec-read")
        ],
        "InvalidArgument": [lambda: s3.put_object(**good, ACL="everybody")],
        "MetadataTooLarge": [lambda: s3.put_object(**good, Metadata={"a": "b" * 2100})],
        "IllegalLocationConstraintException": [lambda: elsewhere.create_bucket(Bucket="third-one")],
        "BucketAlreadyOwnedByYou": [lambda: _twice(elsewhere)],
        "PreconditionFailed": [
            lambda: s3.put_object(**good),
            lambda: s3.put_object(**good, IfNoneMatch="*"),
        ],
        "BucketNotEmpty": [lambda: s3.delete_bucket(Bucket="some-bucket")],
        "NotImplemented": [lambda: s3.get_bucket_versioning(Bucket="some-bucket")],
        "NoSuchUpload": [
            lambda: s3.list_parts(Bucket="some-bucket", Key="k", UploadId="../../bucket")
        ],
    }
    for expected, calls in cases.items():
        seen = [refusal(call) for call in calls]
        assert seen[-1] == expected
        assert set(seen) <= {expected, ""}


def refusal(call: Callable[[], object]) -> str:
    """Return the code by which a call is refused, "" where it is not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def _twice(client: Any) -> None:
    for _ in range(2):
        client.create_bucket(
            Bucket="far-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )


def test_regions_are_kept_apart_and_a_client_is_sent_where_the_bucket_is(served: Served) -> None:
    there = client_of(served.url, "eu-west-1")
    _make_far(there)
    here = client_of(served.url)
    assert here.get_bucket_location(Bucket="far-bucket")["LocationConstraint"] == "eu-west-1"
    assert here.head_bucket(Bucket="far-bucket")["BucketRegion"] == "eu-west-1"
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"))
    signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, Signature=0"
    connection.request("GET", "/far-bucket", headers={"Authorization": signed})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-amz-bucket-region")) == (301, "eu-west-1")
    assert b"<Code>PermanentRedirect</Code>" in answer.read()


def _make_far(client: Any) -> None:
    where = {"LocationConstraint": "eu-west-1"}
    client.create_bucket(Bucket="far-bucket", CreateBucketConfiguration=where)


def test_acls_grant_what_they_say(s3: Any, served: Served) -> None:
    for acl in ("private", "public-read", "aws-exec-read"):
        s3.put_object(Bucket="some-bucket", Key=acl, Body=b"x", ACL=acl)
    statuses = {}
    for key in ("private", "public-read", "aws-exec-read", "absent"):
        connection = http.client.HTTPConnection(served.url.removeprefix("http://"))
        connection.request("GET", f"/some-bucket/{key}")
        statuses[key] = connection.getresponse().status
    assert statuses == {"private": 403, "public-read": 200, "aws-exec-read": 403, "absent": 403}
    grants = s3.get_object_acl(Bucket="some-bucket", Key="aws-exec-read")["Grants"]
    assert [(one["Grantee"]["ID"][:8], one["Permission"]) for one in grants[1:]] == [
        ("6aa5a366", "READ")
    ]


def test_long_listings_come_in_pages(s3: Any) -> None:
    keys = [f"{folder}/{number:02d}" for folder in "abc" for number in range(7)]
    for key in keys:
        s3.put_object(Bucket="some-bucket", Key=key, Body=b"")
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(
            Bucket="some-bucket", PaginationConfig={"PageSize": 4}
        )
        assert [one["Key"] for page in pages for one in page["Contents"]] == keys
        pages = s3.get_paginator(operation).paginate(
            Bucket="some-bucket", Delimiter="/", PaginationConfig={"PageSize": 2}
        )
        found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())]
        assert found == ["a/", "b/", "c/"]
    told = s3.delete_objects(
        Bucket="some-bucket", Delete={"Objects": [{"Key": key} for key in keys[:20]]}
    )
    assert len(told["Deleted"]) == 20
    assert s3.list_objects_v2(Bucket="some-bucket")["KeyCount"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"\xff\xfe<",
        b"<Delete></Delete>",
        b'<!DOCTYPE d [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        b"<Delete>" * 5000,
        b"<Delete><Object><Key>k</Key><Key>l</Key></Object></Delete>",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
        b"x" * (3 * MIB),
    ],
)
def test_hostile_xml_is_refused_and_the_endpoint_lives(
    s3: Any, served: Served, body: bytes
) -> None:
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"))
    signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, Signature=0"
    connection.request("POST", "/some-bucket?delete", body, {"Authorization": signed})
    answer = connection.getresponse()
    assert answer.status == 400
    assert b"<Error><Code>M" in answer.read()
    assert s3.list_objects_v2(Bucket="some-bucket")["KeyCount"] == 0


def test_what_is_written_in_parts_is_one_object(s3: Any) -> None:
    pieces = [noise(5 * MIB, seed=1), noise(5 * MIB, seed=2), b"end"]
    wish = {"Bucket": "some-bucket", "Key": "large"}
    upload = s3.create_multipart_upload(**wish, ACL="aws-exec-read")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**wish, UploadId=upload, PartNumber=number, Body=piece)["ETag"],
        }
        for number, piece in enumerate(pieces, 1)
    ]
    assert len(s3.list_parts(**wish, UploadId=upload)["Parts"]) == 3
    assert [one["Key"] for one in s3.list_multipart_uploads(Bucket="some-bucket")["Uploads"]] == [
        "large"
    ]
    for bad, expected in (
        (parts[::-1], "InvalidPartOrder"),
        ([{**parts[0], "ETag": '"0"'}], "InvalidPart"),
        ([parts[0], parts[2], {**parts[2], "PartNumber": 4}], "InvalidPart"),
    ):
        with pytest.raises(ClientError) as caught:
            s3.complete_multipart_upload(**wish, UploadId=upload, MultipartUpload={"Parts": bad})
        assert code(caught) in {expected, "EntityTooSmall"}
    done = s3.complete_multipart_upload(**wish, UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-3"')
    assert s3.get_object(**wish)["Body"].read() == b"".join(pieces)
    with pytest.raises(ClientError) as caught:
        s3.abort_multipart_upload(**wish, UploadId=upload)
    assert code(caught) == "NoSuchUpload"


def test_it_remembers_when_it_is_started_again(s3: Any, served: Served, tmp_path: Path) -> None:
    s3.put_object(Bucket="some-bucket", Key="k", Body=b"one")
    s3.put_object(Bucket="some-bucket", Key="k", Body=b"two", ACL="aws-exec-read")
    with served_s3(tmp_path / "s3") as again:
        other = client_of(again.url)
        assert other.get_object(Bucket="some-bucket", Key="k")["Body"].read() == b"two"
        other.put_object(Bucket="some-bucket", Key="k", Body=b"three")
    assert s3.get_object(Bucket="some-bucket", Key="k")["Body"].read() == b"three"
    left = list((tmp_path / "s3" / "buckets").rglob("*.blob"))
    assert len(left) == 1


def run_aws(served: Served, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return subprocess.run(
        [sys.executable, AWS, "--endpoint-url", served.url, *arguments],
        env={**clean, **keys, "HOME": str(home), "AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_aws_cli_does_its_work_here(served: Served, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(noise(9 * MIB))  # in parts, beyond 8 MiB
    (tmp_path / "small").write_bytes(b"small")

    def aws(*arguments: str) -> str:
        done = run_aws(served, *arguments, home=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    aws("s3", "mb", "s3://some-bucket")
    aws("s3", "cp", str(tmp_path / "large"), "s3://some-bucket/a/large")
    aws("s3", "cp", str(tmp_path / "small"), "s3://some-bucket/a/small")
    assert [line.split()[2:] for line in aws("s3", "ls", "s3://some-bucket/a/").splitlines()] == [
        [str(9 * MIB), "large"],
        ["5", "small"],
    ]
    aws("s3", "cp", "s3://some-bucket/a/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    aws("s3", "mv", "s3://some-bucket/a/small", "s3://some-bucket/b")
    aws("s3", "rb", "--force", "s3://some-bucket")
    refused = run_aws(served, "s3", "ls", "s3://some-bucket", home=tmp_path)
    assert "NoSuchBucket" in refused.stderr
