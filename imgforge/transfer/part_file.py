"""A part's file: what is in it, and as a body that is sent."""

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from imgforge.bundle import BundleError
from imgforge.ec2 import Content, digests_of
from imgforge.transfer.parallel import Stop

_CHUNK_BYTES = 2**20


def part_content(path: Path, stop: Stop) -> Content:
    """Return what a part's file holds. Raises BundleError (part-missing, part-file)."""
    return digests_of(_chunks(path, stop))


def _chunks(path: Path, stop: Stop) -> Iterator[bytes]:
    try:
        # Of a FIFO nothing is waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BundleError("part-file", f"Part {path.name}: is no regular file.")
            while chunk := file.read(_CHUNK_BYTES):
                stop.check()
                yield chunk
    except OSError as error:
        raise BundleError(
            "part-missing", f"Part {path.name}: cannot be read in {path.parent}: {error.strerror}."
        ) from None


class Body(io.RawIOBase):
    """The first bytes of a file, read no further though it grow; ends where work is in vain."""

    def __init__(self, file: io.BufferedReader | io.BytesIO, size_bytes: int, stop: Stop) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._stop = stop

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be sent again."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place."""
        if whence == os.SEEK_END:
            return self._file.seek(self._size_bytes + offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place it is at."""
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes. Raises StoppedError."""
        self._stop.check()
        left = max(0, self._size_bytes - self._file.tell())
        return self._file.read(left if size is None or size < 0 else min(size, left))
