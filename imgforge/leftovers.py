"""What imgforge made and nothing refers to: named first, then removed.

Tags tell what it made: a snapshot or an image without `imgforge:made` is never touched. A bundle
says itself, in its manifest, by whom it was bundled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from imgforge.bundle import MANIFEST_SUFFIX, BundleError, read_manifest
from imgforge.deregistration import delete_unneeded, delete_unneeded_bundle
from imgforge.ec2 import Cloud, EndpointKind, Image, Snapshot, StoredObject
from imgforge.errors import CloudError
from imgforge.image_copy import forget_image
from imgforge.image_lookup import SELF, own_images
from imgforge.made_tags import MADE, UNFINISHED, is_made
from imgforge.progress import report, warn
from imgforge.removal import note_removal
from imgforge.transfer import BundlePlace

_BUNDLER = "imgforge"
_MOST_MANIFEST_BYTES = 10 * 2**20
_FAILED = {"failed", "error", "invalid"}
_GONE = {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"}
_NO_BUCKET = {"NoSuchBucket", "AccessDenied", "403"}


class LeftoverKind(StrEnum):
    """What is left; they go in this order, since an image needs the others."""

    IMAGE = "image"
    SNAPSHOT = "snapshot"
    BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A thing that nothing refers to: its id or its manifest's place, and why it is left."""

    kind: LeftoverKind
    thing: str
    name: str
    made: str
    """Since when it is there, as ISO 8601; "" where nothing tells."""
    size_gib: float
    why: str


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle in S3: the place of its manifest, and by whom it was bundled."""

    location: str
    bundler: str
    size_bytes: int
    modified: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that is there of one's own in a region, with what imgforge did not make."""

    images: Sequence[Image]
    snapshots: Sequence[Snapshot]
    bundles: Sequence[StoredBundle] = ()


def find_leftovers(inventory: Inventory, *, before: datetime) -> list[Leftover]:
    """Return what imgforge made before a moment, and nothing refers to.

    An image is left where the command that made it never came to its end, or its making failed; a
    snapshot where no image has it that stays; a bundle where no image is registered from it.
    What is younger may be in the making.
    """
    images = [one for one in inventory.images if _is_left(one, before)]
    left = {one.image_id for one in images}
    staying = [one for one in inventory.images if one.image_id not in left]
    needed = {snapshot for image in staying for snapshot in image.snapshots.values()}
    locations = {image.text("ImageLocation") for image in staying if not image.is_ebs}
    return [
        *map(_of_image, images),
        *(
            _of_snapshot(one)
            for one in inventory.snapshots
            if is_made(one.tags)
            and one.state != "pending"  # an upload; EC2 makes it an error where nobody goes on
            and one.snapshot_id not in needed
            and _is_older(one.text("StartTime"), before)
        ),
        *(
            _of_bundle(one)
            for one in inventory.bundles
            if one.bundler == _BUNDLER
            and one.location not in locations
            and _is_older(one.modified, before)
        ),
    ]


def take_inventory(cloud: Cloud, places: Sequence[BundlePlace] = ()) -> Inventory:
    """Return what is there in the cloud's region; bundles are looked for in `places`.

    Where none is named, these are the buckets that one's own images are registered from, and on
    any endpoint but AWS all buckets. Raises CloudError, HostError.
    """
    images = own_images(cloud)
    snapshots = cloud.compute.snapshots(owners=[SELF])
    looked_in = places or _places(cloud, images)
    bundles = [bundle for place in looked_in for bundle in _bundles(cloud, place)]
    return Inventory(images, snapshots, bundles)


def remove_leftovers(cloud: Cloud, leftovers: Sequence[Leftover]) -> list[Leftover]:
    """Remove what was named, images first; return what is gone. Each is looked at once more."""
    gone = []
    for kind in LeftoverKind:
        for one in leftovers:
            if one.kind is kind and _remove(cloud, one):
                report(f"{one.kind} {one.thing}: removed")
                gone.append(one)
    return gone


def _remove(cloud: Cloud, leftover: Leftover) -> bool:
    match leftover.kind:
        case LeftoverKind.IMAGE:
            return _remove_image(cloud, leftover.thing)
        case LeftoverKind.SNAPSHOT:
            if why := delete_unneeded(cloud, leftover.thing):
                warn(f"Snapshot {leftover.thing}: stays: {why}")
                return False
            return True
        case LeftoverKind.BUNDLE:
            return bool(delete_unneeded_bundle(cloud, leftover.thing))


def _remove_image(cloud: Cloud, image_id: str) -> bool:
    try:
        image = cloud.compute.image(image_id)
        if not _is_unfinished(image):
            warn(f"Image {image_id}: stays: it was finished meanwhile")
            return False
        note_removal(cloud.region, [image_id])
        forget_image(cloud, image_id)
    except CloudError as error:
        if error.code in _GONE:
            return True
        if error.code != "OperationNotPermitted":
            raise
        warn(f"Image {image_id}: stays: {error}")
        return False
    return True


def _is_unfinished(image: Image) -> bool:
    return is_made(image.tags) and (UNFINISHED in image.tags or image.state in _FAILED)


def _is_left(image: Image, before: datetime) -> bool:
    return _is_unfinished(image) and _is_older(image.text("CreationDate"), before)


def _is_older(moment: str, before: datetime) -> bool:
    """Tell whether something was made before; what tells no time is taken to be young."""
    try:
        made = datetime.fromisoformat(moment)
    except ValueError:
        return False
    return (made if made.tzinfo else made.replace(tzinfo=UTC)) <= before


def _of_image(image: Image) -> Leftover:
    how = image.tags[MADE]
    why = f"imgforge {how} never finished it" if UNFINISHED in image.tags else f"it {image.state}"
    made = image.text("CreationDate")
    return Leftover(LeftoverKind.IMAGE, image.image_id, image.name, made, 0, why)


def _of_snapshot(snapshot: Snapshot) -> Leftover:
    return Leftover(
        LeftoverKind.SNAPSHOT,
        snapshot.snapshot_id,
        snapshot.text("Description"),
        snapshot.text("StartTime"),
        snapshot.volume_size_gib,
        "no image has it",
    )


def _of_bundle(bundle: StoredBundle) -> Leftover:
    size_gib = round(bundle.size_bytes / 2**30, 3)
    name = bundle.location.rpartition("/")[2].removesuffix(MANIFEST_SUFFIX)
    why = "no image is registered from it"
    return Leftover(LeftoverKind.BUNDLE, bundle.location, name, bundle.modified, size_gib, why)


def _places(cloud: Cloud, images: Iterable[Image]) -> list[BundlePlace]:
    """Return the buckets to look in; listing all that an AWS account has could take days."""
    if cloud.endpoint.kind is not EndpointKind.AWS:
        return [BundlePlace(bucket) for bucket in cloud.storage.list_buckets()]
    locations = [image.text("ImageLocation") for image in images if not image.is_ebs]
    found = [BundlePlace(one.partition("/")[0]) for one in locations if one]
    return list(dict.fromkeys(found))


def _bundles(cloud: Cloud, place: BundlePlace) -> list[StoredBundle]:
    prefix = f"{place.prefix}/" if place.prefix else ""
    try:
        if cloud.storage.find_bucket(place.bucket) != cloud.region:
            report(f"Bucket {place.bucket}: is of another region, and left out")
            return []
        objects = list(cloud.storage.list_objects(place.bucket, prefix))
    except CloudError as error:
        if error.code not in _NO_BUCKET:
            raise
        warn(f"Bucket {place.bucket}: is left out: {error}")
        return []
    report(f"Bucket {place.bucket}: {len(objects)} objects are looked through for bundles")
    manifests = [one for one in objects if one.key.endswith(MANIFEST_SUFFIX)]
    return [
        bundle for one in manifests if (bundle := _read_bundle(cloud, place.bucket, one, objects))
    ]


def _read_bundle(
    cloud: Cloud, bucket: str, stored: StoredObject, objects: Sequence[StoredObject]
) -> StoredBundle | None:
    """Return a bundle by its manifest; None for what is no manifest, or cannot be read."""
    content = bytearray()
    try:
        cloud.storage.fetch(bucket, stored.key, content.extend, most_bytes=_MOST_MANIFEST_BYTES)
        manifest = read_manifest(bytes(content)).manifest
    except (BundleError, CloudError) as error:
        report(f"s3://{bucket}/{stored.key}: is left out: {error}")
        return None
    folder = stored.key.rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    names = {prefix + part.filename for part in manifest.image.parts}
    size_bytes = stored.size_bytes + sum(one.size_bytes for one in objects if one.key in names)
    modified = stored.modified.astimezone(UTC).isoformat() if stored.modified else ""
    return StoredBundle(f"{bucket}/{stored.key}", manifest.bundler.name, size_bytes, modified)
