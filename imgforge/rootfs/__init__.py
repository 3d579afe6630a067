"""Packages, folders or tars become one root tree, without root, cached by content."""

from imgforge.rootfs.package_mode import (
    HostOffer,
    PackageMode,
    PackageModeChoice,
    choose_package_mode,
    probe_host,
    remove_with_subordinate_ids,
)
from imgforge.rootfs.prepare import prepare_rootfs
from imgforge.rootfs.tree import EntryKind, Rootfs, TreeEntry

__all__ = [
    "EntryKind",
    "HostOffer",
    "PackageMode",
    "PackageModeChoice",
    "Rootfs",
    "TreeEntry",
    "choose_package_mode",
    "prepare_rootfs",
    "probe_host",
    "remove_with_subordinate_ids",
]
