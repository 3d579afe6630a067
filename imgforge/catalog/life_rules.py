"""EC2's rules of an image's life after it is registered: copying, sharing, deregistering.

Who is about to ask EC2 checks by them, and the endpoint refuses by them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from imgforge.catalog.image import RootDeviceType
from imgforge.catalog.life_facts import (
    BucketFacts,
    CopyWish,
    ImageFacts,
    KeyFacts,
    Permission,
    ShareWish,
    SnapshotFacts,
    is_product_code,
)
from imgforge.catalog.rule_table import Finding
from imgforge.catalog.rules import check_texts
from imgforge.partition import partition_of

MOST_COPIES_INTO_REGION = 50
MOST_COPIES_FROM_REGION = 25
_ACCOUNT = re.compile(r"[0-9]{12}")
_ORGANIZATION = re.compile(
    r"arn:aws[a-z-]*:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}(/.+)?"
)
_UNIT = re.compile(
    r"arn:aws[a-z-]*:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[a-z0-9-]{4,68}"
)


NAME_TAKEN = "name-taken"


def check_name_is_free(name: str, taken_by: str) -> Iterator[Finding]:
    """Yield that another image of the account's in the region, `taken_by`, has the name."""
    if taken_by:
        found = f"AMI name {name} is already in use by AMI {taken_by}"
        yield Finding(NAME_TAKEN, found, "a name of its own in the account and the region")


def check_copy(source: ImageFacts, wish: CopyWish) -> tuple[Finding, ...]:
    """Return every rule that copying `source` so would break (EC2 API, CopyImage)."""
    return (
        *check_partition(source.image_id, source.region, wish.region),
        *_check_available(source),
        *_check_foreign(source, wish.owner_id),
        *check_texts(wish.name, wish.description),
        *check_name_is_free(wish.name, wish.taken_by),
        *_check_room(source, wish),
        *check_key(wish.encrypted, wish.kms_key_id, wish.key, region=wish.region),
        *_check_encryption(source, wish),
    )


def check_partition(source_id: str, source_region: str, region: str) -> Iterator[Finding]:
    """Yield that `region` is of another partition of AWS's, of which the source's knows nothing."""
    there, here = partition_of(source_region)[0], partition_of(region)[0]
    if there != here:
        found = f"{source_id} of {source_region}, which {region} does not know"
        yield Finding("copy-partition", found, f"a region of the partition {there}")


def advise_copy(source: ImageFacts) -> Iterator[Finding]:
    """Yield what CopyImage does not do, of which nobody is told."""
    left = "launch permissions, tags, and what a bucket grants"
    yield Finding("copy-leaves", f"{left} of {source.image_id}", "give the copy its own after it")


def _check_available(source: ImageFacts) -> Iterator[Finding]:
    if source.state != "available":
        found = f"{source.image_id} is {source.state}"
        yield Finding("image-state", found, "an image that is available")


def _check_foreign(source: ImageFacts, owner_id: str) -> Iterator[Finding]:
    if source.owner_id == owner_id:
        return
    billed = source.platform_details if source.is_billed else ""
    if codes := " ".join([*source.product_codes, *([billed] if billed else [])]):
        found = f"{source.image_id} of {source.owner_id} is billed for {codes}"
        yield Finding("copy-billing-code", found, "launch it, and make an image of the instance")
    for snapshot in source.snapshots:
        if not snapshot.is_usable:
            found = f"{snapshot.snapshot_id} of {source.owner_id} is not shared with {owner_id}"
            needed = "its owner's permission to access the storage of this ami"
            yield Finding("copy-storage", found, needed)
    if any(one.is_encrypted and one.owner_id != owner_id for one in source.snapshots):
        found = f"{source.image_id} of {source.owner_id} has encrypted snapshots"
        yield Finding("copy-shared-encrypted", found, "copy its snapshots, and register from them")


def _check_room(source: ImageFacts, wish: CopyWish) -> Iterator[Finding]:
    for made, most, where in (
        (wish.pending_into, MOST_COPIES_INTO_REGION, f"into {wish.region}"),
        (wish.pending_from, MOST_COPIES_FROM_REGION, f"from {source.region} into {wish.region}"),
    ):
        if made >= most:
            yield Finding("copy-limit", f"{made} copies {where}", f"at most {most} at once")


def check_key(
    encrypted: bool | None,  # noqa: FBT001 (EC2's own three values: yes, no, not said)
    kms_key_id: str | None,
    key: KeyFacts | None = None,
    *,
    region: str,
) -> Iterator[Finding]:
    """Yield why a copy into `region` cannot have this key; `key` is what is known of it."""
    if not kms_key_id:
        return
    if not encrypted:
        yield Finding("copy-kms-key-id", f"{kms_key_id} without encrypted", "both, or neither")
    steps = kms_key_id.split(":")
    its_region = key.region if key else steps[3] if len(steps) > 3 else region
    if its_region != region:
        yield Finding("copy-key-region", f"the key {kms_key_id}", f"one of the region {region}")
    if key is None:
        return
    if key.spec != "SYMMETRIC_DEFAULT":
        yield Finding("copy-key-spec", f"{key.spec} of {kms_key_id}", "a symmetric key")
    if key.state != "Enabled":
        yield Finding("copy-key-state", f"{kms_key_id} is {key.state}", "a key that is enabled")


def _check_encryption(source: ImageFacts, wish: CopyWish) -> Iterator[Finding]:
    if source.root_device_type == RootDeviceType.INSTANCE_STORE and wish.encrypted:
        found = f"{source.image_id}, which is backed by instance store"
        yield Finding("copy-instance-store", found, "snapshots: a bundle is not encrypted anew")
    if wish.encrypted is False:
        yield from check_stays_encrypted(source.snapshots)


def check_stays_encrypted(snapshots: Iterable[SnapshotFacts]) -> Iterator[Finding]:
    """Yield the snapshots of which no unencrypted copy is made."""
    for snapshot in snapshots:
        if snapshot.is_encrypted:
            found = f"{snapshot.snapshot_id} is encrypted"
            yield Finding("copy-encrypted", found, "no copy of it can be unencrypted")


def check_share(image: ImageFacts, wish: ShareWish) -> tuple[Finding, ...]:
    """Return every rule that changing launch permissions so would break."""
    return (
        *_check_sides(wish),
        *(found for pair in (*wish.add, *wish.remove) for found in _check_whom(pair)),
        *(_check_may_share(image, wish.add) if wish.add else ()),
    )


def _check_sides(wish: ShareWish) -> Iterator[Finding]:
    if wish.add and wish.remove:
        yield Finding("share-both", "whom to add and whom to remove", "one of them in one call")
    if not wish.add and not wish.remove:
        yield Finding("share-nobody", "nobody", "whom to add or to remove")


def _check_whom(pair: Permission) -> Iterator[Finding]:
    kind, value = pair
    if kind == "Group":
        if value != "all":
            yield Finding("share-group", repr(value[:100]), "the group all: there is no other")
        return
    forms = {"UserId": _ACCOUNT, "OrganizationArn": _ORGANIZATION, "OrganizationalUnitArn": _UNIT}
    if not forms[kind].fullmatch(value):
        item = f"{kind[0].lower()}{kind[1:]}"
        found = f'invalid attribute item value "{value[:100]}" for {item} item type'
        yield Finding("share-whom", found, "12 digits of an account, or an ARN")


def _check_may_share(image: ImageFacts, add: Sequence[Permission]) -> Iterator[Finding]:
    if image.state == "disabled":
        yield Finding("share-disabled", f"{image.image_id} is disabled", "enable it first")
    is_public = any(kind == "Group" for kind, _ in add)
    encrypted = [one for one in image.snapshots if one.is_encrypted]
    if is_public and encrypted:
        found = f"{encrypted[0].snapshot_id} of {image.image_id} is encrypted"
        yield Finding("share-encrypted", found, "an image with encrypted snapshots is not public")
    yield from _check_default_keys(encrypted)
    if is_public and image.product_codes:
        found = f"{image.image_id} has the product code {image.product_codes[0]}"
        yield Finding("share-product-code", found, "share it with accounts; it cannot be public")


def _check_default_keys(snapshots: Iterable[SnapshotFacts]) -> Iterator[Finding]:
    for snapshot in snapshots:
        if snapshot.has_default_key:
            found = f"{snapshot.snapshot_id} is encrypted with the account's own key for EBS"
            yield Finding("share-default-key", found, "a key of one's own, shared beside it")


def check_snapshot_share(snapshot: SnapshotFacts, wish: ShareWish) -> tuple[Finding, ...]:
    """Return every rule that changing who may make volumes of a snapshot so would break."""
    whom = (
        Finding("share-snapshot-whom", f'"{value[:100]}" for {kind}', "an account's 12 digits, all")
        for kind, value in (*wish.add, *wish.remove)
        if not (value == "all" if kind == "Group" else _ACCOUNT.fullmatch(value))
    )
    return (*_check_sides(wish), *whom, *_check_may_share_snapshot(snapshot, wish.add))


def _check_may_share_snapshot(
    snapshot: SnapshotFacts, add: Sequence[Permission]
) -> Iterator[Finding]:
    if not add:
        return
    if snapshot.state == "error":
        found = f"{snapshot.snapshot_id} is in error"
        yield Finding("share-snapshot-state", found, "one that is whole")
    if snapshot.is_encrypted and any(kind == "Group" for kind, _ in add):
        found = f"{snapshot.snapshot_id} is encrypted"
        yield Finding("share-encrypted", found, "an encrypted snapshot is not public")
    yield from _check_default_keys([snapshot])


def check_product_codes(image: ImageFacts, codes: Sequence[str]) -> Iterator[Finding]:
    """Yield why an image cannot have these product codes: the first it gets is for good."""
    for code in codes:
        if not is_product_code(code):
            yield Finding("product-code-form", repr(code[:100]), "letters, digits, - and _")
    before = image.product_codes
    if before and set(before) != set(codes):
        found = f"{image.image_id} has {', '.join(before)}"
        yield Finding("product-code", found, "a product code is neither changed nor removed")
    if codes and image.is_public:
        found = f"{image.image_id} is public"
        yield Finding("product-code-public", found, "make it private first")


def check_deregister(image: ImageFacts) -> Iterator[Finding]:
    """Yield why an image cannot be deregistered."""
    if image.protection != "disabled":
        found = f"deregistration protection of {image.image_id} is {image.protection}"
        yield Finding("deregister-protected", found, "end the protection first")


def advise_deregister(image: ImageFacts) -> Iterator[Finding]:
    """Yield what stays, and costs, when an image is deregistered."""
    if image.root_device_type == RootDeviceType.INSTANCE_STORE:
        needed = "delete the bundle after it, not before"
        yield Finding("deregister-leaves", image.image_location, needed)
    elif image.snapshots:
        found = ", ".join(one.snapshot_id for one in image.snapshots)
        yield Finding("deregister-leaves", found, "delete the snapshots after it, not before")


def check_delete_snapshot(snapshot_id: str, used_by: Sequence[str]) -> Iterator[Finding]:
    """Yield the images that a snapshot is needed by."""
    if used_by:
        found = f"the snapshot {snapshot_id} is currently in use by {', '.join(used_by)}"
        yield Finding("snapshot-in-use", found, "deregister the image first")


def check_bucket(bucket: BucketFacts, *, region: str) -> Iterator[Finding]:
    """Yield why images of `region` cannot be registered from bundles in a bucket."""
    if bucket.region != region:
        found = f"the bucket {bucket.name} is in {bucket.region}"
        yield Finding("bucket-region", found, f"a bucket of {region}")
    if not bucket.takes_acls:
        found = f"the bucket {bucket.name} is BucketOwnerEnforced: no aws-exec-read"
        yield Finding("bucket-acl", found, "one that takes ACLs (BucketOwnerPreferred)")


def advise_from_snapshot(platform_details: str) -> Iterator[Finding]:
    """Yield what an image of a snapshot loses, of an image or a system of this platform.

    The platform is EC2's PlatformDetails, or what the disk says it is.
    """
    for word in ("Red Hat", "SUSE", "Windows"):
        if word.lower() in platform_details.lower():
            needed = "make the image of an instance (CreateImage): a snapshot keeps no billing code"
            yield Finding("billing-code", platform_details, needed)
            return
