"""How an answer goes out over its connection: right, or as wrongly as a fault wants it."""

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from email.utils import formatdate
from functools import lru_cache
from http.client import responses

from imgforge.metadata.answer import Answer
from imgforge.metadata.fault import Cut, Fault
from imgforge.metadata.wire import Wire

_PIECES_PER_S = 10
_AT_ONCE = struct.pack("ii", 1, 0)  # socket(7): SO_LINGER on, for 0 s


def encode(reply: Answer, *, method: str) -> bytes:
    """Return an answer as it goes over the wire, all in one piece (RFC 9112).

    A head and a body apart would each be a packet of its own to the guest, and a wake-up of its
    relay: measured, one piece makes a request a tenth faster.
    """
    head = _head(reply)
    return head if method == "HEAD" else head + reply.body


async def deliver_wrongly(reply: Answer, *, method: str, fault: Fault, wire: Wire) -> None:
    """Send an answer slowly or in part where its fault says so, and end the connection.

    Does not wait its `delay_s`. A silent one is not ended: the client goes, or its time is over.
    """
    if fault.cut is Cut.SILENT or wire.is_closing:
        return
    if fault.cut is not Cut.REFUSED:
        wire.write(_head(reply))
        body = b"" if method == "HEAD" else reply.body
        body = body if fault.cut is None else body[: len(body) // 2]
        await _send(body, wire, bytes_per_s=fault.bytes_per_s)
    if fault.cut in {None, Cut.CLOSED}:
        wire.close()
        return
    if wire.is_closing:
        return
    if wire.socket.family in {socket.AF_INET, socket.AF_INET6}:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    wire.abort()


async def _send(body: bytes, wire: Wire, *, bytes_per_s: float | None) -> None:
    if bytes_per_s is None:
        wire.write(body)
        return
    for piece in _pieces(body, max(1, int(bytes_per_s / _PIECES_PER_S))):
        await asyncio.sleep(len(piece) / bytes_per_s)
        if wire.is_closing:
            return
        wire.write(piece)


def _head(reply: Answer) -> bytes:
    headers = {
        **reply.headers,
        "content-length": str(len(reply.body)),
        "date": _date(int(time.time())),
        "server": "EC2ws",
        "connection": "close",  # as EC2: a request for each connection
    }
    lines = "".join(f"{name.title()}: {value}\r\n" for name, value in headers.items())
    status = int(reply.status)
    return f"HTTP/1.1 {status} {responses.get(status, '')}\r\n{lines}\r\n".encode("latin-1")


@lru_cache(maxsize=1)
def _date(time_s: int) -> str:
    return formatdate(time_s, usegmt=True)


def _pieces(body: bytes, size_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(body), size_bytes):
        yield body[start : start + size_bytes]
