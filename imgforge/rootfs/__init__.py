"""Packages, folders or tars become one root tree, without root, cached by content."""

from imgforge.rootfs.appliance import (
    HYPERVISOR,
    INITRAMFS,
    KERNEL,
    LOADER,
    LOADER_32,
    UNPACKED_BYTES,
    build_appliance,
)
from imgforge.rootfs.apt import PackagesGoneError
from imgforge.rootfs.found import FileContent, Found
from imgforge.rootfs.lock import Lock
from imgforge.rootfs.made_tree import read_rootfs
from imgforge.rootfs.package_mode import (
    HostOffer,
    PackageMode,
    PackageModeChoice,
    choose_package_mode,
    probe_host,
    remove_with_subordinate_ids,
)
from imgforge.rootfs.package_set import PackageSet
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.prepare import prepare_rootfs
from imgforge.rootfs.standing_tree import Reader, read_standing_tree
from imgforge.rootfs.tree import EntryKind, Rootfs, TreeEntry

__all__ = [
    "HYPERVISOR",
    "INITRAMFS",
    "KERNEL",
    "LOADER",
    "LOADER_32",
    "UNPACKED_BYTES",
    "EntryKind",
    "FileContent",
    "Found",
    "HostOffer",
    "Lock",
    "PackageMode",
    "PackageModeChoice",
    "PackageSet",
    "PackagesGoneError",
    "PlainTree",
    "Reader",
    "Rootfs",
    "TreeEntry",
    "build_appliance",
    "choose_package_mode",
    "prepare_rootfs",
    "probe_host",
    "read_rootfs",
    "read_standing_tree",
    "remove_with_subordinate_ids",
]
