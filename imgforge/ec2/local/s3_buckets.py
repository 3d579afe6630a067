"""S3's operations on buckets."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from imgforge.bucket_name import bucket_name_problem
from imgforge.ec2.local.buckets import Bucket, Buckets
from imgforge.ec2.local.listing import Page, paginate
from imgforge.ec2.local.rest_xml import Answer, Call
from imgforge.ec2.local.s3_access import ENFORCED, OWNER, grants_of, require_owner, wanted_acl
from imgforge.ec2.local.wire import RefusalError

_FIRST_REGION = "us-east-1"
_MOST_KEYS = 1000
_OWNERSHIPS = (ENFORCED, "BucketOwnerPreferred", "ObjectWriter")


def no_bucket(name: str) -> RefusalError:
    """Return the refusal of a bucket that is not there."""
    told = {"BucketName": name} if name else {}
    return RefusalError("NoSuchBucket", "The specified bucket does not exist", status=404, **told)


def bucket_of(buckets: Buckets, call: Call) -> Bucket:
    """Return the bucket of a call. Raises RefusalError: NoSuchBucket, PermanentRedirect.

    Regions are kept apart: who signs for another than the bucket's is sent there.
    """
    name = str(call.values["Bucket"])
    if problem := bucket_name_problem(name):
        raise RefusalError("InvalidBucketName", f"The bucket's name {problem}.", BucketName=name)
    bucket = buckets.find(name)
    if bucket is None:
        raise no_bucket(name)
    caller = call.request.caller
    if caller is not None and caller.region != bucket.region:
        raise RefusalError(
            "PermanentRedirect",
            f"The bucket is in {bucket.region}: send all future requests to its endpoint.",
            status=301,
            Bucket=name,
            Region=bucket.region,
        )
    return bucket


def _list_buckets(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    found = [
        {
            "Name": bucket.name,
            "CreationDate": datetime.fromtimestamp(bucket.created_s, UTC),
            "BucketRegion": bucket.region,
        }
        for bucket in buckets.all()
        if bucket.name.startswith(call.values.get("Prefix", ""))
        and call.values.get("BucketRegion", bucket.region) == bucket.region
    ]
    values = {"Buckets": found, "Owner": OWNER}
    return Answer(values, root="ListAllMyBucketsResult")


def _create_bucket(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    name = str(call.values["Bucket"])
    if problem := bucket_name_problem(name):
        raise RefusalError("InvalidBucketName", f"The bucket's name {problem}.", BucketName=name)
    caller = call.request.caller
    assert caller is not None
    configuration = call.values.get("CreateBucketConfiguration", {})
    region = str(configuration.get("LocationConstraint") or _FIRST_REGION)
    if region == _FIRST_REGION and configuration.get("LocationConstraint"):
        words = "The specified location-constraint is not valid"
        raise RefusalError("InvalidLocationConstraint", words)
    if region != caller.region and caller.region != _FIRST_REGION:
        words = f"The {region} location constraint is incompatible for the region {caller.region}."
        raise RefusalError("IllegalLocationConstraintException", words)
    ownership = str(call.values.get("ObjectOwnership", ENFORCED))
    bucket = Bucket(name, region, int(time.time()), ownership)
    acl = wanted_acl(call, bucket)
    if acl != "private":
        raise RefusalError("NotImplemented", "Buckets are private here.", status=501)
    old = buckets.create(bucket)
    if old is not None and (old.region != region or region != _FIRST_REGION):
        words = "Your previous request to create the named bucket succeeded and you already own it."
        raise RefusalError("BucketAlreadyOwnedByYou", words, status=409, BucketName=name)
    return Answer({"Location": f"/{name}"})


def _head_bucket(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket = bucket_of(buckets, call)
    return Answer({"BucketRegion": bucket.region})


def _delete_bucket(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    buckets.delete(bucket_of(buckets, call).name)
    return Answer()


def _get_location(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket = buckets.find(str(call.values["Bucket"]))
    if bucket is None:
        raise no_bucket(str(call.values["Bucket"]))
    text = "" if bucket.region == _FIRST_REGION else bucket.region
    # One element with a text: what botocore's model says of it would put it into another.
    name = "LocationConstraint"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return Answer(document=f"{head}<{name} {space}>{text}</{name}>".encode())


def _get_ownership(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket = bucket_of(buckets, call)
    return Answer({"OwnershipControls": {"Rules": [{"ObjectOwnership": bucket.ownership}]}})


def _put_ownership(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket = bucket_of(buckets, call)
    rules = call.values["OwnershipControls"]["Rules"]
    if len(rules) != 1 or rules[0].get("ObjectOwnership") not in _OWNERSHIPS:
        raise RefusalError("MalformedXML", "One rule of object ownership is needed.")
    buckets.replace(replace(bucket, ownership=rules[0]["ObjectOwnership"]))
    return Answer()


def _get_acl(buckets: Buckets, call: Call) -> Answer:
    require_owner(call)
    bucket_of(buckets, call)
    return Answer({"Owner": OWNER, "Grants": grants_of("private")}, root="AccessControlPolicy")


def _list_objects(buckets: Buckets, call: Call) -> Answer:
    after = str(call.values.get("Marker", ""))
    page, values = _page(buckets, call, after)
    values["Marker"] = after
    if page.last is not None:
        values["NextMarker"] = page.last
    return Answer(values, root="ListBucketResult")


def _list_objects_v2(buckets: Buckets, call: Call) -> Answer:
    token = call.values.get("ContinuationToken")
    try:
        after = bytes.fromhex(token).decode() if token else str(call.values.get("StartAfter", ""))
    except ValueError:
        words = "The continuation token provided is incorrect"
        raise RefusalError("InvalidArgument", words) from None
    page, values = _page(buckets, call, after)
    values["KeyCount"] = len(page.keys) + len(page.prefixes)
    if token:
        values["ContinuationToken"] = token
    if page.last is not None:
        values["NextContinuationToken"] = page.last.encode().hex()
    return Answer(values, root="ListBucketResult")


def _page(buckets: Buckets, call: Call, after: str) -> tuple[Page, dict[str, Any]]:
    require_owner(call)
    bucket = bucket_of(buckets, call)
    prefix = str(call.values.get("Prefix", ""))
    delimiter = str(call.values.get("Delimiter", ""))
    most = call.values.get("MaxKeys", _MOST_KEYS)
    if most < 0:
        raise RefusalError("InvalidArgument", "Argument maxKeys must be at least 0")
    records = {record["name"]: record for record in buckets.objects(bucket.name).records()}
    page = paginate(
        list(records), prefix=prefix, delimiter=delimiter, after=after, most=min(most, _MOST_KEYS)
    )
    shown: Callable[[str], str] = str
    if call.values.get("EncodingType") == "url":
        from urllib.parse import quote

        shown = quote
    values = {
        "Name": bucket.name,
        "Prefix": shown(prefix),
        "Delimiter": shown(delimiter) if delimiter else None,
        "MaxKeys": most,
        "EncodingType": call.values.get("EncodingType"),
        "IsTruncated": page.last is not None,
        "Contents": [_listed(records[key], shown(key)) for key in page.keys],
        "CommonPrefixes": [{"Prefix": shown(one)} for one in page.prefixes],
    }
    return page, values


def _listed(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {
        "Key": key,
        "LastModified": datetime.fromtimestamp(record["modified_s"], UTC),
        "ETag": f'"{record["etag"]}"',
        "Size": record["size_bytes"],
        "StorageClass": "STANDARD",
    }


OPERATIONS = {
    "ListBuckets": _list_buckets,
    "CreateBucket": _create_bucket,
    "HeadBucket": _head_bucket,
    "DeleteBucket": _delete_bucket,
    "GetBucketLocation": _get_location,
    "GetBucketOwnershipControls": _get_ownership,
    "PutBucketOwnershipControls": _put_ownership,
    "GetBucketAcl": _get_acl,
    "ListObjects": _list_objects,
    "ListObjectsV2": _list_objects_v2,
}
