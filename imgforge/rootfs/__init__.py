"""Packages, folders or tars become one root tree, without root, cached by content."""

from imgforge.rootfs.tree import EntryKind, Rootfs, TreeEntry

__all__ = ["EntryKind", "Rootfs", "TreeEntry"]
