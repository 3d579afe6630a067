"""S3 as bundles use it: whole objects, sent and fetched with digests at both ends."""

import base64
import hashlib
import io
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from botocore import exceptions as boto

from imgforge.ec2.endpoint import FIRST_REGION
from imgforge.ec2.problem import error_code, explain, explained, no_s3
from imgforge.errors import CloudError

_CHUNK_BYTES = 2**18
_PROGRESS_BYTES = 2**16
_LONGEST_PAUSE_S = 10.0
_ABSENT = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_DENIED = {"403", "AccessDenied"}
# The bytes that arrived were not those that were sent, or too few of them came.
_DAMAGED = {
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
    "RequestTimeout",
}
_CUT = (
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    boto.ReadTimeoutError,
    boto.ConnectionError,
    boto.HTTPClientError,
)


_NO_ACLS = "BucketOwnerEnforced"


class CannedAcl(StrEnum):
    """S3's canned ACLs that objects can have; aws-exec-read lets EC2 read a bundle."""

    AWS_EXEC_READ = "aws-exec-read"
    PRIVATE = "private"
    PUBLIC_READ = "public-read"
    AUTHENTICATED_READ = "authenticated-read"
    BUCKET_OWNER_READ = "bucket-owner-read"
    BUCKET_OWNER_FULL_CONTROL = "bucket-owner-full-control"


@dataclass(frozen=True, slots=True)
class Content:
    """What an object has to hold: digests of raw bytes, and how many there are."""

    size_bytes: int
    md5: bytes
    sha1: bytes


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is there; its ETag mostly is its MD5 in hex."""

    key: str
    size_bytes: int
    etag: str
    modified: datetime | None = None


class Storage:
    """The buckets of a region. Its methods may be called from several threads."""

    def __init__(self, client: Any, *, region: str, attempts: int) -> None:
        self._client = client
        self._attempts = attempts
        self._wait = threading.Event().wait
        self.region = region

    def list_buckets(self) -> list[str]:
        """Return the account's buckets, of all regions. Raises CloudError (AccessDenied)."""
        with explained("Buckets"):
            told = self._client.list_buckets()
        return sorted(str(one.get("Name", "")) for one in told.get("Buckets", ()))

    def find_bucket(self, bucket: str) -> str | None:
        """Return a bucket's region, None where there is no such bucket."""
        with explained(f"Bucket {bucket}"):
            try:
                told = self._client.head_bucket(Bucket=bucket)
            except boto.ClientError as error:
                headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                if error_code(error) in _ABSENT:
                    return None
                elsewhere = headers.get("x-amz-bucket-region")
                if elsewhere and elsewhere != self.region:
                    return str(elsewhere)
                # HEAD says a number and no word: what is asked for with GET tells why.
                self._client.get_bucket_location(Bucket=bucket)
                raise
            headers = told["ResponseMetadata"]["HTTPHeaders"]
            region = told.get("BucketRegion") or headers.get("x-amz-bucket-region")
            return str(region or self._located(bucket))

    def takes_acls(self, bucket: str) -> bool:
        """Tell whether objects there may have ACLs; yes, too, for who may not ask."""
        with explained(f"Bucket {bucket}"):
            try:
                told = self._client.get_bucket_ownership_controls(Bucket=bucket)
            except boto.ClientError:  # a bucket without such controls takes ACLs
                return True
            rules = told["OwnershipControls"]["Rules"]
            return all(one["ObjectOwnership"] != _NO_ACLS for one in rules)

    def _located(self, bucket: str) -> str:
        """Ask where a bucket is; who may not ask takes it to be here."""
        try:
            told = self._client.get_bucket_location(Bucket=bucket)
        except boto.ClientError:
            return self.region
        return str(told.get("LocationConstraint") or FIRST_REGION)

    def make_bucket(self, bucket: str, *, region: str) -> None:
        """Make a bucket that takes ACLs, which new ones do not by themselves."""
        wish: dict[str, Any] = {"Bucket": bucket, "ObjectOwnership": "BucketOwnerPreferred"}
        if region != FIRST_REGION:
            wish["CreateBucketConfiguration"] = {"LocationConstraint": region}
        with explained(f"Bucket {bucket}"):
            try:
                self._client.create_bucket(**wish)
            except boto.ClientError as error:
                if error_code(error) != "BucketAlreadyOwnedByYou":  # somebody was faster
                    raise

    def delete_bucket(self, bucket: str) -> bool:
        """Delete an empty bucket; tell whether it is gone, or has something in it."""
        with explained(f"Bucket {bucket}"):
            try:
                self._client.delete_bucket(Bucket=bucket)
            except boto.ClientError as error:
                if error_code(error) == "BucketNotEmpty":
                    return False
                if error_code(error) not in _ABSENT:
                    raise
        return True

    def list_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose keys begin so. Raises CloudError (NoSuchBucket, AccessDenied)."""
        with explained(f"Bucket {bucket}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                if "IsTruncated" not in page:
                    raise no_s3(f"Bucket {bucket}", "what is no list of objects")
                for one in page.get("Contents", ()):
                    if "Key" not in one or "Size" not in one:
                        raise no_s3(f"Bucket {bucket}", "an object without a key or a size")
                    yield StoredObject(one["Key"], one["Size"], _etag(one), one.get("LastModified"))

    def holds(self, bucket: str, key: str, content: Content) -> bool:
        """Tell whether an object is there with this content, as far as S3 knows digests of it."""
        with explained(f"Object s3://{bucket}/{key}"):
            try:
                told = self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
            except boto.ClientError as error:
                if error_code(error) in _ABSENT | _DENIED:  # without s3:ListBucket it is a 403
                    return False
                raise
        if told.get("ContentLength") != content.size_bytes:
            return False
        if checksum := told.get("ChecksumSHA1"):
            return bool(checksum == _base64(content.sha1))
        return _etag(told) == content.md5.hex()

    def set_acl(self, bucket: str, key: str, acl: CannedAcl) -> None:
        """Give an object a canned ACL."""
        with explained(f"Object s3://{bucket}/{key}"):
            self._client.put_object_acl(Bucket=bucket, Key=key, ACL=acl.value)

    def put(
        self,
        bucket: str,
        key: str,
        body: io.IOBase,
        *,
        content: Content,
        acl: CannedAcl,
        content_type: str = "application/octet-stream",
    ) -> None:
        """Send an object. S3 takes it only where its MD5 and SHA-1 are those of `content`.

        What was damaged on its way is sent again. Raises CloudError, HostError.
        """
        what = f"Object s3://{bucket}/{key}"

        def send() -> None:
            body.seek(0)
            told = self._client.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentLength=content.size_bytes,
                ContentMD5=_base64(content.md5),
                ChecksumSHA1=_base64(content.sha1),
                ContentType=content_type,
                ACL=acl.value,
            )
            self._check_sent(what, told, content)

        self._retried(what, send)

    @staticmethod
    def _check_sent(what: str, told: dict[str, Any], content: Content) -> None:
        """Compare what S3 says it has taken. With a KMS key the ETag is no MD5."""
        etag = _etag(told)
        if not etag:
            raise no_s3(what, "no ETag, which tells what was taken")
        is_md5 = told.get("ServerSideEncryption", "AES256") == "AES256" and len(etag) == 32
        checksum = told.get("ChecksumSHA1") or _base64(content.sha1)
        if (is_md5 and etag != content.md5.hex()) or checksum != _base64(content.sha1):
            raise _DamagedError(f"{what}: was taken with the ETag {etag}, not as it was sent.")

    def fetch(
        self,
        bucket: str,
        key: str,
        write: Callable[[bytes], object],
        *,
        most_bytes: int | None = None,
    ) -> int:
        """Give an object's bytes to `write`, in order and each once; return how many they are.

        A connection that is cut is taken up where it ended, as long as the object is the same.
        An endpoint that knows no ranges is asked for all of it again. Raises CloudError (NoSuchKey,
        TooLarge, NoS3 …), HostError.
        """
        what = f"Object s3://{bucket}/{key}"
        fetching = _Fetching(most_bytes)
        failures = 0
        while not fetching.is_done:
            before_bytes = fetching.done_bytes
            with explained(what):  # boto3 has tried until the answer began
                told = self._client.get_object(Bucket=bucket, Key=key, **fetching.rest())
            try:
                fetching.take(what, told, write)
            except _CUT as error:
                far = fetching.done_bytes - before_bytes >= _PROGRESS_BYTES
                failures = 1 if far else failures + 1
                if failures >= self._attempts:
                    raise explain(what, error) from None
                self._pause(failures)
        return fetching.done_bytes

    def delete_objects(self, bucket: str, keys: list[str]) -> None:
        """Delete objects; those that are not there are no error. Raises CloudError."""
        for start in range(0, len(keys), 1000):
            some = keys[start : start + 1000]
            with explained(f"Bucket {bucket}"):
                told = self._client.delete_objects(
                    Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            for error in told.get("Errors", ()):
                raise CloudError(
                    f"Object s3://{bucket}/{error.get('Key')}: refused to be deleted, "
                    f"{error.get('Code')}: {error.get('Message')}",
                    code=str(error.get("Code", "")),
                    hint="What was deleted is gone; the manifest is still there: run it again.",
                )

    def _retried(self, what: str, work: Callable[[], None]) -> None:
        """Do work, again where bytes were damaged on their way; boto3 has tried all else."""
        for attempt in range(1, self._attempts + 1):
            try:
                work()
            except boto.ClientError as error:
                if error_code(error) not in _DAMAGED or attempt == self._attempts:
                    raise explain(what, error) from None
            except (boto.BotoCoreError, boto.HTTPClientError) as error:
                raise explain(what, error) from None
            except _DamagedError as error:
                if attempt == self._attempts:
                    raise CloudError(str(error), code="BadDigest") from None
            else:
                return
            self._pause(attempt)

    def _pause(self, failures: int) -> None:
        """Wait between attempts, the longer the more there were: nothing tells when it is over."""
        self._wait(min(_LONGEST_PAUSE_S, random.random() * 2 ** (failures - 1)))  # noqa: S311


class _DamagedError(Exception):
    """S3 took something else than was sent."""


class _Fetching:
    """An object that comes in, perhaps in several goes."""

    def __init__(self, most_bytes: int | None) -> None:
        self._most_bytes = most_bytes
        self._etag = ""
        self._size_bytes: int | None = None
        self.done_bytes = 0

    @property
    def is_done(self) -> bool:
        return self.done_bytes == self._size_bytes

    def rest(self) -> dict[str, str]:
        """Return how to ask for what is missing: of the same object, not of one in its place."""
        if not self.done_bytes:
            return {}
        return {"Range": f"bytes={self.done_bytes}-", "IfMatch": f'"{self._etag}"'}

    def take(self, what: str, told: dict[str, Any], write: Callable[[bytes], object]) -> None:
        """Give what an answer brings to `write`."""
        body = told["Body"]
        try:
            known_bytes = self._begin(what, told)
            while chunk := body.read(_CHUNK_BYTES):
                if known_bytes:
                    chunk, known_bytes = chunk[known_bytes:], max(0, known_bytes - len(chunk))
                self.done_bytes += len(chunk)
                if self._size_bytes is None or self.done_bytes > self._size_bytes:
                    raise CloudError(f"{what}: brings more than it has.", code="TooLarge")
                write(chunk)
        finally:
            body.close()

    def _begin(self, what: str, told: dict[str, Any]) -> int:
        """Check that an answer is of this object; return how many bytes of it are here already."""
        etag = _etag(told)
        if not etag or "ContentLength" not in told:
            raise no_s3(what, "no ETag" if not etag else "no length")
        is_rest = told["ResponseMetadata"]["HTTPStatusCode"] == 206
        known_bytes = 0 if is_rest else self.done_bytes
        size_bytes = told["ContentLength"] + self.done_bytes - known_bytes
        if self._size_bytes not in {None, size_bytes} or self._etag not in {"", etag}:
            raise CloudError(f"{what}: changed while it was fetched.", code="Changed")
        if self._most_bytes is not None and size_bytes > self._most_bytes:
            raise CloudError(
                f"{what}: has {size_bytes} bytes; at most {self._most_bytes} can be right.",
                code="TooLarge",
            )
        self._size_bytes = size_bytes
        self._etag = etag
        return known_bytes


def _etag(told: dict[str, Any]) -> str:
    """Return an ETag without its quotes; "" where there is none."""
    return str(told.get("ETag", "")).strip('"')


def digests_of(chunks: Iterator[bytes]) -> Content:
    """Return the digests of a stream."""
    md5 = hashlib.md5(usedforsecurity=False)
    sha1 = hashlib.sha1(usedforsecurity=False)
    size_bytes = 0
    for chunk in chunks:
        md5.update(chunk)
        sha1.update(chunk)
        size_bytes += len(chunk)
    return Content(size_bytes, md5.digest(), sha1.digest())


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
