"""A disk, a snapshot or a bundle becomes a registered image (an AMI), through EC2's own calls."""

from imgforge.registering.asking import gate_tags
from imgforge.registering.bundle_image import BundleWish, register_bundle
from imgforge.registering.disk_image import (
    DiskWish,
    find_registered,
    object_to_disk,
    register_disk,
)
from imgforge.registering.snapshot import SnapshotOf, ensure_snapshot
from imgforge.registering.snapshot_image import SnapshotImageWish, register_snapshot

__all__ = [
    "BundleWish",
    "DiskWish",
    "SnapshotImageWish",
    "SnapshotOf",
    "ensure_snapshot",
    "find_registered",
    "gate_tags",
    "object_to_disk",
    "register_bundle",
    "register_disk",
    "register_snapshot",
]
