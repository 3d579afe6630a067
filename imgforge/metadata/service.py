"""The metadata service of one instance, in an event loop: on a UNIX socket, or where TCP is."""

import asyncio
import logging
import shlex
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Self

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from imgforge.metadata.answer import TTL_HEADER, Answer, HttpRequest, answer, refusal
from imgforge.metadata.delivery import Message, Receive, Send, Wire, cut_off, deliver
from imgforge.metadata.fault import Cut, Fault, Faults
from imgforge.metadata.instance import Instance
from imgforge.metadata.namespace import ADDRESS_IPV4
from imgforge.metadata.one_piece import OnePiece
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.signer import Signer
from imgforge.metadata.tokens import Tokens
from imgforge.metadata.tree import Trees, grow

_BACKLOG = 64
_CONNECTIONS = 64
_REQUEST_LIMIT_S = 60.0
_HEADERS_LIMIT_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 1024
_WIRE = "imgforge.wire"
_UNANSWERED = {Cut.REFUSED, Cut.SILENT}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a service makes IMDSv2 tokens with, and what it signs the identity document with."""

    tokens: Tokens = field(default_factory=Tokens)
    signer: Signer | None = None


class MetadataService:
    """Answers for one instance while its `async with` block lasts.

    `folder` is a private folder whose path is short (a socket's has 108 bytes) and has no spaces;
    the socket and the launcher of the relay are made in it. Without one it answers only where
    `listen` lets it. `clock` gives seconds since power-on;
    `tell` is called in the event loop with each request, once its answer is decided. By default
    the tokens of no other service are valid here, and there are no signatures.
    `faults` are what it gets wrong. Installs no signal handlers.
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
        return self._application.trees.instance

    @instance.setter
    def instance(self, instance: Instance) -> None:
        self._application.trees = grow(instance, self._secrets.signer)

    async def __aenter__(self) -> Self:
        """Listen on `socket_path`. Raises OSError where it cannot be made."""
        _keep_quiet()
        if self._folder is None:
            await self._server.startup(sockets=[])
            return self
        self.launcher.write_text(_launcher_script(self.socket_path), encoding="utf-8")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.socket_path))
        listener.listen(_BACKLOG)
        await self._server.startup(sockets=[listener])
        return self

    async def listen(self, listener: socket.socket) -> None:
        """Answer on a bound socket, too, which closes with the block."""
        server, loop = self._server, asyncio.get_running_loop()
        waiting = await loop.create_server(
            lambda: _Connection(server.config, server.server_state, server.lifespan.state),
            sock=listener,
            backlog=_BACKLOG,
        )
        server.servers.append(waiting)

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
    since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OnePiece(transport, self.loop))
        self.since_s = self.loop.time()
        self._limit = self.loop.call_later(_REQUEST_LIMIT_S, transport.abort)
        if len(self.connections) > _CONNECTIONS:  # each is a process of the host
            self._make_room()

    def _make_room(self) -> None:
        """End the oldest connection that waits for no answer: holding them keeps nobody out."""
        idle = [one for one in self.connections if isinstance(one, _Connection) and one.is_idle]
        oldest = min(idle, key=lambda one: one.since_s)  # this one at the latest
        self.connections.discard(oldest)
        oldest.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether it has asked for nothing that is not answered."""
        return self.cycle is None or self.cycle.response_complete

    def allow(self, more_s: float) -> None:
        """Let it last `more_s` seconds longer: a fault makes it slow."""
        if self._limit is not None:
            self._limit.cancel()
            at_s = self._limit.when() + more_s
            self._limit = self.loop.call_at(at_s, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what has come; the answer to a PUT, a token, goes only so many hops."""
        super().handle_events()
        if self.scope:
            self.scope["state"][_WIRE] = self
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

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        request = HttpRequest(scope["method"], scope["path"], headers)
        wire: Wire = scope["state"][_WIRE]
        at_s = self._clock()
        fault = self._faults.meet(request.path, method=request.method, at_s=at_s)
        if fault is not None and fault.delay_s:
            wire.allow(fault.delay_s)
            await asyncio.sleep(fault.delay_s)
        reply = self._answer(request, fault, at_s)
        if fault is not None and fault.bytes_per_s:
            wire.allow(len(reply.body) / fault.bytes_per_s)
        address = self._address(scope)
        self._tell(_record(scope, request, reply, at_s=at_s, address=address, fault=fault))
        await deliver(reply, fault=fault, send=send)
        if fault is not None and fault.cut is not None:
            await cut_off(fault.cut, wire, receive)

    def _answer(self, request: HttpRequest, fault: Fault | None, at_s: float) -> Answer:
        if fault is not None and fault.status is not None:
            return refusal(HTTPStatus(fault.status))
        reply = answer(request, self.trees, self._tokens, at_s)
        if (
            fault is None
            or fault.token_ttl_s is None
            or not (request.method == "PUT" and reply.token)
        ):
            return reply
        token = self._tokens.issue(
            ttl_s=min(fault.token_ttl_s, int(reply.headers[TTL_HEADER])),
            instance_id=self.trees.instance.instance_id,
            now_s=at_s,
        )
        return replace(reply, body=token.encode())

    def _address(self, scope: Message) -> str:
        """Return the guest's address: QEMU's user network does not carry it over.

        It comes by a relay on the socket, or in a namespace from the address itself.
        """
        client = scope.get("client")
        if not client or client[0] == ADDRESS_IPV4:
            return self.trees.instance.local_ipv4
        return str(client[0])


def _record(
    scope: Message,
    request: HttpRequest,
    reply: Answer,
    *,
    at_s: float,
    address: str,
    fault: Fault | None,
) -> MetadataRequest:
    # As it came over the wire: percent-encoded, so without control characters.
    path = scope["raw_path"].decode("ascii", "replace")[:_SHOWN_CHARACTERS]
    cut = Cut(fault.cut) if fault and fault.cut else None
    agent = request.headers.get("user-agent", "")[:_SHOWN_CHARACTERS]
    return MetadataRequest(
        at_s=at_s,
        method=request.method[:32],
        path=path,
        version=path.lstrip("/").partition("/")[0],
        token=reply.token,
        status=0 if cut in _UNANSWERED else int(reply.status),
        user_agent=agent if agent.isprintable() else "".join(filter(str.isprintable, agent)),
        guest_address=address,
        fault=fault.words if fault else "",
        cut=cut.value if cut else "",
    )
