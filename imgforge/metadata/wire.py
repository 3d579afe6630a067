"""Accepted connections, in an event loop, with no more work than a short answer needs.

asyncio's own server and transports take a task, a future and eight callbacks to accept, read,
answer and close; measured, that was four fifths of a request.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_PIECE_BYTES = 65536
_AT_ONCE = 64
_PAUSE_S = 1.0
_FULL_PAUSE_S = 0.02
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Reader(Protocol):
    """Who takes what comes over a wire."""

    def received(self, data: bytes) -> None:
        """Take some bytes."""

    def ended(self) -> None:
        """Know that the other side has said all it will."""

    def lost(self) -> None:
        """Know that the wire is closed; nothing follows."""


class Listener:
    """Accepts what comes to a bound socket, until it is closed, and `begin`s with each.

    `begin` also gets the address it came from, "" where there are none; while there is no room,
    what comes waits in the backlog. Raises OSError.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        backlog: int,
        begin: Callable[[socket.socket, str], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        listening.settimeout(0)
        listening.listen(backlog)
        self._listening = listening
        self._begin = begin
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):  # others in the loop have their turn
            if not self._has_room():
                self._rest(_FULL_PAUSE_S)
                return
            try:
                end, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._rest(_PAUSE_S)
                return
            end.settimeout(0)
            self._begin(end, str(peer[0]) if isinstance(peer, tuple) else "")

    def _rest(self, pause_s: float) -> None:
        """Look again later, when there may be room: until then it stays readable."""
        self._loop.remove_reader(self._listening)
        self._loop.call_later(pause_s, self._resume)

    def _resume(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)


class Wire:
    """One end of a connection; what cannot be sent at once goes out in the background."""

    def __init__(self, end: socket.socket, reader: Reader) -> None:
        self.socket = end
        self.is_closing = False
        """Whether it is closed, or about to be."""
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._left = bytearray()
        self._is_watched = False
        self._has_heard_all = False
        self._has_said_all = False

    def begin(self) -> None:
        """Read what is there already, and from then on what comes."""
        self._read()
        if not self.is_closing and not self._has_heard_all:
            self._is_watched = True
            self._loop.add_reader(self.socket, self._read)

    def write(self, data: bytes) -> None:
        """Send bytes, at once where the other side takes them."""
        if self.is_closing:
            return
        if not self._left:
            try:
                data = data[self.socket.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.abort()
                return
            if data:
                self._loop.add_writer(self.socket, self._send)
        self._left += data

    def write_eof(self) -> None:
        """Say that this was all, and go on reading."""
        self._has_said_all = True
        if not self._left:
            self._shut()

    def close(self) -> None:
        """Close it after what was written."""
        if self.is_closing:
            return
        self.is_closing = True
        self._unwatch()
        if not self._left:
            self._end()

    def abort(self) -> None:
        """Close it without waiting for the other side to take what was written."""
        self.is_closing = True
        self._left.clear()
        self._end()

    def _read(self) -> None:
        try:
            data = self.socket.recv(_PIECE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if data:
            self._reader.received(data)
        else:
            self._has_heard_all = True
            self._unwatch()
            self._reader.ended()

    def _send(self) -> None:
        try:
            sent = self.socket.send(self._left)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        del self._left[:sent]
        if self._left:
            return
        self._loop.remove_writer(self.socket)
        if self.is_closing:
            self._end()
        elif self._has_said_all:
            self._shut()

    def _shut(self) -> None:
        with suppress(OSError):  # gone: it is read from, too
            self.socket.shutdown(socket.SHUT_WR)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self.socket)

    def _end(self) -> None:
        if self.socket.fileno() < 0:
            return
        self._unwatch()
        self._loop.remove_writer(self.socket)
        self.socket.close()
        self._reader.lost()
