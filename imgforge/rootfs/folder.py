"""Folders laid over a tree: every file root's, with modes that no umask or checkout changes."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from imgforge.errors import BadInputError
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, TreeEntry

_HASHED_BELOW_BYTES = 1024 * 1024


def lay_over(folder: Path, tree: PlainTree, *, mtime_s: int) -> None:
    """Lay `folder` over `tree`: folders merge, symlinks stay, the rest replaces.

    Folders and executable files get the mode 0755, others 0644; hard links become copies; times
    become `mtime_s`. Raises BadInputError for what cannot be read and for sockets and devices.
    """
    for plain in _walk(folder):
        path = plain.relative_to(folder).as_posix()
        status = plain.lstat()
        kind = _kind(plain, status.st_mode)
        is_0755 = kind is EntryKind.DIRECTORY or status.st_mode & 0o111
        entry = TreeEntry(path, kind, 0o755 if is_0755 else 0o644, 0, 0, mtime_s)
        try:
            match kind:
                case EntryKind.DIRECTORY:
                    tree.add_folder(entry)
                case EntryKind.SYMLINK:
                    tree.add_symlink(entry, os.readlink(plain))  # noqa: PTH115
                case EntryKind.FIFO:
                    tree.add_node(entry)
                case _:
                    with plain.open("rb") as content:
                        tree.add_file(entry, content)
        except PermissionError as error:
            raise _refuse(plain, error) from None


def fingerprint(folder: Path) -> str:
    """Return what changes whenever the content of `folder` does.

    Small files count by content, so that another checkout of the same is the same; files of a
    mebibyte and more by their identity and times.
    """
    digest = hashlib.sha256()
    for plain in _walk(folder):
        status = plain.lstat()
        kind = _kind(plain, status.st_mode)
        facts = [os.fsencode(plain.relative_to(folder)), kind.encode()]
        if kind is EntryKind.SYMLINK:
            facts.append(os.fsencode(plain.readlink()))
        elif kind is EntryKind.FILE:
            facts += [b"x" if status.st_mode & 0o111 else b"-", _file_facts(plain, status)]
        digest.update(b"\0".join(facts) + b"\0\0")
    return digest.hexdigest()


def identify(path: Path) -> str:
    """Return what changes whenever the file at `path` is replaced or written to.

    Raises BadInputError where there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _refuse(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise BadInputError(f"{path}: not a file.")
    return _identity(status)


def _file_facts(plain: Path, status: os.stat_result) -> bytes:
    if status.st_size >= _HASHED_BELOW_BYTES:
        return _identity(status).encode()
    try:
        return hashlib.sha256(plain.read_bytes()).digest()
    except OSError as error:
        raise _refuse(plain, error) from None


def _identity(status: os.stat_result) -> str:
    return ":".join(
        str(part)
        for part in (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Give everything below `folder`, parents first, in the order of their names' bytes."""
    pending = _list_reversed(folder)
    while pending:  # no recursion: a folder may be deeper than Python's stack
        child = pending.pop()
        yield child
        if child.is_dir() and not child.is_symlink():
            pending += _list_reversed(child)


def _list_reversed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=os.fsencode, reverse=True)
    except OSError as error:
        raise _refuse(folder, error) from None


def _kind(plain: Path, mode: int) -> EntryKind:
    kinds = {
        stat.S_IFDIR: EntryKind.DIRECTORY,
        stat.S_IFREG: EntryKind.FILE,
        stat.S_IFLNK: EntryKind.SYMLINK,
        stat.S_IFIFO: EntryKind.FIFO,
    }
    kind = kinds.get(stat.S_IFMT(mode))
    if kind is None:
        raise BadInputError(f"{plain}: a socket or device cannot be laid over a tree.")
    return kind


def _refuse(path: Path, error: OSError) -> BadInputError:
    return BadInputError(f"{path}: cannot be read: {error.strerror}.")
