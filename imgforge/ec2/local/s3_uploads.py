"""S3's multipart uploads: how the AWS CLI sends what is larger than 8 MiB."""

import hashlib
import itertools
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from imgforge.ec2.local.buckets import Buckets
from imgforge.ec2.local.receiving import LARGEST_BYTES, Received, receive
from imgforge.ec2.local.rest_xml import Answer, Call
from imgforge.ec2.local.s3_access import OWNER, require_owner, wanted_acl
from imgforge.ec2.local.s3_buckets import bucket_of
from imgforge.ec2.local.s3_objects import (
    check_writing,
    checksum_values,
    copy_whole,
    key_of,
    new_record,
)
from imgforge.ec2.local.shelf import Record, Shelf
from imgforge.ec2.local.wire import RefusalError

_MOST_PARTS = 10_000
_LEAST_PART_BYTES = 5 * 2**20
_ABOUT = "about"


def _create(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket, key = bucket_of(buckets, call), key_of(call)
    acl = wanted_acl(call, bucket)
    record = new_record(call, Received(0, "", {}), acl=acl)
    upload_id = secrets.token_hex(16)
    shelf = buckets.new_upload(bucket.name, upload_id)
    with buckets.incoming() as new:
        new.touch()
        shelf.put(_ABOUT, {**record, "key": key, "started_s": int(time.time())}, new)
    values = {"Bucket": bucket.name, "Key": key, "UploadId": upload_id}
    return Answer(values, root="InitiateMultipartUploadResult")


def _upload(buckets: Buckets, call: Call) -> tuple[Shelf, Record]:
    """Return the parts of a call's upload, and what is known of it."""
    require_owner(call)
    bucket = bucket_of(buckets, call)
    shelf = buckets.upload(bucket.name, str(call.values["UploadId"]))
    about = shelf.find(_ABOUT)
    if about is None or about["key"] != call.values["Key"]:
        words = "The specified multipart upload does not exist."
        raise RefusalError("NoSuchUpload", words, status=404)
    return shelf, about


def _put_part(buckets: Buckets, call: Call) -> Answer:
    shelf, _ = _upload(buckets, call)
    number = call.values["PartNumber"]
    if not 1 <= number <= _MOST_PARTS:
        words = f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive"
        raise RefusalError("InvalidArgument", words)
    with buckets.incoming() as new:
        received = receive(call.request, new)
        record = {
            "etag": received.md5,
            "size_bytes": received.size_bytes,
            "modified_s": int(time.time()),
            "checksums": dict(received.checksums),
        }
        shelf.put(_part_name(number), record, new)
    return Answer({"ETag": f'"{received.md5}"', **checksum_values(record)})


def _part_name(number: int) -> str:
    return f"part {number:05d}"


def _complete(buckets: Buckets, call: Call) -> Answer:
    shelf, about = _upload(buckets, call)
    bucket = str(call.values["Bucket"])
    named = call.values.get("MultipartUpload", {}).get("Parts") or []
    numbers = [part["PartNumber"] for part in named]
    if not numbers or any(a >= b for a, b in itertools.pairwise(numbers)):
        raise RefusalError("InvalidPartOrder", "The list of parts was not in ascending order.")
    digest = hashlib.md5(usedforsecurity=False)
    size_bytes = 0
    with buckets.incoming() as new:
        for part in named:
            with shelf.opened(_part_name(part["PartNumber"])) as found:
                if found is None or found[0]["etag"] != str(part.get("ETag", "")).strip('"'):
                    raise RefusalError("InvalidPart", "One or more parts could not be found.")
                record, file = found
                if part is not named[-1] and record["size_bytes"] < _LEAST_PART_BYTES:
                    words = "Your proposed upload is smaller than the minimum allowed size"
                    raise RefusalError("EntityTooSmall", words)
                size_bytes += record["size_bytes"]
                if size_bytes > LARGEST_BYTES * 1024:
                    raise RefusalError("EntityTooLarge", "Your proposed upload is too large.")
                copy_whole(file, new)
            digest.update(bytes.fromhex(record["etag"]))
        etag = f"{digest.hexdigest()}-{len(named)}"
        made = {key: value for key, value in about.items() if key not in {"key", "started_s"}}
        made |= {"etag": etag, "size_bytes": size_bytes, "modified_s": int(time.time())}
        buckets.objects(bucket).put(
            about["key"], made, new, allow=lambda old: check_writing(call, old)
        )
    buckets.end_upload(bucket, str(call.values["UploadId"]))
    values = {"Bucket": bucket, "Key": about["key"], "ETag": f'"{etag}"'}
    return Answer({**values, "Location": f"/{bucket}/{about['key']}"})


def _abort(buckets: Buckets, call: Call) -> Answer:
    _upload(buckets, call)
    buckets.end_upload(str(call.values["Bucket"]), str(call.values["UploadId"]))
    return Answer()


def _list_parts(buckets: Buckets, call: Call) -> Answer:
    shelf, about = _upload(buckets, call)
    parts = [record for record in shelf.records() if record["name"] != _ABOUT]
    values = {
        "Bucket": call.values["Bucket"],
        "Key": about["key"],
        "UploadId": call.values["UploadId"],
        "Parts": [_part(record) for record in parts],
        "IsTruncated": False,
        "Initiator": OWNER,
        "Owner": OWNER,
        "StorageClass": "STANDARD",
    }
    return Answer(values)


def _part(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "PartNumber": int(str(record["name"]).rpartition(" ")[2]),
        "LastModified": datetime.fromtimestamp(record["modified_s"], UTC),
        "ETag": f'"{record["etag"]}"',
        "Size": record["size_bytes"],
    }


def _list_uploads(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket = bucket_of(buckets, call)
    uploads = []
    for upload_id in buckets.uploads(bucket.name):
        about = buckets.upload(bucket.name, upload_id).find(_ABOUT)
        if about and about["key"].startswith(call.values.get("Prefix", "")):
            started = datetime.fromtimestamp(about["started_s"], UTC)
            uploads.append({"Key": about["key"], "UploadId": upload_id, "Initiated": started})
    values = {"Bucket": bucket.name, "Uploads": uploads, "IsTruncated": False}
    return Answer(values, root="ListMultipartUploadsResult")


OPERATIONS = {
    "CreateMultipartUpload": _create,
    "UploadPart": _put_part,
    "CompleteMultipartUpload": _complete,
    "AbortMultipartUpload": _abort,
    "ListParts": _list_parts,
    "ListMultipartUploads": _list_uploads,
}
