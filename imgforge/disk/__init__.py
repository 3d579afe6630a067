"""A tree becomes a bootable raw disk; a disk is read without mounting it."""

from imgforge.disk.build import build_disk
from imgforge.disk.disk import Disk
from imgforge.disk.record import disk_sha256, open_disk

__all__ = ["Disk", "build_disk", "disk_sha256", "open_disk"]
