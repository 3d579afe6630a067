"""Folders that are in use are not taken away: a shared lock of the folder itself, flock(2).

Whoever reads a folder of the cache holds it shared; whoever removes it needs it alone, and never
waits for that. A kill frees the lock. The cache's own folder is held so by all that build.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgforge.errors import HostError
from imgforge.files import lock_within

# Who looks through the cache holds a folder alone for a moment, who empties it for some more.
_USE_LIMIT_S = 60.0
_ALONE_LIMIT_S = 0.05


class FolderGoneError(HostError):
    """A folder of the cache that was to be used has gone: what it held can be made again."""


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep `folder` from being pruned in this block; it may be used by many at once.

    Raises FolderGoneError where it is not there, or went while its lock was waited for; HostError
    where another process holds it alone for long.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise FolderGoneError(f"Folder {folder}: it is not there.") from None
    try:
        if not lock_within(descriptor, fcntl.LOCK_SH, limit_s=_USE_LIMIT_S):
            raise HostError(
                f"Folder {folder}: another process has held it alone for {_USE_LIMIT_S:g} s.",
                hint="See whether an `imgforge cache prune` hangs, and end it.",
            )
        if not _is_there(folder, descriptor):
            raise FolderGoneError(f"Folder {folder}: it was removed meanwhile.")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Hold `folder` alone in this block; give False where it cannot be had, for it is in use."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        had = lock_within(descriptor, fcntl.LOCK_EX, limit_s=_ALONE_LIMIT_S)
        yield had and _is_there(folder, descriptor)
    finally:
        os.close(descriptor)


def touch_used(path: Path) -> None:
    """Note that a file or folder of the cache was used now: it goes later than others."""
    with contextlib.suppress(OSError):  # it has gone, or this user may only read it
        os.utime(path, follow_symlinks=False)


def _is_there(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except OSError:
        return False
