"""A body that comes in is written down, and compared with every digest its sender gave."""

import base64
import binascii
import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imgforge.ec2.local.chunked import Chunked, is_chunked
from imgforge.ec2.local.wire import RefusalError, Request, chunks_of

LARGEST_BYTES = 5 * 2**30
_UNSIGNED = {"UNSIGNED-PAYLOAD", ""}
_CHECKSUMS = {"crc32": 4, "sha1": 20, "sha256": 32}
_HEADER = "x-amz-checksum-"
_FOREIGN = {_HEADER + "crc32c", _HEADER + "crc64nvme"}


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
    chunked = Chunked(request) if is_chunked(headers) else None
    size_bytes = chunked.size_bytes if chunked else request.size_bytes
    if size_bytes > LARGEST_BYTES:
        words = "Your proposed upload exceeds the maximum allowed object size."
        raise RefusalError("EntityTooLarge", words)
    wanted = _wanted(headers)
    announced = _announced(headers.get("x-amz-trailer", ""))
    digests = {name: _digest(name) for name in {"md5", *wanted, *announced}}
    if chunked is None and signed not in _UNSIGNED:
        digests["signed"] = hashlib.sha256()
    with path.open("xb") as file:
        for chunk in chunked or chunks_of(request.body, size_bytes):
            file.write(chunk)
            for digest in digests.values():
                digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    if "signed" in digests and digests.pop("signed").digest().hex() != signed:
        raise RefusalError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    found = {name: digest.digest() for name, digest in digests.items()}
    if announced:
        assert chunked is not None
        wanted |= _wanted(chunked.trailers)
        if not set(announced) <= set(wanted):
            raise RefusalError(
                "MalformedTrailerError", "The trailer that was announced is missing."
            )
    for name, digest_bytes in wanted.items():
        if found[name] != digest_bytes:
            said = "Content-MD5" if name == "md5" else name.upper()
            words = f"The {said} you specified did not match what we received."
            raise RefusalError("BadDigest", words)
    sent = {name: base64.b64encode(found[name]).decode() for name in wanted if name != "md5"}
    return Received(size_bytes, found["md5"].hex(), sent)


def _announced(trailer: str) -> list[str]:
    """Return the checksums that are to stand behind the body."""
    names = [name.strip().lower() for name in trailer.split(",") if name.strip()]
    for name in names:
        _refuse_foreign(name)
        if name.removeprefix(_HEADER) not in _CHECKSUMS:
            raise RefusalError("InvalidRequest", f"There is no trailer {name[:64]}.")
    return [name.removeprefix(_HEADER) for name in names]


def _digest(name: str) -> "hashlib._Hash | _Crc32":
    return _Crc32() if name == "crc32" else hashlib.new(name, usedforsecurity=False)


def _wanted(headers: Mapping[str, str]) -> dict[str, bytes]:
    for name in headers:
        _refuse_foreign(name)
    wanted = {}
    if "content-md5" in headers:
        wanted["md5"] = _decoded(headers["content-md5"], 16, "InvalidDigest", "Content-MD5")
    for name, size_bytes in _CHECKSUMS.items():
        header = _HEADER + name
        if header in headers:
            wanted[name] = _decoded(headers[header], size_bytes, "InvalidRequest", header)
    return wanted


def _refuse_foreign(name: str) -> None:
    if name in _FOREIGN:
        raise RefusalError(
            "NotImplemented",
            f"{name} is not compared here: set AWS_REQUEST_CHECKSUM_CALCULATION=when_required.",
            status=501,
        )


def _decoded(text: str, size_bytes: int, code: str, header: str) -> bytes:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != size_bytes:
        raise RefusalError(code, f"The {header} you specified is not valid.")
    return digest
