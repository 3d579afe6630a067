"""A body that comes in is written down, and compared with every digest its sender gave."""

import base64
import binascii
import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imgforge.ec2.local.wire import RefusalError, Request, chunks_of

LARGEST_BYTES = 5 * 2**30
_UNSIGNED = {"UNSIGNED-PAYLOAD", ""}
_CHECKSUMS = {"crc32": 4, "sha1": 20, "sha256": 32}
_FOREIGN = ("crc32c", "crc64nvme")


@dataclass(frozen=True, slots=True)
class Received:
    """A body as it was written down."""

    size_bytes: int
    md5: str
    checksums: Mapping[str, str]
    """Those that were sent with it, in base64 by name: crc32, sha1, sha256."""


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, chunk: bytes) -> None:
        self._value = zlib.crc32(chunk, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def receive(request: Request, path: Path) -> Received:
    """Write a request's body as a file, on the disk when this returns.

    Raises RefusalError: MissingContentLength, EntityTooLarge, InvalidDigest, BadDigest,
    IncompleteBody, InvalidRequest, XAmzContentSHA256Mismatch.
    """
    headers = request.headers
    signed = headers.get("x-amz-content-sha256", "")
    if signed.startswith("STREAMING-") or "aws-chunked" in headers.get("content-encoding", ""):
        raise RefusalError(
            "NotImplemented", "Bodies in signed chunks are not taken here.", status=501
        )
    if request.size_bytes > LARGEST_BYTES:
        words = "Your proposed upload exceeds the maximum allowed object size."
        raise RefusalError("EntityTooLarge", words)
    wanted = _wanted(headers)
    md5 = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256()
    is_signed = signed not in _UNSIGNED
    others = {name: _digest(name) for name in wanted if name != "md5"}
    with path.open("xb") as file:
        for chunk in chunks_of(request.body, request.size_bytes):
            file.write(chunk)
            md5.update(chunk)
            if is_signed:
                sha256.update(chunk)
            for other in others.values():
                other.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    if is_signed and sha256.hexdigest() != signed:
        raise RefusalError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    found = {"md5": md5.digest(), **{name: other.digest() for name, other in others.items()}}
    for name, digest in wanted.items():
        if found[name] != digest:
            said = "Content-MD5" if name == "md5" else name.upper()
            words = f"The {said} you specified did not match what we received."
            raise RefusalError("BadDigest", words)
    checksums = {name: base64.b64encode(found[name]).decode() for name in others}
    return Received(request.size_bytes, md5.hexdigest(), checksums)


def _digest(name: str) -> "hashlib._Hash | _Crc32":
    return _Crc32() if name == "crc32" else hashlib.new(name, usedforsecurity=False)


def _wanted(headers: Mapping[str, str]) -> dict[str, bytes]:
    for name in _FOREIGN:
        if f"x-amz-checksum-{name}" in headers:
            raise RefusalError("NotImplemented", f"{name} is not compared here.", status=501)
    wanted = {}
    if "content-md5" in headers:
        wanted["md5"] = _decoded(headers["content-md5"], 16, "InvalidDigest", "Content-MD5")
    for name, size_bytes in _CHECKSUMS.items():
        header = f"x-amz-checksum-{name}"
        if header in headers:
            wanted[name] = _decoded(headers[header], size_bytes, "InvalidRequest", header)
    return wanted


def _decoded(text: str, size_bytes: int, code: str, header: str) -> bytes:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != size_bytes:
        raise RefusalError(code, f"The {header} you specified is not valid.")
    return digest
