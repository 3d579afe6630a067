"""Bodies in chunks that are signed one by one, or that end with a checksum (aws-chunked).

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import re
from collections.abc import Iterator, Mapping

from imgforge.ec2.local.wire import CHUNK_BYTES, RefusalError, Request, chunks_of

_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})(?:;[!-~]{1,200})?")
_TRAILER = re.compile(rb"([A-Za-z0-9-]{1,64}):[ \t]*([!-~]{0,200})")
_LONGEST_LINE = 512
_MOST_TRAILERS = 16


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Tell whether a body is in such chunks."""
    encodings = {one.strip() for one in headers.get("content-encoding", "").split(",")}
    return "aws-chunked" in encodings or headers.get("x-amz-content-sha256", "").startswith(
        "STREAMING-"
    )


class Chunked:
    """What is in the chunks of a request; once they are read, `trailers` has what stood behind."""

    def __init__(self, request: Request) -> None:
        self._source = chunks_of(request.body, request.size_bytes)
        self._waiting = b""
        length = request.headers.get("x-amz-decoded-content-length", "")
        if not length.isascii() or not length.isdecimal():
            raise RefusalError(
                "MissingContentLength",
                "You must provide the x-amz-decoded-content-length header.",
                status=411,
            )
        self.size_bytes = int(length)
        self.trailers: dict[str, str] = {}

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes. Raises RefusalError (IncompleteBody, InvalidRequest)."""
        left_bytes = self.size_bytes
        while chunk_bytes := self._chunk_size():
            left_bytes -= chunk_bytes
            if left_bytes < 0:
                raise _incomplete()
            while chunk_bytes:
                piece = self._draw(min(chunk_bytes, CHUNK_BYTES))
                chunk_bytes -= len(piece)
                yield piece
            if self._line():
                raise _malformed()
        if left_bytes:
            raise _incomplete()
        self._read_trailers()

    def _chunk_size(self) -> int:
        found = _HEAD.fullmatch(self._line())
        if found is None:
            raise _malformed()
        return int(found[1], 16)

    def _read_trailers(self) -> None:
        for _ in range(_MOST_TRAILERS):
            line = self._line(at_end=b"")
            if not line:
                break
            found = _TRAILER.fullmatch(line)
            if found is None:
                raise _malformed()
            self.trailers[found[1].decode().lower()] = found[2].decode()
        for _ in self._source:  # nothing of it is meant
            pass

    def _draw(self, size_bytes: int) -> bytes:
        if not self._waiting:
            self._waiting = next(self._source, b"")
            if not self._waiting:
                raise _incomplete()
        piece, self._waiting = self._waiting[:size_bytes], self._waiting[size_bytes:]
        return piece

    def _line(self, *, at_end: bytes | None = None) -> bytes:
        while b"\r\n" not in self._waiting:
            if len(self._waiting) > _LONGEST_LINE:
                raise _malformed()
            more = next(self._source, b"")
            if not more:
                if at_end is not None and not self._waiting:
                    return at_end
                raise _incomplete()
            self._waiting += more
        line, _, self._waiting = self._waiting.partition(b"\r\n")
        return line


def _incomplete() -> RefusalError:
    words = "The chunks are not as long as x-amz-decoded-content-length says."
    return RefusalError("IncompleteBody", words)


def _malformed() -> RefusalError:
    return RefusalError("InvalidRequest", "The body is not in chunks as aws-chunked has them.")
