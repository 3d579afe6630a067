"""A metadata service without a machine, for who writes what asks it."""

import asyncio
import errno
import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgforge.errors import BadInputError, HostError
from imgforge.metadata.change import interrupt_spot, recommend_rebalance, schedule_maintenance
from imgforge.metadata.event import SpotAction
from imgforge.metadata.fault import Fault, Faults
from imgforge.metadata.hosts import Hosts
from imgforge.metadata.instance import Instance
from imgforge.metadata.order import Ordered, changed, obey
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.responder import Secrets
from imgforge.metadata.service import MetadataService
from imgforge.metadata.signer import Signer
from imgforge.metadata.tokens import Tokens
from imgforge.progress import warn

LOOPBACK = "127.0.0.1"
_LONGEST_PATH_BYTES = 107  # unix(7), without its NUL
_LONGEST_LINE_BYTES = 64 * 1024
_TOO_LONG = b"a line that is too long"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens by itself, in seconds since the start; None where it does not.

    `start_s` is when it begins to listen: before it connections are refused.
    """

    start_s: float = 0.0
    spot_interruption_s: float | None = None
    spot_action: SpotAction = SpotAction.TERMINATE
    rebalance_s: float | None = None
    maintenance_s: float | None = None


@dataclass(frozen=True, slots=True)
class StandAlone:
    """A service to be: `control` is the path of a socket that takes orders."""

    instance: Instance
    signer: Signer | None = None
    faults: tuple[Fault, ...] = ()
    schedule: Schedule = field(default_factory=Schedule)
    control: Path | None = None
    hosts: Hosts = Hosts.ANY


def bind_loopback(port: int) -> socket.socket:
    """Return a socket bound to a port of 127.0.0.1, 0 for a free one. Raises HostError."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
    except OSError as error:
        bound.close()
        raise HostError(
            f"Port {port} of {LOOPBACK}: cannot be taken: {error.strerror}.",
            hint="--port 0 takes a free one.",
        ) from None
    return bound


@asynccontextmanager
async def stand_alone(
    wanted: StandAlone,
    listeners: tuple[socket.socket, ...],
    *,
    tell: Callable[[MetadataRequest], None],
) -> AsyncIterator[Ordered]:
    """Answer on bound sockets while the block lasts; `tell` is called with each request.

    Raises HostError or BadInputError where it cannot listen.
    """
    began = time.monotonic()
    faults, tokens = Faults(wanted.faults), Tokens()

    def clock() -> float:
        return time.monotonic() - began

    async with AsyncExitStack() as stack:
        for listener in listeners:
            stack.enter_context(closing(listener))
        service = await stack.enter_async_context(
            MetadataService(
                wanted.instance,
                clock=clock,
                tell=tell,
                secrets=Secrets(tokens, wanted.signer),
                faults=faults,
            )
        )
        service.serve_only(wanted.hosts)
        ordered = Ordered(service, faults, tokens, clock)
        if wanted.control is not None:
            await stack.enter_async_context(_control(wanted.control, ordered))
        if not wanted.schedule.start_s:
            await _listen(service, listeners)
        running = asyncio.create_task(_keep(wanted.schedule, ordered, listeners))
        stack.callback(running.cancel)
        yield ordered


async def _listen(service: MetadataService, listeners: tuple[socket.socket, ...]) -> None:
    for listener in listeners:
        try:
            await service.listen(listener)
        except OSError as error:
            host, port = listener.getsockname()[:2]
            raise HostError(
                f"Port {port} of {host}: cannot be taken: {error.strerror}.",
                hint="--port 0 takes a free one.",
            ) from None


async def _keep(schedule: Schedule, ordered: Ordered, listeners: tuple[socket.socket, ...]) -> None:
    """Do what the schedule says, at its times."""

    async def start() -> None:
        try:
            await _listen(ordered.service, listeners)
        except HostError as error:
            warn(str(error))

    async def change(function: Callable[..., Instance], **arguments: Any) -> None:
        ordered.service.instance = changed(ordered.service.instance, function, arguments)

    due: list[tuple[float | None, Callable[[], Any]]] = [
        (schedule.start_s or None, start),
        (
            schedule.spot_interruption_s,
            lambda: change(interrupt_spot, action=schedule.spot_action),
        ),
        (schedule.rebalance_s, lambda: change(recommend_rebalance)),
        (schedule.maintenance_s, lambda: change(schedule_maintenance)),
    ]
    times = sorted(
        ((at_s, act) for at_s, act in due if at_s is not None), key=lambda planned: planned[0]
    )
    for at_s, act in times:
        await asyncio.sleep(max(0.0, at_s - ordered.clock()))
        await act()


@asynccontextmanager
async def _control(path: Path, ordered: Ordered) -> AsyncIterator[None]:
    """Take orders on a socket that only this user may open; it is gone with the block."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            async for reply in replies(reader, ordered):
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        writer.close()

    bound = _bind_control(path)
    ours = _file_id(path)
    server = await asyncio.start_unix_server(serve, sock=bound, limit=_LONGEST_LINE_BYTES)
    async with server:
        try:
            yield
        finally:
            # Before it closes: until then no other file has its inode's number.
            if ours is not None and _file_id(path) == ours:
                os.unlink(path)  # noqa: PTH108 (what blocks for a moment only)
            server.close()


def _file_id(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None where there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _bind_control(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise BadInputError(
            f"Control socket {path}: a socket's path has at most {_LONGEST_PATH_BYTES} bytes."
        )
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(path):
            path.unlink()
        os.fchmod(bound.fileno(), 0o600)  # before it has a name, so that it never was open
        bound.bind(str(path))
    except OSError as error:
        bound.close()
        raise BadInputError(f"Control socket {path}: cannot be made: {error.strerror}.") from None
    return bound


def _is_left_over(path: Path) -> bool:
    """Tell whether a socket stands there that nobody listens on: its service was killed."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return False


async def replies(reader: asyncio.StreamReader, ordered: Ordered) -> AsyncIterator[dict[str, Any]]:
    """Obey each line, and yield what to answer; ends where the lines end."""
    while line := await _line(reader):
        if line is _TOO_LONG:
            yield {"ok": False, "error": f"a line has at most {_LONGEST_LINE_BYTES} bytes"}
        elif line.strip():
            yield obey(line, ordered)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return the next line, b"" at the end, and `_TOO_LONG` for one that was thrown away."""
    is_too_long = False
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed)
            is_too_long = True
            continue
        return _TOO_LONG if is_too_long else line


@asynccontextmanager
async def piped_lines(descriptor: int) -> AsyncIterator[asyncio.StreamReader | None]:
    """Yield what reads the lines of a pipe or a socket while the block lasts; None for another.

    A terminal, /dev/null, a file or a closed descriptor tell nothing of who started this process.
    """
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        mode = 0
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        yield None
        return
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LONGEST_LINE_BYTES)
    with os.fdopen(os.dup(descriptor), "rb", buffering=0) as pipe:
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            yield reader
        finally:
            transport.close()
