"""Bodies that come to S3 in chunks, and with their digests, are compared or refused."""

import base64
import contextlib
import hashlib
import io
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgforge.ec2.local.chunked import Chunked
from imgforge.ec2.local.receiving import receive
from imgforge.ec2.local.wire import RefusalError, Request

DATA = b"0123456789" * 1000
CRC = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
STREAM = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "content-encoding": "aws-chunked",
    "x-amz-decoded-content-length": str(len(DATA)),
}


def request(body: bytes, headers: Mapping[str, str]) -> Request:
    return Request("PUT", "/b/k", {}, headers, io.BytesIO(body), len(body), None)


def in_chunks(data: bytes, *, size: int = 3000, head: str = "", trailer: str = "") -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    text = b"".join(b"%x%s\r\n%s\r\n" % (len(one), head.encode(), one) for one in pieces)
    return text + b"0%s\r\n%s\r\n" % (head.encode(), trailer.encode())


@pytest.mark.parametrize("head", ["", ";chunk-signature=" + "0" * 64])
def test_chunks_become_what_is_in_them(tmp_path: Path, head: str) -> None:
    trailer = f"x-amz-checksum-crc32:{CRC}\r\nx-amz-trailer-signature:{'0' * 64}\r\n"
    body = in_chunks(DATA, head=head, trailer=trailer)
    headers = {**STREAM, "x-amz-trailer": "x-amz-checksum-crc32"}
    received = receive(request(body, headers), tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == DATA
    assert received.size_bytes == len(DATA)
    assert received.md5 == hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert received.checksums == {"crc32": CRC}


@pytest.mark.parametrize(
    ("body", "more", "code"),
    [
        (in_chunks(DATA)[:-20], {}, "IncompleteBody"),
        (in_chunks(DATA[:-1]), {}, "IncompleteBody"),
        (in_chunks(DATA + b"x"), {}, "IncompleteBody"),
        (b"", {}, "IncompleteBody"),
        (DATA, {}, "InvalidRequest"),
        (b"-1\r\n", {}, "InvalidRequest"),
        (b"zz\r\n", {}, "InvalidRequest"),
        (b"f" * 17 + b"\r\n", {}, "InvalidRequest"),
        (b"ffffffffffffffff\r\n", {}, "IncompleteBody"),
        (in_chunks(DATA).replace(b"\r\nbb8", b"xxbb8"), {}, "InvalidRequest"),
        (in_chunks(DATA), {"x-amz-decoded-content-length": "many"}, "MissingContentLength"),
        (in_chunks(DATA), {"x-amz-decoded-content-length": "9" * 12}, "EntityTooLarge"),
        (in_chunks(DATA), {"x-amz-trailer": "x-amz-checksum-crc32"}, "MalformedTrailerError"),
        (in_chunks(DATA), {"x-amz-trailer": "content-type"}, "InvalidRequest"),
        (in_chunks(DATA), {"x-amz-trailer": "x-amz-checksum-crc64nvme"}, "NotImplemented"),
        (
            in_chunks(DATA, trailer="x-amz-checksum-crc32:AAAAAA==\r\n"),
            {"x-amz-trailer": "x-amz-checksum-crc32"},
            "BadDigest",
        ),
        (in_chunks(DATA, trailer="no trailer\r\n"), {}, "InvalidRequest"),
    ],
)
def test_chunks_that_are_none_are_refused(
    tmp_path: Path, body: bytes, more: dict[str, str], code: str
) -> None:
    with pytest.raises(RefusalError) as caught:
        receive(request(body, {**STREAM, **more}), tmp_path / "new")
    assert caught.value.code == code


@given(st.binary(max_size=300))
def test_any_bytes_are_chunks_or_refused(body: bytes) -> None:
    with contextlib.suppress(RefusalError):
        found = b"".join(Chunked(request(body, {"x-amz-decoded-content-length": "5"})))
        assert len(found) == 5


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-content-sha256": "0" * 64}, "XAmzContentSHA256Mismatch"),
        ({"content-md5": "x"}, "InvalidDigest"),
        ({"content-md5": base64.b64encode(bytes(16)).decode()}, "BadDigest"),
        ({"x-amz-checksum-sha1": base64.b64encode(bytes(20)).decode()}, "BadDigest"),
        ({"x-amz-checksum-sha256": "short"}, "InvalidRequest"),
        ({"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}, "NotImplemented"),
    ],
)
def test_a_digest_that_is_not_the_bodys_is_refused(
    tmp_path: Path, headers: dict[str, str], code: str
) -> None:
    with pytest.raises(RefusalError) as caught:
        receive(request(DATA, headers), tmp_path / "new")
    assert caught.value.code == code


def test_a_body_that_ends_early_is_refused(tmp_path: Path) -> None:
    short = Request("PUT", "/b/k", {}, {}, io.BytesIO(DATA), len(DATA) + 1, None)
    with pytest.raises(RefusalError, match="shorter than its Content-Length"):
        receive(short, tmp_path / "new")
