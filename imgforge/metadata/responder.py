"""What becomes of each request of a metadata service: its answer, its fault, its record."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from imgforge.metadata.answer import TTL_HEADER, Answer, HttpRequest, answer, plain_path, refusal
from imgforge.metadata.connection import Connection
from imgforge.metadata.delivery import deliver_wrongly, encode
from imgforge.metadata.fault import Cut, Fault, Faults
from imgforge.metadata.hosts import Hosts
from imgforge.metadata.namespace import ADDRESS_IPV4
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.signer import Signer
from imgforge.metadata.tokens import Tokens
from imgforge.metadata.tree import Trees
from imgforge.progress import warn

_SHOWN_CHARACTERS = 1024
_UNANSWERED = {Cut.REFUSED, Cut.SILENT}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a service makes IMDSv2 tokens with, and what it signs the identity document with."""

    tokens: Tokens = field(default_factory=Tokens)
    signer: Signer | None = None


@dataclass(slots=True)
class Responder:
    """Answers each request, and tells it; `trees` may be others for the next one."""

    trees: Trees
    tokens: Tokens
    faults: Faults
    clock: Callable[[], float]
    tell: Callable[[MetadataRequest], None]
    hosts: Hosts = Hosts.ANY
    _has_warned: bool = False

    def respond(self, request: HttpRequest, connection: Connection) -> None:
        """Answer a request, at once where no fault makes it wrong. Never raises."""
        at_s = self.clock()
        try:
            self._respond(request, connection, at_s=at_s)
        except Exception as error:
            self._fail(request, connection, error=error, at_s=at_s)

    def refuse(self, request: HttpRequest, connection: Connection) -> None:
        """Answer what is not HTTP."""
        reply = refusal(HTTPStatus.BAD_REQUEST)
        self._tell(self._record(request, reply, connection.address, at_s=self.clock()))
        connection.finish(encode(reply, method=request.method))

    def _respond(self, request: HttpRequest, connection: Connection, *, at_s: float) -> None:
        if request.method == "PUT":  # the answer to it, a token, goes only so many hops
            connection.set_hop_limit(self.trees.instance.options.http_put_response_hop_limit)
        if not self.hosts.allow(request.headers.get("host", "")):
            reply = refusal(HTTPStatus.FORBIDDEN)
        elif fault := self.faults.meet(plain_path(request.path), method=request.method, at_s=at_s):
            connection.work(self._respond_wrongly(request, connection, fault=fault, at_s=at_s))
            return
        else:
            reply = answer(request, self.trees, self.tokens, at_s)
        data = encode(reply, method=request.method)
        self._tell(self._record(request, reply, connection.address, at_s=at_s))
        connection.finish(data)

    def _fail(
        self, request: HttpRequest, connection: Connection, *, error: Exception, at_s: float
    ) -> None:
        """Answer as EC2 does where it cannot: a bug of ours says nothing to the guest."""
        reply = refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        seen = self._record(request, reply, connection.address, at_s=at_s)
        self._warn_once(f"Metadata service: {seen.path} is answered by 500: {error!r}.")
        self._tell(seen)
        connection.finish(encode(reply, method=request.method))

    def _tell(self, seen: MetadataRequest) -> None:
        """Tell a request, before its answer is out; who cannot take it keeps nobody waiting."""
        try:
            self.tell(seen)
        except Exception as error:
            self._warn_once(f"Metadata service: requests cannot be recorded: {error}.")

    def _warn_once(self, words: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn(words)

    async def _respond_wrongly(
        self, request: HttpRequest, connection: Connection, *, fault: Fault, at_s: float
    ) -> None:
        try:
            await self._deliver_fault(request, connection, fault=fault, at_s=at_s)
        except Exception as error:
            self._fail(request, connection, error=error, at_s=at_s)

    async def _deliver_fault(
        self, request: HttpRequest, connection: Connection, *, fault: Fault, at_s: float
    ) -> None:
        if fault.delay_s:
            connection.allow(fault.delay_s)
            await asyncio.sleep(fault.delay_s)
        reply = self._wrong_answer(request, fault, at_s)
        if fault.bytes_per_s:
            connection.allow(len(reply.body) / fault.bytes_per_s)
        seen = self._record(request, reply, connection.address, at_s=at_s)
        cut = Cut(fault.cut) if fault.cut else None
        seen = replace(seen, fault=fault.words, cut=cut.value if cut else "")
        data = encode(reply, method=request.method)
        self._tell(replace(seen, status=0) if cut in _UNANSWERED else seen)
        if fault.cut is None and fault.bytes_per_s is None:
            connection.finish(data)
            return
        await deliver_wrongly(reply, method=request.method, fault=fault, wire=connection.wire)

    def _wrong_answer(self, request: HttpRequest, fault: Fault, at_s: float) -> Answer:
        if fault.status is not None:
            return refusal(fault.status)
        reply = answer(request, self.trees, self.tokens, at_s)
        if fault.token_ttl_s is None or not (request.method == "PUT" and reply.token):
            return reply
        token = self.tokens.issue(
            ttl_s=min(fault.token_ttl_s, int(reply.headers[TTL_HEADER])),
            instance_id=self.trees.instance.instance_id,
            now_s=at_s,
        )
        return replace(reply, body=token.encode())

    def _record(
        self, request: HttpRequest, reply: Answer, address: str, *, at_s: float
    ) -> MetadataRequest:
        # As it came over the wire: percent-encoded, so without control characters.
        path = request.target[:_SHOWN_CHARACTERS]
        agent = request.headers.get("user-agent", "")[:_SHOWN_CHARACTERS]
        # QEMU's user network does not carry the guest's address over: it comes by a relay on the
        # socket, or in a namespace from the address itself.
        is_guest = address in {"", ADDRESS_IPV4}
        return MetadataRequest(
            at_s=at_s,
            method=request.method[:32],
            path=path,
            version=path.lstrip("/").partition("/")[0],
            token=reply.token,
            status=int(reply.status),
            user_agent=agent if agent.isprintable() else "".join(filter(str.isprintable, agent)),
            guest_address=self.trees.instance.local_ipv4 if is_guest else address,
        )
