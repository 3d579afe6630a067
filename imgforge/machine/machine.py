"""A machine that runs: started, watched, and ended with nothing left of it."""

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from imgforge import host
from imgforge.command import Process, Setting, run, spawn
from imgforge.errors import BadInputError, HostError
from imgforge.files import scratch_folder
from imgforge.machine.argv import Wiring, qemu_argv
from imgforge.machine.console import Console
from imgforge.machine.event import EndReason, MachineEnded, MachineEvent, MetadataAsked
from imgforge.machine.event_stream import EventStream
from imgforge.machine.monitor import Monitor
from imgforge.machine.spec import MachineSpec
from imgforge.metadata import MetadataRequest, MetadataService

PROGRAM = "qemu-system-x86_64"
_STDERR_TAIL_LINES = 12
_REAP_LIMIT_S = 5.0
_OVERLAY_LIMIT_S = 60.0
_LAST_WORDS_S = 1.0


class StartError(HostError):
    """QEMU ended before its machine ran."""


class Machine:
    """A running machine. Made by `start_machine`.

    `ssh_port` is on 127.0.0.1; `qemu_version` is as "7.2.22". Its events are for one reader.
    """

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self.ssh_port = 0
        self.qemu_version = ""
        self._stream = EventStream()
        self._monitor = Monitor(self._end)
        self._console: Console | None = None
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False
        self._powered_on_at: float | None = None
        self._over = asyncio.Event()

    @property
    def elapsed_s(self) -> float:
        """Seconds since power-on; 0 before it."""
        return 0.0 if self._powered_on_at is None else time.monotonic() - self._powered_on_at

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return 0 if self._process is None else self._process.pid

    def events(self) -> AsyncIterator[MachineEvent]:
        """Return the ordered stream of what happens; it ends after MachineEnded.

        Raises HostError where the console can no longer be kept (a full disk).
        """
        return self._stream.read()

    async def power_on(self, *, overlay: Path, relay: Path) -> None:
        """Start QEMU, attach to it, and let it run. Raises StartError where it does not start."""
        console_wire, console_end = socket.socketpair()
        monitor_wire, monitor_end = socket.socketpair()
        with closing(console_end), closing(monitor_end):
            wiring = Wiring(
                overlay=overlay,
                relay=relay,
                console_fd=console_end.fileno(),
                monitor_fd=monitor_end.fileno(),
            )
            for descriptor in (wiring.console_fd, wiring.monitor_fd):
                os.set_inheritable(descriptor, True)  # noqa: FBT003  (it takes no keywords)
            self._console = Console(
                console_wire,
                folder=self.spec.folder,
                clock=lambda: self.elapsed_s,
                tell=self._stream.put,
                fail=self._stream.fail,
            )
            self._process = process = spawn(
                PROGRAM,
                qemu_argv(self.spec, wiring),
                setting=Setting(pass_fds=(wiring.console_fd, wiring.monitor_fd)),
            )
        (self.spec.folder / "qemu.argv").write_text(process.line + "\n", encoding="utf-8")
        try:
            await self._monitor.connect(monitor_wire)
            self.qemu_version = await self._monitor.version()
            self.ssh_port = await self._monitor.ssh_port()
            self._watching = asyncio.create_task(self._watch_process(process))
            self._powered_on_at = time.monotonic()
            await self._monitor.execute("cont")
        except HostError as error:
            self._stopping = True
            with suppress(TimeoutError):  # one that gave up says why before it goes
                await asyncio.wait_for(_gone(process), _LAST_WORDS_S)
            process.kill()
            raise StartError(
                f"QEMU did not start: {stderr_tail(process)}\n  {error}\n  {process.line}",
                hint="`imgforge doctor` tells what this host can run.",
            ) from error

    def note_request(self, request: MetadataRequest, log: TextIO) -> None:
        """Keep a request of the guest in metadata.jsonl and tell it."""
        try:
            log.write(json.dumps(asdict(request), sort_keys=True) + "\n")
            log.flush()
        except OSError as error:
            self._stream.fail(HostError(f"Metadata log {log.name}: cannot be written: {error}."))
        self._stream.put(MetadataAsked(request.at_s, request))

    async def power_off(self, timeout_s: float) -> bool:
        """Press the power button (ACPI); tell whether the guest went down within `timeout_s`."""
        if not self._over.is_set():
            with suppress(HostError):
                await self._monitor.execute("system_powerdown")
        try:
            await asyncio.wait_for(self._over.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def quit(self) -> None:
        """End QEMU at once. A second time does nothing.

        QEMU is killed, not asked: its disk is a throw-away overlay, so nothing could be lost.
        """
        self._stopping = True
        if self._process is not None:
            self._process.kill()
            self._end(EndReason.STOPPED_BY_US, "imgforge ended it")
        if self._watching is not None:
            self._watching.cancel()
        if self._console is not None:
            self._console.close()
        await self._monitor.close()

    def _end(self, reason: EndReason, detail: str) -> None:
        """Tell the end, after all that the console said before it."""
        if self._over.is_set():
            return
        self._over.set()
        if self._console is not None:
            self._console.finish()
        self._stream.put(MachineEnded(self.elapsed_s, reason, detail))

    async def _watch_process(self, process: Process) -> None:
        await _gone(process)
        with suppress(TimeoutError):
            await asyncio.to_thread(process.wait, _REAP_LIMIT_S)
        if not self._stopping:
            self._end(EndReason.QEMU_DIED, stderr_tail(process))


@asynccontextmanager
async def start_machine(spec: MachineSpec) -> AsyncIterator[Machine]:
    """Start the machine, and end it with the block. It is powered on, and not yet looked at.

    Call it on the thread of an event loop that outlives the machine: QEMU dies with that thread.
    Raises BadInputError for a disk that is no file, StartError (with QEMU's own words) where QEMU
    does not start, CommandError where the overlay cannot be made.
    """
    if not spec.disk.is_file():
        raise BadInputError(f"Disk {spec.disk}: not a file.")
    spec.folder.mkdir(parents=True, exist_ok=True)
    machine = Machine(spec)
    with (
        scratch_folder(spec.folder) as scratch,
        scratch_folder(_runtime_parent()) as runtime,
        (spec.folder / "metadata.jsonl").open("w", encoding="utf-8") as log,
    ):
        # Absolute: a relative name such as "nbd:x" or "-x" would mean something else to qemu-img.
        overlay = (scratch / "overlay.qcow2").absolute()
        await asyncio.to_thread(_create_overlay, spec, overlay)
        async with MetadataService(
            spec.instance,
            folder=runtime,
            clock=lambda: machine.elapsed_s,
            tell=lambda request: machine.note_request(request, log),
        ) as service:
            try:
                await machine.power_on(overlay=overlay, relay=service.launcher)
                yield machine
            finally:
                await machine.quit()


def stderr_tail(process: Process) -> str:
    """Return the end of what an ended program said on stderr, in one text of a few lines."""
    lines = process.output()[1].decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_STDERR_TAIL_LINES:]) or "it said nothing on stderr"


async def _gone(process: Process) -> None:
    """Wait until a process has ended, without blocking the loop (pidfd_open(2))."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _create_overlay(spec: MachineSpec, overlay: Path) -> None:
    """Make an empty qcow2 on the disk, which is opened for reading only."""
    backing = ("-b", spec.disk.absolute(), "-F", spec.disk_format)
    run(
        "qemu-img",
        ["create", "-q", "-f", "qcow2", *backing, overlay],
        timeout_s=_OVERLAY_LIMIT_S,
    )


def _runtime_parent() -> Path:
    """Return where the relay's launcher may stand: slirp splits its path on spaces."""
    parent = host.runtime_parent()
    return parent if re.fullmatch(r"[\w./+-]+", str(parent), re.ASCII) else Path("/tmp")  # noqa: S108
