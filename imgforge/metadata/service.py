"""The metadata service of one instance, in an event loop: on a UNIX socket, or where TCP is."""

import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from imgforge.metadata.connection import Connection, Connections
from imgforge.metadata.fault import Faults
from imgforge.metadata.hosts import Hosts
from imgforge.metadata.instance import Instance
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.responder import Responder, Secrets
from imgforge.metadata.tree import grow
from imgforge.metadata.wire import Listener

_BACKLOG = 1024


class MetadataService:
    """Answers for one instance while its `async with` block lasts.

    `folder` is a private folder whose path is short (a socket's has 108 bytes) and has no spaces;
    the socket and the launcher of the relay are made in it. Without one it answers only where
    `listen` lets it. `clock` gives seconds since power-on;
    `tell` is called in the event loop with each request, once its answer is decided. By default
    the tokens of no other service are valid here, and there are no signatures.
    `faults` are what it gets wrong.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        folder: Path | None = None,
        clock: Callable[[], float],
        tell: Callable[[MetadataRequest], None],
        secrets: Secrets | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._folder = folder
        secrets = secrets or Secrets()
        self._signer = secrets.signer
        self._responder = Responder(
            grow(instance, secrets.signer),
            tokens=secrets.tokens,
            faults=faults or Faults(),
            clock=clock,
            tell=tell,
        )
        self._listeners: list[Listener] = []
        self.connections = Connections()

    @property
    def socket_path(self) -> Path:
        """Where it listens in its folder."""
        assert self._folder is not None
        return self._folder / "metadata"

    @property
    def launcher(self) -> Path:
        """The script that carries one connection of a guest to it."""
        assert self._folder is not None
        return self._folder / "relay"

    @property
    def instance(self) -> Instance:
        """What it tells of; another one is told from the next request on."""
        return self._responder.trees.instance

    @instance.setter
    def instance(self, instance: Instance) -> None:
        self._responder.trees = grow(instance, self._signer)

    def serve_only(self, hosts: Hosts) -> None:
        """Answer 403 to requests for other hosts from now on."""
        self._responder.hosts = hosts

    async def __aenter__(self) -> Self:
        """Listen on `socket_path`. Raises OSError where it cannot be made."""
        if self._folder is not None:
            self.launcher.write_text(_launcher_script(self.socket_path), encoding="utf-8")
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(self.socket_path))
            await self.listen(listener)
        return self

    async def listen(self, listener: socket.socket) -> None:
        """Answer on a bound socket, too, which closes with the block. Raises OSError."""
        self._listeners.append(
            Listener(
                listener,
                backlog=_BACKLOG,
                begin=self._begin,
                has_room=lambda: self.connections.have_room,
            )
        )

    async def __aexit__(self, *_: object) -> None:
        """Close the listeners and drop the connections: the guest is gone by now."""
        for listener in self._listeners:
            listener.close()
        self.connections.abort()

    def _begin(self, end: socket.socket, address: str) -> None:
        answerer = self._responder
        Connection(end, address, connections=self.connections, answerer=answerer).begin()


def _launcher_script(socket_path: Path) -> str:
    """Return the script slirp runs for each connection: its stderr would go to the guest."""
    words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py")), socket_path]
    return f"exec {shlex.join(str(word) for word in words)} 2>/dev/null\n"
