"""The metadata service of one machine, on a UNIX socket, inside the machine's event loop."""

import asyncio
import logging
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from imgforge.metadata.answer import Answer, HttpRequest, answer, refusal
from imgforge.metadata.fault import Faults
from imgforge.metadata.instance import Instance
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.signer import Signer
from imgforge.metadata.tokens import Tokens
from imgforge.metadata.tree import Trees, grow

_BACKLOG = 64
_CONNECTIONS = 64
_REQUEST_LIMIT_S = 60.0
_HEADERS_LIMIT_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 1024

_Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a service makes IMDSv2 tokens with, and what it signs the identity document with."""

    tokens: Tokens = field(default_factory=Tokens)
    signer: Signer | None = None


class MetadataService:
    """Answers for one instance while its `async with` block lasts.

    `folder` is a private folder whose path is short (a socket's has 108 bytes) and has no spaces;
    the socket and the launcher of the relay are made in it. `clock` gives seconds since power-on;
    `tell` is called in the event loop with each request, once its answer is decided. By default
    the tokens of no other service are valid here, and there are no signatures.
    `faults` are what it gets wrong. Installs no signal handlers.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        folder: Path,
        clock: Callable[[], float],
        tell: Callable[[MetadataRequest], None],
        secrets: Secrets | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.socket_path = folder / "metadata"
        self.launcher = folder / "relay"
        self._secrets = secrets = secrets or Secrets()
        self._application = _Application(
            grow(instance, secrets.signer),
            clock=clock,
            tell=tell,
            tokens=secrets.tokens,
            faults=faults or Faults(),
        )
        config = uvicorn.Config(
            self._application,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=_HEADERS_LIMIT_BYTES,
        )
        config.load()
        self._server = uvicorn.Server(config)
        # Server.serve() would take over the signals and tick ten times a second: begin and end
        # it by its own startup, and by closing.
        self._server.lifespan = config.lifespan_class(config)

    @property
    def instance(self) -> Instance:
        """What it tells of; another one is told from the next request on."""
        return self._application.trees.instance

    @instance.setter
    def instance(self, instance: Instance) -> None:
        self._application.trees = grow(instance, self._secrets.signer)

    async def __aenter__(self) -> Self:
        """Listen on `socket_path`. Raises OSError where it cannot be made."""
        _keep_quiet()
        self.launcher.write_text(_launcher_script(self.socket_path), encoding="utf-8")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.socket_path))
        listener.listen(_BACKLOG)
        await self._server.startup(sockets=[listener])
        return self

    async def __aexit__(self, *_: object) -> None:
        _shut(self._server)


def _launcher_script(socket_path: Path) -> str:
    """Return the script slirp runs for each connection: its stderr would go to the guest."""
    words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py")), socket_path]
    return f"exec {shlex.join(str(word) for word in words)} 2>/dev/null\n"


def _shut(server: uvicorn.Server) -> None:
    """Close the listeners and drop the connections: the guest is gone by now."""
    for listener in server.servers:
        listener.close()
    for connection in list(server.server_state.connections):
        transport = getattr(connection, "transport", None)
        if isinstance(transport, asyncio.Transport):
            transport.abort()
    for task in list(server.server_state.tasks):
        task.cancel()


def _keep_quiet() -> None:
    """Keep uvicorn from writing of a guest's bad requests to our stderr."""
    logger = logging.getLogger("uvicorn")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


class _Connection(H11Protocol):
    """A connection that may be half closed by the client, and that does not wait for ever."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit = self.loop.call_later(_REQUEST_LIMIT_S, transport.abort)
        if len(self.connections) > _CONNECTIONS:  # each is a process of the host
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what has come; the answer to a PUT, a token, goes only so many hops."""
        super().handle_events()
        wire = self.transport.get_extra_info("socket")
        if self.scope and self.scope["method"] == "PUT" and wire is not None:
            hops = self.app.trees.instance.options.http_put_response_hop_limit
            if wire.family == socket.AF_INET:
                wire.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            elif wire.family == socket.AF_INET6:
                wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Stay open for the answer when the client has asked and said that this was all."""
        waiting = self.cycle is not None and not self.cycle.response_complete
        if waiting:
            self.cycle.keep_alive = False
        return waiting

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, also where an answer to its beginning is under way or out."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.abort()


class _Application:
    """Answers each request (ASGI), and tells it."""

    def __init__(
        self,
        trees: Trees,
        *,
        clock: Callable[[], float],
        tell: Callable[[MetadataRequest], None],
        tokens: Tokens,
        faults: Faults,
    ) -> None:
        self.trees = trees
        self._clock = clock
        self._tell = tell
        self._tokens = tokens
        self._faults = faults

    async def __call__(
        self, scope: _Message, receive: object, send: Callable[[_Message], Awaitable[None]]
    ) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        request = HttpRequest(scope["method"], scope["path"], headers)
        at_s = self._clock()
        fault = self._faults.meet(request.path)
        if fault is not None:
            await asyncio.sleep(fault.delay_s)
        if fault is not None and fault.status is not None:
            reply = refusal(HTTPStatus(fault.status))
        else:
            reply = answer(request, self.trees, self._tokens, at_s)
        self._tell(_record(scope, request, reply, at_s, address=self._address(scope)))
        sent = {
            **reply.headers,
            "content-length": str(len(reply.body)),
            "date": formatdate(usegmt=True),
            "server": "EC2ws",
            "connection": "close",  # as EC2: a request for each connection
        }
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            }
        )
        await send({"type": "http.response.body", "body": reply.body})

    def _address(self, scope: _Message) -> str:
        """Return the guest's address: QEMU's user network does not carry it over."""
        client = scope.get("client")
        return str(client[0]) if client else self.trees.instance.local_ipv4


def _record(
    scope: _Message, request: HttpRequest, reply: Answer, at_s: float, *, address: str
) -> MetadataRequest:
    # As it came over the wire: percent-encoded, so without control characters.
    path = scope["raw_path"].decode("ascii", "replace")[:_SHOWN_CHARACTERS]
    agent = request.headers.get("user-agent", "")[:_SHOWN_CHARACTERS]
    return MetadataRequest(
        at_s=at_s,
        method=request.method[:32],
        path=path,
        version=path.removeprefix("/").partition("/")[0],
        token=reply.token,
        status=int(reply.status),
        user_agent="".join(character for character in agent if character.isprintable()),
        guest_address=address,
    )
