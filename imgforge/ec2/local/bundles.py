"""Bundles in the local S3, as RegisterImage reads them: with the rights that EC2 has there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from imgforge.catalog import BundleFacts, RefusedError
from imgforge.ec2.local.buckets import Buckets
from imgforge.ec2.local.s3_access import EC2_BUNDLES, grants_of
from imgforge.ec2.local.shelf import Record, Shelf
from imgforge.ec2.serving import ReadBundle

_MOST_MANIFEST_BYTES = 4 * 2**20
_READABLE = ("authenticated-read", "public-read", "public-read-write")


@dataclass(frozen=True, slots=True)
class Bundles:
    """Where bundles are, and what reads them."""

    buckets: Buckets
    read_bundle: ReadBundle
    certificates: Callable[[str, str], Sequence[str]]
    """Gives the signing certificates of an account, in a region's partition, in PEM."""

    def find(self, location: str, *, region: str, account_id: str) -> BundleFacts:
        """Return what is bundled at BUCKET/KEY of a manifest.

        Raises RefusedError (InvalidManifest) for a bucket that is not there or of another region,
        what EC2 may not read, and a bundle that is not whole.
        """
        name, _, key = location.partition("/")
        bucket = self.buckets.find(name)
        if bucket is None or not key:
            raise _invalid(f"HTTP 404 (NoSuchBucket) for {location[:200]}")
        if bucket.region != region:
            raise _invalid(f"the bucket {name} is in {bucket.region}, not in {region}")
        objects = self.buckets.objects(name)
        folder = key.rpartition("/")[0]

        @contextmanager
        def open_part(filename: str) -> Iterator[BinaryIO]:
            with _opened(objects, f"{folder}/{filename}" if folder else filename) as file:
                yield file

        with _opened(objects, key) as file:
            content = file.read(_MOST_MANIFEST_BYTES)
        certificates = self.certificates(account_id, region)
        return self.read_bundle(content, account_id, open_part, certificates)


@contextmanager
def _opened(objects: Shelf, key: str) -> Iterator[BinaryIO]:
    with objects.opened(key) as found:
        if found is None:
            raise _invalid(f"HTTP 404 (NoSuchKey) for {key[:200]}")
        record, file = found
        if not _may_read(record):
            raise _invalid(
                f"HTTP 403 (AccessDenied) for {key[:200]}: its ACL does not let EC2 read it"
                " (aws-exec-read)"
            )
        yield file


def _may_read(record: Record) -> bool:
    acl = str(record["acl"])
    readers = [grant["Grantee"].get("ID") for grant in grants_of(acl)]
    return acl in _READABLE or EC2_BUNDLES in readers


def _invalid(why: str) -> RefusedError:
    return RefusedError("InvalidManifest", f"The manifest cannot be used: {why}.")
