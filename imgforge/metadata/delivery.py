"""How an answer goes out over its connection: right, or as wrongly as a fault wants it."""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Protocol

from imgforge.metadata.answer import Answer
from imgforge.metadata.fault import Cut, Fault

Message = MutableMapping[str, Any]
"""A message of ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html."""
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

_PIECES_PER_S = 10
_AT_ONCE = struct.pack("ii", 1, 0)  # socket(7): SO_LINGER on, for 0 s


class Wire(Protocol):
    """The connection of a request."""

    transport: asyncio.Transport

    def allow(self, more_s: float) -> None:
        """Let it last `more_s` seconds longer than a connection may."""


async def deliver(reply: Answer, *, fault: Fault | None, send: Send) -> None:
    """Send an answer, slowly or in part where its fault says so; does not wait its `delay_s`.

    Where the fault cuts it off, `cut_off` has to follow.
    """
    cut = fault.cut if fault is not None else None
    if cut in {Cut.REFUSED, Cut.SILENT}:
        return
    await send(_head(reply))
    body = reply.body if cut is None else reply.body[: len(reply.body) // 2]
    pace = fault.bytes_per_s if fault is not None else None
    if pace is not None:
        for piece in _pieces(body, max(1, int(pace / _PIECES_PER_S))):
            await asyncio.sleep(len(piece) / pace)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": cut is not None})


async def cut_off(cut: Cut, wire: Wire, receive: Receive) -> None:
    """End a connection as `cut` says, and wait until it has ended."""
    match cut:
        case Cut.CLOSED:
            wire.transport.close()
        case Cut.REFUSED | Cut.RESET:
            end = wire.transport.get_extra_info("socket")
            if end is not None and end.family in {socket.AF_INET, socket.AF_INET6}:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            wire.transport.abort()
        case Cut.SILENT:
            pass  # until the client goes, or the connection has lasted too long
    while (await receive())["type"] != "http.disconnect":
        pass


def _head(reply: Answer) -> Message:
    headers = {
        **reply.headers,
        "content-length": str(len(reply.body)),
        "date": _date(int(time.time())),
        "server": "EC2ws",
        "connection": "close",  # as EC2: a request for each connection
    }
    return {
        "type": "http.response.start",
        "status": reply.status,
        "headers": [(name.title().encode(), value.encode()) for name, value in headers.items()],
    }


@lru_cache(maxsize=1)
def _date(time_s: int) -> str:
    return formatdate(time_s, usegmt=True)


def _pieces(body: bytes, size_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(body), size_bytes):
        yield body[start : start + size_bytes]
