"""The connections of a metadata service: each asks once, and is answered once."""

import asyncio
import re
import socket
from collections.abc import Coroutine
from typing import Protocol
from urllib.parse import unquote

import h11

from imgforge.metadata.answer import HttpRequest
from imgforge.metadata.wire import Wire

_MOST_IDLE = 64
_MOST_OPEN = 512
_SPARED_S = 0.1
_REQUEST_LIMIT_S = 60.0
_REST_LIMIT_S = 5.0
HEAD_LIMIT_BYTES = 64 * 1024
_BEGINNING_BYTES = 4096
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})(?: ([!-~]+))?")
_UNREAD = {h11.IDLE, h11.SEND_BODY, h11.ERROR}


class Answerer(Protocol):
    """Who answers, at once or by `Connection.work`."""

    def respond(self, request: HttpRequest, connection: "Connection") -> None:
        """Answer a request."""

    def refuse(self, request: HttpRequest, connection: "Connection") -> None:
        """Answer what is not HTTP (RFC 9112), of which `request` tells what could be read."""


class Connections:
    """Those that are open; whoever holds them open keeps nobody out.

    Of those that wait for no answer 64 are kept, and all that were opened, or answered, in the last
    tenth of a second: their request may be on its way. Beyond them the oldest is ended. Those that
    wait for an answer, as a fault may let them, are not counted there; of both there are 512.
    """

    def __init__(self) -> None:
        self._open: dict[Connection, None] = {}
        self._idle_since_s: dict[Connection, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_due = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def have_room(self) -> bool:
        """Whether one more can be admitted."""
        return len(self._open) < _MOST_OPEN

    def admit(self, connection: "Connection") -> None:
        """Count one in."""
        self._open[connection] = None
        self.answered(connection)

    def asked(self, connection: "Connection") -> None:
        """Know that one waits for its answer."""
        self._idle_since_s.pop(connection, None)

    def answered(self, connection: "Connection") -> None:
        """Know that one waits for none."""
        if connection in self._open:
            self._idle_since_s[connection] = asyncio.get_running_loop().time()
            self._trim()

    def leave(self, connection: "Connection") -> None:
        """Count one out."""
        self._open.pop(connection, None)
        self._idle_since_s.pop(connection, None)

    def _trim(self) -> None:
        """End the oldest of too many idle ones, or do so as soon as it is spared no longer."""
        loop = asyncio.get_running_loop()
        while len(self._idle_since_s) > _MOST_IDLE and not self._is_due:
            oldest, since_s = next(iter(self._idle_since_s.items()))
            if loop.time() < since_s + _SPARED_S:
                self._is_due = True
                loop.call_at(since_s + _SPARED_S, self._trim_later)
                return
            self.leave(oldest)
            oldest.wire.abort()

    def _trim_later(self) -> None:
        self._is_due = False
        self._trim()

    def work(self, answering: Coroutine[None, None, None]) -> None:
        """Let an answer that takes a while be made, also where its client gives up meanwhile."""
        task = asyncio.create_task(answering)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def abort(self) -> None:
        """Drop all of them."""
        for connection in tuple(self._open):
            connection.wire.abort()
        for task in self._tasks:
            task.cancel()


class Connection:
    """One that may be half closed by the client, and that does not wait for ever.

    Its first request is answered, and it ends with the answer, as on EC2. The body of a request
    says nothing to the service: it is not waited for.
    """

    def __init__(
        self, end: socket.socket, address: str, *, connections: Connections, answerer: Answerer
    ) -> None:
        self.wire = Wire(end, self)
        self.address = address
        """The client's, "" where it came over a UNIX socket."""
        self.is_idle = True
        """Whether it has asked for nothing that is not answered."""
        self._connections = connections
        self._answerer = answerer
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT_BYTES)
        self._beginning = bytearray()
        self._fed_bytes = 0
        self._has_asked = False
        self._loop = asyncio.get_running_loop()
        self._limit = self._loop.call_later(_REQUEST_LIMIT_S, self.wire.abort)

    def begin(self) -> None:
        """Take what it asks."""
        self._connections.admit(self)
        if not self.wire.is_closing:
            self.wire.begin()

    def received(self, data: bytes) -> None:
        """Answer once a request's head is there; refuse what is not HTTP (RFC 9112)."""
        if self._has_asked:  # the rest of a body, or what is pipelined: there is one answer
            return
        self._beginning += data[: _BEGINNING_BYTES - len(self._beginning)]
        head = data[: HEAD_LIMIT_BYTES - self._fed_bytes]
        self._fed_bytes += len(head)
        try:
            self._parser.receive_data(head)
            event = self._parser.next_event()
            if isinstance(event, h11.Request) and len(head) < len(data):
                self._parser.receive_data(data[len(head) :])
        except h11.RemoteProtocolError:
            event = None
        if isinstance(event, h11.Request):
            self._ask()
            self._answerer.respond(_request(event), self)
        elif event is None or self._fed_bytes == HEAD_LIMIT_BYTES:
            self._ask()
            self._answerer.refuse(_begun(bytes(self._beginning)), self)

    def _ask(self) -> None:
        self._has_asked, self.is_idle = True, False
        self._connections.asked(self)

    def ended(self) -> None:
        """Stay open for the answer when the client has asked and said that this was all."""
        if self.is_idle:
            self.wire.close()

    def lost(self) -> None:
        """Let others have its room."""
        self._limit.cancel()
        self._connections.leave(self)

    def set_hop_limit(self, hops: int) -> None:
        """Let what goes out from now on pass so many hops, where there are any (ip(7))."""
        end = self.wire.socket
        if end.family == socket.AF_INET:
            end.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        elif end.family == socket.AF_INET6:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)

    def allow(self, more_s: float) -> None:
        """Let it last `more_s` seconds longer: a fault makes it slow."""
        if self.wire.is_closing:
            return
        self._limit.cancel()
        self._limit = self._loop.call_at(self._limit.when() + more_s, self.wire.abort)

    def finish(self, data: bytes) -> None:
        """Send the last of it, and end.

        Where the rest of a request is still to come it is let in, and forgotten: a connection of
        TCP that is closed over it is reset, and the answer lost with that (RFC 9112, 9.6).
        """
        self.is_idle = True
        if self.wire.is_closing:
            return
        self.wire.write(data)
        if self._is_whole():
            self.wire.close()
            return
        self._connections.answered(self)
        self._limit.cancel()
        self._limit = self._loop.call_later(_REST_LIMIT_S, self.wire.abort)
        self.wire.write_eof()

    def work(self, answering: Coroutine[None, None, None]) -> None:
        """Answer by what takes a while."""
        self._connections.work(answering)

    def _is_whole(self) -> bool:
        """Tell whether all of the request has come."""
        try:
            while isinstance(self._parser.next_event(), h11.Data):
                pass
        except h11.RemoteProtocolError:
            pass
        return self._parser.their_state not in _UNREAD


def _request(event: h11.Request) -> HttpRequest:
    target = _path(event.target.decode("ascii"))
    return HttpRequest(
        event.method.decode("ascii"),
        unquote(target),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers},
        target,
    )


def _begun(data: bytes) -> HttpRequest:
    """Return the method and the path that data begin with, "" for what they do not have."""
    line = _REQUEST_LINE.match(data)
    if line is None:
        return HttpRequest("", "")
    target = _path((line[2] or b"").decode("ascii"))
    return HttpRequest(line[1].decode("ascii"), unquote(target), target=target)


def _path(target: str) -> str:
    path = target.partition("?")[0]
    if path[:7].lower() == "http://":  # what a proxy is asked for, a server takes: RFC 9112, 3.2.2
        return "/" + path[7:].partition("/")[2]
    return path
