"""Whether the log of an XFS file system is empty, as mounting tells it.

So do the kernel's xlog_find_head and xlog_check_unmount_rec; the format is in xfs_log_format.h.
"""

import struct

from imgforge.disk.xfs_filesystem import XfsFilesystem
from imgforge.errors import BadInputError

_BLOCK_BYTES = 512
_RECORD_MAGIC = 0xFEEDBABE
_VERSION_2 = 2
_BYTES_PER_HEADER = 32 * 2**10
_MOST_HEADERS = 8
_UNMOUNT = 0x20


def require_clean_log(filesystem: XfsFilesystem, *, what: str) -> None:
    """Raise BadInputError, naming `what`, where the log does not end with an unmount."""
    superblock = filesystem.superblock
    if not superblock.log_block:
        raise BadInputError(f"{what}: has its log on another device, which is not here.")
    log = _Log(filesystem, filesystem.block_at(superblock.log_block))
    if not log.is_clean():
        raise BadInputError(
            f"{what} was not unmounted; its log must be replayed first.",
            hint="Boot the disk once and shut it down: only a mount replays that log.",
        )


class _Log:
    """The log, in blocks of 512 bytes: each begins with the cycle in which it was written."""

    def __init__(self, filesystem: XfsFilesystem, start: int) -> None:
        self._filesystem = filesystem
        self._start = start
        size = filesystem.superblock.log_blocks * filesystem.superblock.block_bytes
        self._count = size // _BLOCK_BYTES

    def is_clean(self) -> bool:
        if self._count < 2 * _MOST_HEADERS:
            return False
        head = self._head()
        for back in range(2, _MOST_HEADERS + 2):  # one block of data after one to eight of header
            record = (head - back) % self._count
            if self._word(record) == _RECORD_MAGIC:
                return self._is_unmount(record, back=back)
        return False

    def _head(self) -> int:
        """Return the block behind the last one written: cycles fall by one there."""
        first = self._cycle(0)
        low, high = 0, self._count
        while high - low > 1:
            middle = (low + high) // 2
            if self._cycle(middle) == first:
                low = middle
            else:
                high = middle
        return high % self._count

    def _cycle(self, block: int) -> int:
        word = self._word(block)
        return self._word(block, 4) if word == _RECORD_MAGIC else word

    def _is_unmount(self, record: int, *, back: int) -> bool:
        version, length = self._word(record, 8), self._word(record, 12)
        operations, size = self._word(record, 40), self._word(record, 320)
        headers = max(1, -(-size // _BYTES_PER_HEADER)) if version & _VERSION_2 else 1
        fits = headers + -(-length // _BLOCK_BYTES) == back and operations == 1
        flags = self._read((record + headers) % self._count)[9]
        return fits and bool(flags & _UNMOUNT)

    def _word(self, block: int, at: int = 0) -> int:
        return int(struct.unpack_from(">I", self._read(block), at)[0])

    def _read(self, block: int) -> bytes:
        return self._filesystem.read_at(self._start + block * _BLOCK_BYTES, _BLOCK_BYTES)
