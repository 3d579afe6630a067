"""What is found while a root tree is read, wherever that stands: a folder, a disk."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from imgforge.rootfs.tree import TreeEntry

BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file's length, and its blocks with where each begins; what no block covers is a hole.

    A block begins at a multiple of 1 MiB and ends at the next one, or at the file's end: so the
    same content has the same blocks, however the file is stored. `changed` tells, once they were
    read, whether somebody wrote to the file meanwhile.
    """

    size_bytes: int
    blocks: Iterator[tuple[int, bytes]]
    changed: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Found:
    """A path of a tree: its metadata, and what it holds.

    `target` is a symlink's. `identity` is the same for all names of one hard linked file, else
    None. `content` opens a file; it may fail with OSError, as any file may.
    """

    entry: TreeEntry
    target: str = ""
    identity: tuple[int, int] | None = None
    content: Callable[[], AbstractContextManager[FileContent]] | None = None


def read_blocks(descriptor: int, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield an open file's blocks; holes are not read (lseek(2), SEEK_DATA)."""
    position = 0
    while position < size_bytes:
        try:
            data = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = data // BLOCK_BYTES * BLOCK_BYTES
        if position >= size_bytes:
            return
        block = os.pread(descriptor, min(BLOCK_BYTES, size_bytes - position), position)
        if not block:  # it became shorter
            return
        yield position, block
        position += BLOCK_BYTES
