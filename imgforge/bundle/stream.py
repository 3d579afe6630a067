"""Bytes that come in chunks, read in the lengths that are wanted, counted and digested."""

import hashlib
from collections.abc import Iterator

from imgforge.bundle.problem import BundleError


class Stream:
    """A stream with its SHA-1; more than `limit_bytes` of it are refused."""

    def __init__(self, chunks: Iterator[bytes], *, limit_bytes: int) -> None:
        self._chunks = chunks
        self._left_bytes = limit_bytes
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._waiting = memoryview(b"")

    @property
    def sha1(self) -> str:
        """The SHA-1, in hex, of all that came so far."""
        return self._digest.hexdigest()

    def take(self, size_bytes: int) -> bytes:
        """Return exactly so many bytes. Raises BundleError (tar) where it ends before."""
        return b"".join(bytes(piece) for piece in self.pieces(size_bytes))

    def pieces(self, size_bytes: int) -> Iterator[memoryview]:
        """Yield exactly so many bytes, in pieces. Raises BundleError (tar) as `take` does."""
        while size_bytes:
            if not self._waiting and not self._fill():
                raise BundleError("tar", "Bundle: the tar in it ends too early.")
            piece = self._waiting[:size_bytes]
            self._waiting = self._waiting[len(piece) :]
            size_bytes -= len(piece)
            yield piece

    def rest(self, most_bytes: int) -> Iterator[bytes]:
        """Yield all that is left. Raises BundleError (tar) for more than `most_bytes`."""
        while self._waiting or self._fill():
            most_bytes -= len(self._waiting)
            if most_bytes < 0:
                raise BundleError("tar", "Bundle: the tar in it goes on behind its one file.")
            yield bytes(self._waiting)
            self._waiting = memoryview(b"")

    def _fill(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise BundleError("tar", "Bundle: the tar in it is longer than its image can make it.")
        self._digest.update(chunk)
        self._waiting = memoryview(chunk)
        return True
