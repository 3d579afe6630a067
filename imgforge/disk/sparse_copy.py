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


def copy_data(source: Path, target: Path, *, start_bytes: int = 0) -> int:
    """Copy a file's data from `start_bytes` on over the start of another; return how many bytes.

    The target is blank, and as large as what it is to hold. Holes of the source are left out. The
    kernel copies, and shares blocks where its file system can (copy_file_range(2)). Raises
    BadInputError for a source that becomes shorter meanwhile.
    """
    with source.open("rb") as reader, target.open("r+b") as writer:
        limit = start_bytes + os.fstat(writer.fileno()).st_size
        spans = [(max(a, start_bytes), min(b, limit)) for a, b in data_runs(reader.fileno())]
        runs = [(start, end) for start, end in spans if start < end]
        total = sum(end - start for start, end in runs)
        done, told_s = 0, time.monotonic()
        for start, end in runs:
            position = start
            while position < end:
                count = _copy(reader.fileno(), writer.fileno(), position, end, back=start_bytes)
                if count == 0:
                    raise BadInputError(f"Disk {source}: it became shorter while it was copied.")
                position, done = position + count, done + count
                if time.monotonic() - told_s >= _PAUSE_S:
                    told_s = time.monotonic()
                    report(f"copy: {100 * done // total} %", done=done, total=total)
        os.fsync(writer.fileno())
    return total


def _copy(reader: int, writer: int, position: int, end: int, *, back: int) -> int:
    count = min(_CHUNK_BYTES, end - position)
    try:
        return os.copy_file_range(reader, writer, count, position, position - back)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    os.lseek(writer, position - back, os.SEEK_SET)
    return os.sendfile(writer, reader, position, count)
