"""A bundle in S3 becomes an image that is backed by instance store."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imgforge.catalog import (
    Architecture,
    BucketFacts,
    Finding,
    ImageRegistration,
    NameConflict,
    RefusedError,
    VirtualizationType,
    check_bucket,
    check_registration,
)
from imgforge.ec2 import Cloud, Image
from imgforge.errors import BadInputError, CloudError
from imgforge.registering.asking import Asked, find_same, gate_tags, register
from imgforge.registering.check import refuse_or_warn
from imgforge.registering.turn import turn
from imgforge.stored_bundle import read_bundle_facts
from imgforge.transfer import fetch_manifest, find_manifest, split_manifest_url

_DIGITS = 32


@dataclass(frozen=True, slots=True)
class BundleWish:
    """A bundle to register: BUCKET/FOLDER/NAME.manifest.xml, or its folder.

    `parameters` are RegisterImage's, such as VirtualizationType; the manifest says the rest.
    """

    manifest: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    conflict: NameConflict = NameConflict.REFUSE


def register_bundle(cloud: Cloud, wish: BundleWish) -> Image:
    """Register a bundle that is in S3, and return the image when it is available.

    No verdict names what is in it: it is recorded as unverified. Raises BadInputError for broken
    rules, CloudError (InvalidManifest …), HostError.
    """
    place, name = split_manifest_url(wish.manifest)
    name = name or find_manifest(cloud, place)
    content = fetch_manifest(cloud, place, name)
    asked_for = _registration(wish, content)
    found = check_registration(asked_for, disk=None, snapshots={}, region=cloud.region)
    refuse_or_warn(wish.name, [*found, *_check_bucket(cloud, place.bucket)], verdict=None)
    location = f"{place.bucket}/{place.key(name)}"
    key = [location, hashlib.sha256(content).hexdigest(), wish.name, wish.parameters]
    work = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    tags = {**asked_for.tags, **gate_tags(None)}
    asked = Asked(wish.name, work, tags, wish.conflict)
    with turn(work, what=f"Image {wish.name!r}"):
        image = find_same(cloud, asked)
        if image is None:
            request = {**asked_for.request(), "ImageLocation": location}
            image = register(cloud, asked, request)
        return image


def _check_bucket(cloud: Cloud, bucket: str) -> tuple[Finding, ...]:
    """Return why EC2 would read no bundle there; nothing of a bucket that tells nothing of it."""
    try:
        region = cloud.storage.find_bucket(bucket) or cloud.region
    except CloudError:  # who may read a bundle need not be allowed to look at its bucket
        return ()
    facts = BucketFacts(bucket, region, cloud.storage.takes_acls(bucket))
    return tuple(check_bucket(facts, region=cloud.region))


def _registration(wish: BundleWish, content: bytes) -> ImageRegistration:
    # As RegisterImage's defaults: the manifest has the architecture.
    base = ImageRegistration(
        name=wish.name,
        architecture=Architecture.I386,
        virtualization_type=VirtualizationType.PARAVIRTUAL,
        root_device_name="",
        block_devices=(),
    )
    try:
        facts = read_bundle_facts(content)
        return base.of_bundle(facts, wish.parameters)
    except RefusedError as error:
        raise BadInputError(f"Bundle {wish.manifest}: {error} (EC2 says {error.code}).") from None
