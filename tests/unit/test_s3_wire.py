"""Requests of S3 become calls and answers XML, by botocore's model, whatever comes."""

import contextlib
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgforge.ec2.local.listing import paginate
from imgforge.ec2.local.rest_xml import find_call
from imgforge.ec2.local.routes import load_service, routes_of
from imgforge.ec2.local.s3_objects import _span
from imgforge.ec2.local.wire import Caller, RefusalError, Request, read_request
from imgforge.ec2.local.xml_wire import document, read_document

S3 = load_service("s3")
ROUTES = routes_of(S3, frozenset({"ListBuckets", "PutObject", "GetObject"}))


def request(method: str, target: str, **headers: str) -> Request:
    environ = {f"HTTP_{name.upper()}": text for name, text in headers.items()}
    return read_request(
        {"REQUEST_METHOD": method, "REQUEST_URI": target, "wsgi.input": io.BytesIO(), **environ}
    )


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation"),
    [
        ("GET", "/", {}, "ListBuckets"),
        ("GET", "/b", {}, "ListObjects"),
        ("GET", "/b/", {}, "ListObjects"),
        ("GET", "/b?list-type=2&prefix=a%2Fb", {}, "ListObjectsV2"),
        ("GET", "/b?location", {}, "GetBucketLocation"),
        ("GET", "/b?versioning", {}, "GetBucketVersioning"),
        ("HEAD", "/b", {}, "HeadBucket"),
        ("PUT", "/b/k", {}, "PutObject"),
        ("PUT", "/b/k?acl", {}, "PutObjectAcl"),
        ("PUT", "/b/k", {"x_amz_copy_source": "/c/d"}, "CopyObject"),
        ("PUT", "/b/k?partNumber=1&uploadId=x", {}, "UploadPart"),
        ("GET", "/b/a/k%2Fx", {}, "GetObject"),
        ("POST", "/b/k?uploads", {}, "CreateMultipartUpload"),
        ("POST", "/b/k?uploadId=x", {}, "CompleteMultipartUpload"),
        ("DELETE", "/b/k?uploadId=x", {}, "AbortMultipartUpload"),
        ("DELETE", "/b/k", {}, "DeleteObject"),
        ("DELETE", "/b?delete", {}, "DeleteBucket"),
    ],
)
def test_each_request_is_the_operation_it_asks_for(
    method: str, target: str, headers: dict[str, str], operation: str
) -> None:
    asked = request(method, target, **headers)
    found = find_call(ROUTES, asked, path=asked.path).operation.name
    assert found == operation


def test_a_call_has_its_values_from_path_query_and_headers() -> None:
    asked = request("GET", "/b/a%2Bb/%C3%BC?partNumber=3", range="bytes=0-1")
    values = find_call(ROUTES, asked, path=asked.path).values
    assert values == {"Bucket": "b", "Key": "a+b/ü", "PartNumber": 3, "Range": "bytes=0-1"}


@pytest.mark.parametrize("target", ["/b/k?partNumber=many", "/b/k?partNumber=1.5"])
def test_a_value_that_is_none_is_refused(target: str) -> None:
    asked = request("GET", target)
    with pytest.raises(RefusalError, match="Not a integer"):
        find_call(ROUTES, asked, path=asked.path)


def test_the_caller_is_read_from_the_signature() -> None:
    scope = "AKIA/20261123/eu-west-1/s3/aws4_request"
    signed = request("GET", "/", authorization=f"AWS4-HMAC-SHA256 Credential={scope}, Signature=0")
    assert signed.caller == Caller("AKIA", "eu-west-1", "s3")
    quoted = scope.replace("/", "%2F")
    assert request("GET", f"/?X-Amz-Credential={quoted}").caller == signed.caller
    for nobody in ("", "Basic dTpw", "AWS AKIA:signature", "Credential=a/b/c", "Credential=/" * 99):
        assert request("GET", "/", authorization=nobody).caller is None


def test_values_become_xml_and_xml_values() -> None:
    shape = S3.operation_model("ListObjectsV2").output_shape
    assert shape is not None
    moment = datetime(2026, 11, 23, 15, tzinfo=UTC)
    value = {
        "IsTruncated": False,
        "Contents": [{"Key": "a<&>\"'ü", "Size": 7, "LastModified": moment}],
        "CommonPrefixes": [{"Prefix": "a/"}, {"Prefix": "b/"}],
    }
    text = document(shape, value, root="ListBucketResult", namespace="x:y")
    assert b'<ListBucketResult xmlns="x:y">' in text
    assert read_document(text, shape) == value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<",
        b"\xff" * 9,
        b"<a></b>",
        b"<a>" * 100_000,
        b"<a/>" * 2,
        b'<!DOCTYPE a [<!ENTITY b "c">]><Delete/>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Delete/>',
        b'<?xml version="1.0" encoding="no-such"?><Delete/>',
    ],
)
def test_hostile_xml_is_refused(content: bytes) -> None:
    shape = S3.operation_model("DeleteObjects").input_shape
    assert shape is not None
    with pytest.raises(RefusalError) as caught:
        read_document(content, shape.members["Delete"])
    assert caught.value.code == "MalformedXML"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(content: bytes) -> None:
    shape = S3.operation_model("CompleteMultipartUpload").input_shape
    assert shape is not None
    with contextlib.suppress(RefusalError):
        read_document(content, shape.members["MultipartUpload"])


@given(
    st.sets(st.text("ab/", min_size=1, max_size=5)),
    st.sampled_from(["", "a", "a/"]),
    st.sampled_from(["", "/"]),
    st.integers(1, 4),
)
def test_pages_together_are_the_whole_listing(
    keys: set[str], prefix: str, delimiter: str, most: int
) -> None:
    ordered = sorted(keys, key=str.encode)
    whole = paginate(ordered, prefix=prefix, delimiter=delimiter, after="", most=10**9)
    found: list[str] = []
    prefixes: list[str] = []
    after: str | None = ""
    while after is not None:
        page = paginate(ordered, prefix=prefix, delimiter=delimiter, after=after, most=most)
        assert len(page.keys) + len(page.prefixes) <= most
        found += page.keys
        prefixes += page.prefixes
        after = page.last
    assert (tuple(found), tuple(prefixes)) == (whole.keys, whole.prefixes)
    if not delimiter:
        assert found == [key for key in ordered if key.startswith(prefix)]


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("", (0, 10)),
        ("bytes=0-0", (0, 1)),
        ("bytes=3-", (3, 10)),
        ("bytes=3-99", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=5-4", (0, 10)),
        ("bytes=0-1,3-4", (0, 10)),
        ("lines=0-1", (0, 10)),
        ("bytes=-", (0, 10)),
    ],
)
def test_a_range_is_a_span_of_bytes(header: str, span: tuple[int, int]) -> None:
    assert _span(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(RefusalError, match="not satisfiable"):
        _span(header, 10)
