"""A tree becomes a bootable raw disk; a disk is read without mounting it."""

from imgforge.disk.disk import Disk

__all__ = ["Disk"]
