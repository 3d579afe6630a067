"""What QEMU says of the machine, over QMP.

https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO

from qemu.qmp import EventListener, QMPClient, QMPError

from imgforge.errors import HostError
from imgforge.machine.event import EndReason

_REPLY_LIMIT_S = 20.0
_MIGRATION_LIMIT_S = 300.0
_MIGRATION_ENDS = frozenset({"completed", "failed", "cancelled"})
_UNLIMITED_BYTES_S = 2**40
_FORWARDED = re.compile(r"^\s*TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s", re.MULTILINE)

# RunState as `query-status` tells it: what a stop that nobody asked for means.
_HOST_FAULTS = frozenset({"internal-error", "io-error"})
_REASONS = {
    "guest-shutdown": EndReason.GUEST_SHUTDOWN,
    "guest-reset": EndReason.GUEST_RESET,
    "subsystem-reset": EndReason.GUEST_RESET,
    "guest-panic": EndReason.GUEST_PANIC,
    "host-qmp-quit": EndReason.STOPPED_BY_US,
}


class Monitor:
    """A QMP connection to one QEMU, made over a socket it inherited."""

    def __init__(self, on_end: Callable[[EndReason, str], None]) -> None:
        _keep_quiet()
        self._client = QMPClient("imgforge")
        self._on_end = on_end
        self._listener = EventListener(names=("SHUTDOWN", "STOP", "GUEST_PANICKED", "MIGRATION"))
        self._migration: asyncio.Future[str] | None = None
        self._client.register_listener(self._listener)
        self._watching: asyncio.Task[None] | None = None

    async def connect(self, wire: socket.socket) -> None:
        """Greet QEMU and watch its events. Raises HostError when QEMU does not answer."""
        try:
            await asyncio.wait_for(self._client.connect(wire), _REPLY_LIMIT_S)
        except (QMPError, TimeoutError, OSError) as error:
            raise HostError(f"QEMU monitor: no greeting: {_in_words(error)}.") from error
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        if self._watching is not None:
            self._watching.cancel()
        with suppress(Exception):
            await self._client.disconnect()

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Execute a QMP command. Raises HostError when QEMU refuses it or does not answer."""
        try:
            return await asyncio.wait_for(
                self._client.execute(command, dict(arguments or {})), _REPLY_LIMIT_S
            )
        except (QMPError, TimeoutError, OSError) as error:
            raise HostError(f"QEMU monitor: {command}: {_in_words(error)}.") from error

    async def version(self) -> str:
        """Return QEMU's version, as "7.2.22"."""
        match await self.execute("query-version"):
            case {"qemu": {"major": major, "minor": minor, "micro": micro}}:
                return f"{major}.{minor}.{micro}"
            case other:
                raise HostError(f"QEMU monitor: query-version: unknown answer {other!r}.")

    async def ssh_port(self) -> int:
        """Return the host's port that leads to the guest's port 22."""
        arguments = {"command-line": "info usernet"}
        return forwarded_port(str(await self.execute("human-monitor-command", arguments)))

    async def suspend(self, state: BinaryIO, *, apart_from_memory: bool) -> None:
        """Stop the machine for good, and write its state to an open file.

        With `apart_from_memory` what is in a shared memory file stays there. Raises HostError.
        """
        await self.execute("stop")
        await self._set_up_migration(apart_from_memory=apart_from_memory)
        await self._migrate("migrate", state)

    async def resume(self, state: BinaryIO, *, apart_from_memory: bool) -> None:
        """Take over the state that `suspend` wrote; the machine then waits for `cont`.

        Raises HostError where it is none of this machine.
        """
        await self._set_up_migration(apart_from_memory=apart_from_memory)
        await self._migrate("migrate-incoming", state)

    async def _set_up_migration(self, *, apart_from_memory: bool) -> None:
        wanted = {"events": True, "x-ignore-shared": apart_from_memory}
        capabilities = [{"capability": name, "state": state} for name, state in wanted.items()]
        await self.execute("migrate-set-capabilities", {"capabilities": capabilities})
        await self.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED_BYTES_S})

    async def _migrate(self, command: str, file: BinaryIO) -> None:
        self._migration = asyncio.get_running_loop().create_future()
        self._client.send_fd_scm(file.fileno())
        await self.execute("getfd", {"fdname": "state"})
        await self.execute(command, {"uri": "fd:state"})
        try:
            status = await asyncio.wait_for(self._migration, _MIGRATION_LIMIT_S)
        except TimeoutError:
            status = f"not done after {_MIGRATION_LIMIT_S:g} s"
        finally:
            self._migration = None
        if status != "completed":
            raise HostError(f"QEMU monitor: {command}: {status}.")

    async def _watch(self) -> None:
        async for event in self._listener:
            match event:
                case {"event": "SHUTDOWN", "data": {"reason": str(reason)}}:
                    self._on_end(
                        _REASONS.get(reason, EndReason.QEMU_DIED), f"QMP SHUTDOWN reason={reason}"
                    )
                case {"event": "STOP"}:
                    await self._explain_stop()
                case {"event": "MIGRATION", "data": {"status": str(status)}}:
                    if status in _MIGRATION_ENDS and self._migration is not None:
                        self._migration.set_result(status)
                case {"event": "GUEST_PANICKED"}:
                    self._on_end(EndReason.GUEST_PANIC, "QMP GUEST_PANICKED")

    async def _explain_stop(self) -> None:
        """Find out why the machine stands still: QEMU tells a fault of its own only when asked."""
        with suppress(HostError):
            match await self.execute("query-status"):
                case {"status": str(status)} if status in _HOST_FAULTS:
                    self._on_end(EndReason.HOST_INTERNAL_ERROR, f"QEMU's run state is {status}")


def forwarded_port(usernet: str) -> int:
    """Return the forwarded loopback port from the text of HMP's `info usernet`.

    Raises HostError when there is none.
    """
    found = _FORWARDED.search(usernet)
    if found is None or not 0 < int(found[1][:6]) < 65536:
        raise HostError(f"QEMU monitor: info usernet names no forwarded port: {usernet!r}.")
    return int(found[1])


def _in_words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _keep_quiet() -> None:
    """Keep qemu.qmp from writing of a QEMU that goes away to our stderr: we tell it ourselves."""
    logger = logging.getLogger("qemu.qmp")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
