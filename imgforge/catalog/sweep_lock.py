"""Who puts data into the catalog, and who takes away what is not needed, keep out of each other."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgforge.files import lock_within

_NAME = "catalog.sqlite3-sweep"  # beside the database's own -wal and -shm


@contextmanager
def referring(folder: Path) -> Iterator[None]:
    """Keep the catalog in `folder` from being swept, until a record refers to what was put."""
    descriptor = _open(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def sweeping(folder: Path, *, limit_s: float) -> Iterator[bool]:
    """Keep everybody from putting data; tell whether that could be had in time."""
    descriptor = _open(folder)
    try:
        yield lock_within(descriptor, fcntl.LOCK_EX, limit_s=limit_s)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    return os.open(f"{folder}/{_NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
