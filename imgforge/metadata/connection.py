"""The connections of a metadata service: each asks once, and is answered once."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from urllib.parse import unquote

import h11

from imgforge.metadata.answer import HttpRequest, refusal
from imgforge.metadata.delivery import encode
from imgforge.metadata.wire import Wire

_MOST = 64
_REQUEST_LIMIT_S = 60.0
_REST_LIMIT_S = 5.0
_HEADERS_LIMIT_BYTES = 64 * 1024
_UNREAD = {h11.SEND_BODY, h11.ERROR}

Respond = Callable[[HttpRequest, "Connection"], None]
"""Answers a request, at once or by `Connection.work`."""


class Connections:
    """Those that are open, the oldest first; whoever holds them open keeps nobody out."""

    def __init__(self) -> None:
        self._open: dict[Connection, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: "Connection") -> None:
        """Count one in; where there are many, the oldest that waits for no answer is ended."""
        self._open[connection] = None
        if len(self._open) > _MOST:  # each is a process of the host
            oldest = next(one for one in self._open if one.is_idle)  # this one at the latest
            del self._open[oldest]
            oldest.wire.abort()

    def leave(self, connection: "Connection") -> None:
        """Count one out."""
        self._open.pop(connection, None)

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
        self, end: socket.socket, address: str, *, connections: Connections, respond: Respond
    ) -> None:
        self.wire = Wire(end, self)
        self.address = address
        """The client's, "" where it came over a UNIX socket."""
        self.is_idle = True
        """Whether it has asked for nothing that is not answered."""
        self._connections = connections
        self._respond = respond
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADERS_LIMIT_BYTES)
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
        try:
            self._parser.receive_data(data)
            event = self._parser.next_event()
        except h11.RemoteProtocolError:
            self._has_asked = True
            self.finish(encode(refusal(HTTPStatus.BAD_REQUEST), method="GET"))
            return
        if isinstance(event, h11.Request):
            self._has_asked, self.is_idle = True, False
            self._respond(_request(event), self)

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
    target = event.target.decode("ascii").partition("?")[0]
    if (
        target[:7].lower() == "http://"
    ):  # what a proxy is asked for, a server takes: RFC 9112, 3.2.2
        target = "/" + target[7:].partition("/")[2]
    return HttpRequest(
        event.method.decode("ascii"),
        unquote(target),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers},
        target,
    )
