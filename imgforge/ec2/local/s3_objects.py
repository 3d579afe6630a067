"""S3's operations on objects."""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from imgforge.bucket_name import key_problem
from imgforge.ec2.local.buckets import Bucket, Buckets
from imgforge.ec2.local.receiving import Received, receive
from imgforge.ec2.local.rest_xml import Answer, Call
from imgforge.ec2.local.s3_access import OWNER, grants_of, require_owner, require_reader, wanted_acl
from imgforge.ec2.local.s3_buckets import bucket_of
from imgforge.ec2.local.shelf import Record, Shelf
from imgforge.ec2.local.wire import CHUNK_BYTES, RefusalError

_MOST_METADATA_BYTES = 2048
_MOST_DELETED = 1000
_KEPT_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
)
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_SOURCE = re.compile(r"/?(?P<bucket>[^/]+)/(?P<key>.+)", re.DOTALL)


def new_record(call: Call, received: Received, *, acl: str) -> Record:
    """Return the record of an object that was sent."""
    metadata = {str(key): str(text) for key, text in call.values.get("Metadata", {}).items()}
    if sum(len(key) + len(text) for key, text in metadata.items()) > _MOST_METADATA_BYTES:
        words = "Your metadata headers exceed the maximum allowed metadata size"
        raise RefusalError("MetadataTooLarge", words)
    return {
        "etag": received.md5,
        "size_bytes": received.size_bytes,
        "modified_s": int(time.time()),
        "acl": acl,
        "metadata": metadata,
        "headers": _kept_headers(call),
        "checksums": dict(received.checksums),
    }


def _kept_headers(call: Call) -> dict[str, str]:
    kept = {name: str(call.values[name]) for name in _KEPT_HEADERS if name in call.values}
    # How it was sent is not how it is stored.
    encodings = [one.strip() for one in kept.pop("ContentEncoding", "").split(",")]
    if stored := ",".join(one for one in encodings if one not in {"", "aws-chunked"}):
        kept["ContentEncoding"] = stored
    return kept


def key_of(call: Call) -> str:
    """Return the key of a call. Raises RefusalError (KeyTooLongError)."""
    key = str(call.values["Key"])
    if problem := key_problem(key):
        raise RefusalError("KeyTooLongError", f"Your key {problem}.")
    return key


def checksum_values(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksums of an object by S3's names, such as ChecksumSHA1."""
    return {f"Checksum{name.upper()}": text for name, text in record["checksums"].items()}


def _put(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket, key = bucket_of(buckets, call), key_of(call)
    acl = wanted_acl(call, bucket)
    with buckets.incoming() as new:
        received = receive(call.request, new)
        record = new_record(call, received, acl=acl)
        buckets.objects(bucket.name).put(
            key, record, new, allow=lambda old: check_writing(call, old)
        )
    return Answer({"ETag": f'"{received.md5}"', **checksum_values(record)})


def check_writing(call: Call, old: Record | None) -> None:
    """Raise RefusalError (PreconditionFailed) where an If-Match or If-None-Match is not met."""
    wanted = call.values.get("IfMatch")
    if wanted is not None and old is None:
        raise no_key(str(call.values["Key"]))
    if wanted is not None and old is not None and not _has_etag(old, wanted):
        raise _precondition("If-Match")
    if call.values.get("IfNoneMatch") == "*" and old is not None:
        raise _precondition("If-None-Match")


def _head(buckets: Buckets, call: Call) -> Answer:
    answer = _get(buckets, call)
    if isinstance(answer.body, _Body):
        answer.body.close()
    return Answer(answer.values, (), answer.body_bytes, answer.status)


def _get(buckets: Buckets, call: Call) -> Answer:
    if call.values.get("VersionId", "null") != "null":
        raise RefusalError("NoSuchVersion", "The specified version does not exist.", status=404)
    bucket, key = bucket_of(buckets, call), str(call.values["Key"])
    stack = ExitStack()
    found = stack.enter_context(buckets.objects(bucket.name).opened(key))
    try:
        if found is None:
            require_owner(call)
            raise no_key(key)
        record, file = found
        require_reader(call, str(record["acl"]))
        _check_reading(call, record)
        start, end = _span(call.values.get("Range", ""), record["size_bytes"])
    except BaseException:
        stack.close()
        raise
    values = _told(record, call)
    is_part = (start, end) != (0, record["size_bytes"])
    if is_part:
        values["ContentRange"] = f"bytes {start}-{end - 1}/{record['size_bytes']}"
        values = {name: value for name, value in values.items() if "Checksum" not in name}
    body = _Body(file, start, end, stack)
    return Answer(values, body, end - start, 206 if is_part else 200)


class _Body:
    """A stretch of an object's bytes; its file is closed at the end, or by the server."""

    def __init__(self, file: BinaryIO, start: int, end: int, stack: ExitStack) -> None:
        self._file, self._position, self._end, self._stack = file, start, end, stack

    def __iter__(self) -> Iterator[bytes]:
        with self._stack:
            self._file.seek(self._position)
            while self._position < self._end:
                chunk = self._file.read(min(CHUNK_BYTES, self._end - self._position))
                if not chunk:
                    raise OSError("the object is shorter than its record says")
                self._position += len(chunk)
                yield chunk

    def close(self) -> None:
        """Close the file (PEP 3333)."""
        self._stack.close()


def _told(record: Record, call: Call) -> dict[str, Any]:
    values = {
        "AcceptRanges": "bytes",
        "ContentType": "binary/octet-stream",
        **record["headers"],
        "ETag": f'"{record["etag"]}"',
        "LastModified": datetime.fromtimestamp(record["modified_s"], UTC),
        "Metadata": record["metadata"],
    }
    if call.values.get("ChecksumMode") == "ENABLED":
        values |= checksum_values(record)
    return values


def _check_reading(call: Call, record: Record) -> None:
    wanted, unwanted = call.values.get("IfMatch"), call.values.get("IfNoneMatch")
    if wanted is not None and not _has_etag(record, wanted):
        raise _precondition("If-Match")
    if unwanted is not None and _has_etag(record, unwanted):
        raise RefusalError("NotModified", "Not Modified", status=304)


def _has_etag(record: Record, header: str) -> bool:
    known = {one.strip().strip('"') for one in header.split(",")}
    return "*" in known or record["etag"] in known


def _span(header: str, size_bytes: int) -> tuple[int, int]:
    """Return the first byte and the one behind the last (RFC 9110, 14.2)."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return 0, size_bytes
    if not found[1]:
        start, end = max(0, size_bytes - int(found[2])), size_bytes
    else:
        start, end = int(found[1]), min(int(found[2] or size_bytes - 1), size_bytes - 1) + 1
    if start >= size_bytes or (found[2] and not found[1] and not int(found[2])):
        words = "The requested range is not satisfiable"
        raise RefusalError("InvalidRange", words, status=416, ActualObjectSize=str(size_bytes))
    return (start, end) if start < end else (0, size_bytes)


def _delete(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    buckets.objects(bucket_of(buckets, call).name).remove(str(call.values["Key"]))
    return Answer()


def _delete_many(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    shelf = buckets.objects(bucket_of(buckets, call).name)
    wish = call.values["Delete"]
    keys = [str(one["Key"]) for one in wish["Objects"]]
    if not 0 < len(keys) <= _MOST_DELETED:
        raise RefusalError("MalformedXML", f"1 to {_MOST_DELETED} objects are needed.")
    for key in keys:
        shelf.remove(key)
    told = [] if wish.get("Quiet") else [{"Key": key} for key in keys]
    return Answer({"Deleted": told}, root="DeleteResult")


def _copy(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket, key = bucket_of(buckets, call), key_of(call)
    acl = wanted_acl(call, bucket)
    found = _SOURCE.fullmatch(unquote(str(call.values["CopySource"]).partition("?")[0]))
    if found is None or buckets.find(found["bucket"]) is None:
        raise RefusalError("NoSuchBucket", "The specified bucket does not exist", status=404)
    with buckets.objects(found["bucket"]).opened(found["key"]) as source, buckets.incoming() as new:
        if source is None:
            raise no_key(found["key"])
        old, file = source
        copy_whole(file, new)
        sent = Received(old["size_bytes"], old["etag"], old["checksums"])
        record = new_record(call, sent, acl=acl)
        if call.values.get("MetadataDirective", "COPY") == "COPY":
            record |= {"metadata": old["metadata"], "headers": old["headers"]}
        buckets.objects(bucket.name).put(key, record, new)
    modified = datetime.fromtimestamp(record["modified_s"], UTC)
    return Answer({"CopyObjectResult": {"ETag": f'"{record["etag"]}"', "LastModified": modified}})


def copy_whole(file: BinaryIO, new: Path) -> None:
    """Copy a file to a new path, on the disk when this returns."""
    with new.open("ab") as target:
        shutil.copyfileobj(file, target, CHUNK_BYTES)
        target.flush()
        os.fsync(target.fileno())


def _get_acl(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    record = _found(buckets, bucket_of(buckets, call), str(call.values["Key"]))
    grants = grants_of(str(record["acl"]))
    return Answer({"Owner": OWNER, "Grants": grants}, root="AccessControlPolicy")


def _put_acl(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket = bucket_of(buckets, call)
    key = str(call.values["Key"])
    acl = wanted_acl(call, bucket)
    if not buckets.objects(bucket.name).change(key, {"acl": acl}):
        raise no_key(key)
    return Answer()


def _found(buckets: Buckets, bucket: Bucket, key: str) -> Record:
    shelf: Shelf = buckets.objects(bucket.name)
    record = shelf.find(key)
    if record is None:
        raise no_key(key)
    return record


def no_key(key: str) -> RefusalError:
    """Return the refusal of an object that is not there."""
    return RefusalError("NoSuchKey", "The specified key does not exist.", status=404, Key=key)


def _precondition(header: str) -> RefusalError:
    return RefusalError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        status=412,
        Condition=header,
    )


OPERATIONS = {
    "PutObject": _put,
    "GetObject": _get,
    "HeadObject": _head,
    "DeleteObject": _delete,
    "DeleteObjects": _delete_many,
    "CopyObject": _copy,
    "GetObjectAcl": _get_acl,
    "PutObjectAcl": _put_acl,
}
