"""A tree read where it stands, with owners, modes, times and attributes as they are: / as well.

Each folder is opened within the one above it, and no symbolic link is followed: whoever may write
to the tree meanwhile cannot lead the reader out of it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from imgforge.errors import BadInputError
from imgforge.rootfs.found import FileContent, Found, read_blocks
from imgforge.rootfs.tree import EntryKind, TreeEntry

_KINDS = {
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFIFO: EntryKind.FIFO,
    stat.S_IFCHR: EntryKind.CHARACTER_DEVICE,
    stat.S_IFBLK: EntryKind.BLOCK_DEVICE,
}
_DEVICES = {EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE}
# What the kernel keeps on a disk; the rest (system.nfs4_acl, …) is made by a file system as asked.
_STORED_XATTRS = ("user.", "trusted.", "security.", "system.posix_acl_")
# Those of XFS show its ACLs a second time (the kernel's fs/xfs/xfs_xattr.c).
_SEEN_TWICE = {"trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT"}
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_EARLIEST_S, _LATEST_S = -(2**31), 2**34 - 2**31 - 1  # struct ext4_inode: 34 bits


class Reader:
    """Who decides what of a tree is read, and is told what could not be."""

    def keeps(self, entry: TreeEntry, identity: tuple[int, int] | None) -> bool:
        """Tell whether a path is kept; a folder that is not is not entered.

        `identity` is the same for all names of a file that has several, else None.
        """
        raise NotImplementedError

    def enters(self, path: str) -> bool:
        """Tell whether the folder `path` keeps its content."""
        raise NotImplementedError

    def unreadable(self, path: str, error: OSError) -> None:
        """Take note of a path that cannot be read."""
        raise NotImplementedError

    def passed_over(self, path: str, why: str) -> None:
        """Take note of a path that no tree can hold, or that has gone meanwhile."""
        raise NotImplementedError


def read_standing_tree(folder: Path, reader: Reader) -> Iterator[Found]:
    """Yield what `reader` keeps of the tree at `folder`, itself first, by its names' bytes.

    The attributes and the content of a path can be asked for until the next one is. Raises
    BadInputError where there is no such folder.
    """
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BadInputError(f"Tree {folder}: cannot be read: {error.strerror}.") from None
    stack: list[tuple[int, str, list[str]]] = []
    try:
        stack.append((root, "", _names(root, ".", reader)))
        found = _look(root, ".", ".", reader)
        if found is not None:
            yield found
        while stack:
            descriptor, place, names = stack[-1]
            if not names:
                stack.pop()
                os.close(descriptor)
                continue
            name = names.pop()
            found = _look(descriptor, name, place + name, reader)
            if found is None:
                continue
            yield found
            if found.entry.kind is EntryKind.DIRECTORY and reader.enters(found.entry.path):
                below = _open_folder(descriptor, name, place + name, reader)
                if below is not None:
                    stack.append((below, f"{place}{name}/", []))
                    stack[-1][2].extend(_names(below, place + name, reader))
    finally:
        for descriptor, _, _ in stack:
            os.close(descriptor)


def _names(descriptor: int, path: str, reader: Reader) -> list[str]:
    """Return the names in an open folder, the first one last."""
    try:
        return sorted(os.listdir(descriptor), key=os.fsencode, reverse=True)
    except OSError as error:
        reader.unreadable(path, error)
        return []


def _open_folder(parent: int, name: str, path: str, reader: Reader) -> int | None:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            reader.passed_over(path, "vanished")
        else:
            reader.unreadable(path, error)
        return None


def _look(parent: int, name: str, path: str, reader: Reader) -> Found | None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            reader.passed_over(path, "socket")
            return None
        entry = _describe(path, kind, status, {})
        several = kind is not EntryKind.DIRECTORY and status.st_nlink > 1
        identity = (status.st_dev, status.st_ino) if several else None
        if not reader.keeps(entry, identity):
            return None
        xattrs = _xattrs(parent, name)
        target = os.readlink(name, dir_fd=parent) if kind is EntryKind.SYMLINK else ""
    except FileNotFoundError:
        reader.passed_over(path, "vanished")
        return None
    except OSError as error:
        reader.unreadable(path, error)
        return None
    return Found(
        _describe(path, kind, status, xattrs) if xattrs else entry,
        target=target,
        identity=identity,
        content=partial(_content, parent, name) if kind is EntryKind.FILE else None,
    )


def _describe(
    path: str, kind: EntryKind, status: os.stat_result, xattrs: dict[str, bytes]
) -> TreeEntry:
    is_device = kind in _DEVICES
    return TreeEntry(
        path=path,
        kind=kind,
        mode=0o777 if kind is EntryKind.SYMLINK else stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_s=min(max(status.st_mtime_ns // 10**9, _EARLIEST_S), _LATEST_S),
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
        xattrs=xattrs,
    )


def _xattrs(parent: int, name: str) -> dict[str, bytes]:
    # There is no listxattrat(2) in Python; a path through the open folder is as safe.
    path = f"/proc/self/fd/{parent}/{name}"
    found = {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EPERM}:
            return {}
        raise
    for attribute in names:
        if attribute.startswith(_STORED_XATTRS) and attribute not in _SEEN_TWICE:
            with _gone_allowed():
                found[attribute] = os.getxattr(path, attribute, follow_symlinks=False)
    return found


@contextmanager
def _gone_allowed() -> Iterator[None]:
    """Let an attribute go that was taken away between its name and its value."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise


@contextmanager
def _content(parent: int, name: str) -> Iterator[FileContent]:
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise FileNotFoundError(errno.ENOENT, "is no file any more", name)
        yield FileContent(
            before.st_size,
            read_blocks(descriptor, before.st_size),
            changed=lambda: _stamp(os.fstat(descriptor)) != _stamp(before),
        )
    finally:
        os.close(descriptor)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
