"""A bundle goes from S3: its parts first, and last its manifest, which names them.

So what was killed half-way can be run again.
"""

from dataclasses import dataclass
from enum import StrEnum

from imgforge.bundle import MANIFEST_SUFFIX, Manifest, is_part_of
from imgforge.ec2 import Cloud
from imgforge.errors import CloudError
from imgforge.progress import report, warn
from imgforge.transfer.place import BundlePlace

_DENIED = {"AccessDenied", "403"}
_MANY = 100


class Clearing(StrEnum):
    """What becomes of the bucket."""

    KEEP = "keep"
    REMOVE_EMPTY = "remove-empty"


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is to go, by keys; the manifest is None where none is there."""

    place: BundlePlace
    parts: tuple[str, ...]
    manifest: str | None

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them, in the order in which they go."""
        return self.parts if self.manifest is None else (*self.parts, self.manifest)


def plan_deletion(
    cloud: Cloud, place: BundlePlace, *, name: str, manifest: Manifest | None = None
) -> Deletion:
    """Return what is there of the bundle `name`: NAME.part.<digits> and NAME.manifest.xml.

    With its manifest these are the parts it names. What is not there is left out; a bundle, or a
    bucket, that has gone leaves nothing to do. Raises CloudError.
    """
    prefix = place.key("")
    manifest_key = place.key(name + MANIFEST_SUFFIX)
    own = {place.key(part.filename) for part in manifest.image.parts} if manifest else set()
    try:
        there = [one.key for one in cloud.storage.list_objects(place.bucket, prefix)]
    except CloudError as error:
        if error.code == "NoSuchBucket":
            there = []
        elif error.code in _DENIED and own:
            there = [*own, manifest_key]  # who may not look may delete what the manifest names
        else:
            raise
    parts = sorted(
        key for key in there if (key in own if manifest else is_part_of(key[len(prefix) :], name))
    )
    return Deletion(place, tuple(parts), manifest_key if manifest_key in there else None)


def delete_bundle(cloud: Cloud, deletion: Deletion, *, clearing: Clearing = Clearing.KEEP) -> bool:
    """Delete what was planned; tell whether the bucket has gone, too. Raises CloudError."""
    bucket = deletion.place.bucket
    total = len(deletion.keys)
    for start in range(0, len(deletion.parts), _MANY):
        cloud.storage.delete_objects(bucket, list(deletion.parts[start : start + _MANY]))
        done = min(start + _MANY, total)
        report(f"delete: {done} of {total} objects", done=done, total=total)
    if deletion.manifest is not None:
        cloud.storage.delete_objects(bucket, [deletion.manifest])
    if clearing is Clearing.KEEP:
        return False
    if cloud.storage.delete_bucket(bucket):
        return True
    warn(f"Bucket {bucket}: has other objects in it, and stays")
    return False
