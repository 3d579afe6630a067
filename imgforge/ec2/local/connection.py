"""A connection as the server reads and writes it: bodies in one piece, answers in one piece.

cheroot reads with Python's own buffers, 512 KiB anew for each piece that arrives, writes headers
and body apart, and hands a connection back to its selector after each request. For blocks of EBS
direct that is half of all work (1.0 ms of a processor each, 0.5 ms without).
"""

import functools
import logging
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from cheroot.server import HTTPConnection, HTTPRequest

from imgforge.ec2.local.app import drain
from imgforge.ec2.local.plain_request import MOST_HEAD_BYTES, PlainHead, read_plain_head
from imgforge.ec2.local.wire import Body, Request, Response, request_of

_LOG = logging.getLogger("imgforge.ec2.local")
Respond = Callable[[Request], Response]
"""Answers a request."""
_TIMEOUT_S = 60
_LINGER_MS = 20
"""How long the next request of a connection is waited for before it goes back to the selector."""
_BUFFER_BYTES = 2**16
_LINE_BYTES = 2**16


class Reader:
    """What comes in: lines out of a buffer, bodies straight from the socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._waiting = b""
        self.closed = False
        self.bytes_read = 0

    def has_data(self) -> bool:
        """Tell whether something was read that nobody has taken."""
        return bool(self._waiting)

    def next_head(self) -> bytes:
        """Return the next request's head, which stays to be read; b"" where it is not here yet.

        Waits for its first bytes, and takes none that are behind it: those are the body's, which
        then comes in one piece.
        """
        if not self._waiting:
            seen = self._receive(MOST_HEAD_BYTES, socket.MSG_PEEK)
            self._waiting = self._receive(_head_bytes(seen) or _BUFFER_BYTES, 0)
        return self._waiting[: _head_bytes(self._waiting)]

    def readline(self, size: int | None = -1) -> bytes:
        """Return a line with its end, at most `size` bytes of it; less at the connection's end."""
        most = _LINE_BYTES if size is None or size < 0 else size
        while True:
            end = self._waiting.find(b"\n", 0, most) + 1
            if end or len(self._waiting) >= most:
                return self._take(end or most)
            more = self._receive(_BUFFER_BYTES, 0)
            if not more:
                return self._take(most)
            self._waiting += more

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, or what there is until the connection's end."""
        if size is None or size < 0:
            size = 2**62
        taken = self._take(size)
        missing = size - len(taken)
        if not missing:
            return taken
        pieces = [taken] if taken else []
        while missing:
            # All of a block at once: the interpreter is left and entered again but once.
            piece = self._receive(min(missing, 2**20), socket.MSG_WAITALL)
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
            self.bytes_read += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Read no more; the connection closes the socket."""
        self.closed = True

    def _take(self, size: int) -> bytes:
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        self.bytes_read += len(taken)
        return taken

    def _receive(self, size: int, flags: int) -> bytes:
        try:
            return self._end.recv(size, flags)
        except BlockingIOError:  # SO_RCVTIMEO has passed
            raise TimeoutError("timed out") from None


def _head_bytes(content: bytes) -> int:
    """Return how long the head is that `content` begins with; 0 where it does not end there."""
    end = content.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES)
    return end + 4 if end >= 0 else 0


class Writer:
    """What goes out: pieces are kept until `flush`, as far as they are short."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._waiting: list[bytes] = []
        self._size_bytes = 0
        self._is_held = False
        self.bytes_written = 0

    def write(self, data: bytes) -> int:
        """Send bytes, or keep them for those that follow."""
        self._waiting.append(data)
        self._size_bytes += len(data)
        if not self._is_held or self._size_bytes >= _BUFFER_BYTES:
            self._send()
        return len(data)

    def hold(self) -> None:
        """Keep what is written until `flush`."""
        self._is_held = True

    def flush(self) -> None:
        """Send what was kept."""
        self._is_held = False
        self._send()

    def _send(self) -> None:
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        self._waiting.clear()
        self.bytes_written += len(data)
        self._size_bytes = 0
        try:
            self._end.sendall(data)
        except BlockingIOError:
            raise TimeoutError("timed out") from None


class _Request(HTTPRequest):
    """A request whose length is a number: cheroot waits for the end of one with -1."""

    def read_request_headers(self) -> bool:
        """Read the headers; tell whether they are those of a request."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if self.inheaders.get(b"Content-Length", b"0").isdigit():
            return True
        self.close_connection = True
        self.simple_response("400 Bad Request", "Malformed Content-Length Header.")
        return False


class _KnownBody:
    """A body of a known length."""

    def __init__(self, reader: Reader, size_bytes: int) -> None:
        self._reader = reader
        self._missing = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, none at the body's end or the connection's."""
        most = self._missing if size < 0 else min(size, self._missing)
        data = self._reader.read(most) if most else b""
        self._missing -= len(data)
        return data

    @property
    def is_read(self) -> bool:
        """Whether all of it has come."""
        return not self._missing


class Connection(HTTPConnection):
    """A connection that is asked again at once where the next request follows closely.

    What has a plain head goes to `respond` straight away.
    """

    RequestHandlerClass = _Request

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = None) -> None:
        super().__init__(server, sock, _make_file)
        # The kernel's own limits: with Python's, each piece is waited for by another call.
        limit = struct.pack("ll", _TIMEOUT_S, 0)
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def communicate(self) -> bool:
        """Answer requests; tell whether the connection stays open, for the selector to watch."""
        while self._answer_next():
            if self.rfile.has_data():
                continue
            is_wanted = self.server.requests.qsize or not self.server.ready
            if is_wanted or not self._poll.poll(_LINGER_MS):
                return True
        return False

    def _answer_next(self) -> bool:
        """Answer a request; tell whether another may follow."""
        respond = self.server.respond
        if respond is not None:
            try:
                head = self.rfile.next_head()
                plain = read_plain_head(head) if head else None
                if plain is not None:
                    self.rfile.read(len(head))
                    return self._answer_plain(plain, respond)
            except OSError as error:  # the client has gone, or says no more
                _LOG.debug("connection: %s", error)
                return False
        return bool(super().communicate())  # type: ignore[no-untyped-call]

    def _answer_plain(self, head: PlainHead, respond: Respond) -> bool:
        body = _KnownBody(self.rfile, head.size_bytes)
        request = request_of(
            head.method,
            head.target,
            head.headers,
            Body(body, head.size_bytes),
            cut=functools.partial(cut_off, self.socket),
        )
        response = respond(request)
        drain(body)
        phrase = HTTPStatus(response.status).phrase
        lines = [f"HTTP/1.1 {response.status} {phrase}", f"Date: {_date(int(time.time()))}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        answer = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wfile.write(b"".join([answer, *response.body]))
        return body.is_read


@functools.lru_cache(4)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def cut_off(end: socket.socket) -> None:
    """End a connection without an answer."""
    with suppress(OSError):  # the client may have gone
        end.shutdown(socket.SHUT_RDWR)


def _make_file(end: socket.socket, mode: str, _size: int) -> Reader | Writer:
    return Reader(end) if "r" in mode else Writer(end)
