"""Our end of a machine's network namespace: sockets that were made in there, and a port out here.

See entrance.py for the other end.
"""

import asyncio
import socket
from contextlib import suppress

from imgforge.errors import HostError

_SOCKET_LIMIT_S = 20.0
_PIECE_BYTES = 65536


class Gate:
    """Takes sockets out of a namespace over `wire`, and forwards a port of this host into it."""

    def __init__(self, wire: socket.socket) -> None:
        wire.settimeout(0)
        self._wire = wire
        self._turn = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    async def take_listener(self) -> socket.socket:
        """Return the listener on 169.254.169.254:80, once there is one. Raises HostError."""
        async with self._turn:
            return await self._receive()

    async def take_socket(self) -> socket.socket:
        """Return a new TCP socket of the namespace. Raises HostError when it is gone."""
        async with self._turn:
            try:
                self._wire.send(b".")
            except OSError as error:
                raise HostError(f"Network namespace: {error.strerror}.") from error
            return await self._receive()

    async def open_port(self, inner_port: int) -> int:
        """Forward a free port of 127.0.0.1 to that port of the namespace's; return it."""
        self._server = await asyncio.start_server(
            lambda reader, writer: self._visit(reader, writer, inner_port), "127.0.0.1", 0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Close the port, what goes through it, and the namespace's last hold but QEMU."""
        if self._server is not None:
            self._server.close()
        for visit in self._visits:
            visit.cancel()
        self._wire.close()

    async def _receive(self) -> socket.socket:
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._wire, readable.set)
        try:
            async with asyncio.timeout(_SOCKET_LIMIT_S):
                await readable.wait()
            _, descriptors, _, _ = socket.recv_fds(self._wire, 1, 1)
        except TimeoutError:
            raise HostError(
                f"Network namespace: no socket came out of it within {_SOCKET_LIMIT_S:g} s."
            ) from None
        except OSError as error:
            raise HostError(f"Network namespace: {error.strerror}.") from error
        finally:
            loop.remove_reader(self._wire)
        if not descriptors:
            raise HostError("Network namespace: it ended before it gave a socket.")
        taken = socket.socket(fileno=descriptors[0])
        taken.set_inheritable(False)
        taken.settimeout(0)
        return taken

    async def _visit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner_port: int
    ) -> None:
        visit = asyncio.current_task()
        assert visit is not None
        self._visits.add(visit)
        try:
            with suppress(HostError, OSError):
                await self._carry(reader, writer, inner_port)
            writer.close()
        except asyncio.CancelledError:  # the machine is gone
            writer.transport.abort()
        finally:
            self._visits.discard(visit)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner_port: int
    ) -> None:
        inner = await self.take_socket()
        try:
            await asyncio.get_running_loop().sock_connect(inner, ("127.0.0.1", inner_port))
            inner_reader, inner_writer = await asyncio.open_connection(sock=inner)
        except OSError:
            inner.close()
            raise
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_copy(reader, inner_writer))
                ways.create_task(_copy(inner_reader, writer))
        except* OSError:  # one of them is gone: so is the other
            inner_writer.transport.abort()
            writer.transport.abort()
        finally:
            inner_writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes to the end of `source`, and tell `sink` that this was all."""
    while data := await source.read(_PIECE_BYTES):
        sink.write(data)
        await sink.drain()
    sink.write_eof()
