"""Requests of any kind: the embedded S3 answers or refuses, and never fails."""

import io
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgforge.ec2.local.s3 import S3
from imgforge.ec2.local.wire import read_request

METHODS = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "x"])
NAMES = st.sampled_from(["good-bucket", "k", "a/b", "..", "", "%", "%00", "%2F", "+", "\x7f"])
QUERIES = st.sampled_from(
    [
        "acl",
        "uploads",
        "uploadId",
        "partNumber",
        "delete",
        "location",
        "list-type",
        "prefix",
        "delimiter",
        "marker",
        "max-keys",
        "continuation-token",
        "start-after",
        "encoding-type",
        "versionId",
        "ownershipControls",
        "x-id",
        "tagging",
        "response-content-type",
        "X-Amz-Credential",
    ]
)
HEADERS = st.sampled_from(
    [
        "x_amz_acl",
        "x_amz_copy_source",
        "range",
        "if_match",
        "if_none_match",
        "content_md5",
        "x_amz_meta_a",
        "x_amz_object_ownership",
        "x_amz_content_sha256",
        "x_amz_decoded_content_length",
        "x_amz_trailer",
        "content_encoding",
        "x_amz_checksum_sha1",
        "x_amz_grant_read",
        "x_amz_checksum_mode",
        "expires",
        "if_modified_since",
        "x_amz_object_lock_retain_until_date",
        "x_amz_metadata_directive",
        "host",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            "", "0", "-1", "2", "9" * 30, "private", "aws-exec-read", "/good-bucket/k", "bytes=0-",
            "bytes=9-1", "*", "COPY", "REPLACE", "ENABLED", "url", "aws-chunked", "true", "1e3",
            "BucketOwnerPreferred", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "UNSIGNED-PAYLOAD",
            "x-amz-checksum-crc32", "Mon, 23 Nov 2026 15:00:00 GMT", "2026-11-23", "b.localhost:80",
        ]
    ),
    st.text(max_size=20),
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"<Delete><Object><Key>k</Key></Object></Delete>",
            b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>"
            b"</CreateBucketConfiguration>",
            b"<OwnershipControls><Rule/></OwnershipControls>",
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part>"
            b"</CompleteMultipartUpload>",
            b"5\r\nhello\r\n0\r\n\r\n",
        ]
    ),
)
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/s3/aws4_request, Signature=0"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> S3:
    """A service with a bucket that has an object."""
    service = S3(tmp_path_factory.mktemp("s3"))
    for path in ("/good-bucket", "/good-bucket/k"):
        assert ask(service, "PUT", path, {}, {}, b"body" if path.endswith("k") else b"") == 200
    return service


def ask(
    service: S3,
    method: str,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    *,
    signed: bool = True,
) -> int:
    environ = {f"HTTP_{name.upper()}": text for name, text in headers.items()}
    if signed:
        environ["HTTP_AUTHORIZATION"] = SIGNED
    request = read_request(
        {
            **environ,
            "REQUEST_METHOD": method,
            "REQUEST_URI": f"{path}?{urlencode(query, errors='replace')}",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
    )
    response = service.respond(request)
    content = b"".join(response.body)
    assert response.size_bytes is not None
    assert method == "HEAD" or len(content) == response.size_bytes
    for name, text in response.headers.items():
        assert "\n" not in name + text
        assert "\r" not in name + text
    return response.status


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    METHODS,
    st.lists(NAMES, max_size=3),
    st.dictionaries(QUERIES, VALUES, max_size=3),
    st.dictionaries(HEADERS, VALUES, max_size=3),
    BODIES,
    st.booleans(),
)
def test_no_request_makes_it_fail(
    s3: S3,
    method: str,
    names: list[str],
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    signed: bool,
) -> None:
    path = "/" + "/".join(quote(name, safe="%/+") for name in names)
    status = ask(s3, method, path, query, headers, body, signed=signed)
    assert status < 500 or status == 501
