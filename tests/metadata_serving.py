"""A metadata service on an address of TCP, for clients that are programs or run in this process."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from imgforge.metadata import Instance, MetadataRequest, MetadataService, Secrets

_LIMIT_S = 30


@dataclass(frozen=True, slots=True)
class Served:
    """Where a service answers, and what it was asked."""

    service: MetadataService
    port: int
    requests: list[MetadataRequest]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serving(
    instance: Instance, *, listener: socket.socket, secrets: Secrets | None = None
) -> AsyncIterator[Served]:
    """Serve `instance` on a listening socket, in the running loop."""
    requests: list[MetadataRequest] = []
    async with MetadataService(
        instance, folder=None, clock=time.monotonic, tell=requests.append, secrets=secrets
    ) as service:
        port = listener.getsockname()[1]
        await service.listen(listener)
        yield Served(service, port, requests)


@contextlib.contextmanager
def served(instance: Instance, *, secrets: Secrets | None = None) -> Iterator[Served]:
    """Serve `instance` on a loopback port, in a thread with a loop of its own."""
    ready = threading.Event()
    found: list[Served] = []
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        async with serving(instance, listener=listener, secrets=secrets) as one:
            found.append(one)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(_LIMIT_S), "the metadata service did not begin"
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(_LIMIT_S)
        loop.close()
