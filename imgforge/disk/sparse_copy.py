"""Data goes from one file to another by data, not by size: holes cost nothing."""

import errno
import os
import time
from pathlib import Path

from imgforge.disk.record import data_runs
from imgforge.errors import BadInputError
from imgforge.progress import report

_CHUNK_BYTES = 32 * 2**20
_PAUSE_S = 1.0
# copy_file_range(2) where a file system or an old kernel has none.
_NOT_HERE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def copy_data(source: Path, target: Path) -> int:
    """Copy a file's data over the start of another, a blank one; return how many bytes.

    Holes of the source are left out. The kernel copies, and shares blocks where its file system
    can (copy_file_range(2)). Raises BadInputError for a source that becomes shorter meanwhile.
    """
    with source.open("rb") as reader, target.open("r+b") as writer:
        runs = list(data_runs(reader.fileno()))
        total = sum(end - start for start, end in runs)
        done, told_s = 0, time.monotonic()
        for start, end in runs:
            position = start
            while position < end:
                count = _copy(reader.fileno(), writer.fileno(), position, end)
                if count == 0:
                    raise BadInputError(f"Disk {source}: it became shorter while it was copied.")
                position, done = position + count, done + count
                if time.monotonic() - told_s >= _PAUSE_S:
                    told_s = time.monotonic()
                    report(f"copy: {100 * done // total} %", done=done, total=total)
        os.fsync(writer.fileno())
    return total


def _copy(reader: int, writer: int, position: int, end: int) -> int:
    count = min(_CHUNK_BYTES, end - position)
    try:
        return os.copy_file_range(reader, writer, count, position, position)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    os.lseek(writer, position, os.SEEK_SET)
    return os.sendfile(writer, reader, position, count)
