"""A machine that runs: started, watched, and ended with nothing left of it."""

import asyncio
import json
import shlex
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from imgforge import host
from imgforge.command import Process, Setting, find_program, spawn
from imgforge.errors import HostError
from imgforge.machine.argv import Wiring, qemu_argv, volume_device, volume_name
from imgforge.machine.channel import Channel
from imgforge.machine.console import Console
from imgforge.machine.event import (
    EndReason,
    KernelStarted,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
)
from imgforge.machine.event_stream import EventStream
from imgforge.machine.gate import Gate
from imgforge.machine.monitor import Monitor
from imgforge.machine.spec import MachineSpec, Suspended
from imgforge.machine.storage import Drive, Storage, drive_node
from imgforge.machine.way import MetadataWay, WayChoice, enter_command
from imgforge.machine.wires import Wires
from imgforge.machine.xen.appliance import Appliance
from imgforge.machine.xen.argv import disk_device, xen_argv
from imgforge.machine.xen.config import volume_letters
from imgforge.machine.xen.lay_out import lay_out
from imgforge.machine.xen.session import GOODBYE, SessionWish, session_line
from imgforge.metadata import Faults, MetadataRequest, MetadataService, Tokens

PROGRAM = "qemu-system-x86_64"
_STDERR_TAIL_LINES = 12
_REAP_LIMIT_S = 5.0
_LAST_WORDS_S = 1.0
_LOGGED_REQUESTS = 100_000  # in metadata.jsonl: some 30 MB, 300 MB at most
_ROOM_BYTES = 256 * 1024  # some clusters of a qcow2 layer


@dataclass(frozen=True, slots=True)
class Rooms:
    """Folders that end with the machine: a short path for sockets, and one with space."""

    runtime: Path
    scratch: Path


class StartError(HostError):
    """QEMU ended before its machine ran."""


class Machine:
    """A running machine. Made by `start_machine`.

    `ssh_port` is on 127.0.0.1; `qemu_version` is as "7.2.22"; `storage` is what it writes to,
    `metadata` the service that its guest asks (None before `start_machine` has made it), `faults`
    what that gets wrong, `way` how its guest comes to it. Its events are for one reader.
    """

    def __init__(self, spec: MachineSpec, storage: Storage, way: WayChoice) -> None:
        self.spec = spec
        self.way = way
        self.storage = storage
        self.faults = Faults(spec.faults)
        self.tokens = Tokens(spec.resume.token_secret) if spec.resume else Tokens()
        self.metadata: MetadataService | None = None
        self.ssh_port = 0
        self.qemu_version = ""
        self._stream = EventStream()
        self._monitor = Monitor(self._end_of_qemu)
        self._console: Console | None = None
        self._channel: Channel | None = None
        self._appliance: Appliance | None = None
        self._gate: Gate | None = None
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False
        self._noted = 0
        self._powered_on_at: float | None = None
        self._waited_before_s = 0.0
        self._over = asyncio.Event()

    @property
    def elapsed_s(self) -> float:
        """Seconds since power-on, those before it was suspended included; 0 before it."""
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

    @property
    def gate(self) -> Gate | None:
        """What reaches into its network namespace, None where it runs in none."""
        return self._gate

    @property
    def channel(self) -> Channel:
        """Its command channel. Raises HostError where the machine was started without one."""
        if self._channel is None:
            raise HostError("This machine was started without a command channel.")
        return self._channel

    async def open_session(self, wish: SessionWish, *, timeout_s: float) -> bool:
        """Have an agent run in a guest of Xen's, by SSH from dom0; tell whether it is there.

        It takes the place of the virtio-serial port that such a guest does not have.
        """
        line = session_line(wish, guest=self.spec.instance.local_ipv4)
        return await self.channel.open_session(line, timeout_s=timeout_s)

    async def power_on(self, service: MetadataService, rooms: Rooms) -> None:
        """Start QEMU, attach to it, and let it run. Raises StartError where it does not start.

        Of a PV guest under Xen, power-on is when Xen lets it run: what comes before is not its.
        `rooms` are for what QEMU is started with.
        """
        monitor_wire = self._start(service.launcher, rooms)
        assert self._process is not None
        resume = self.spec.resume
        try:
            if self._gate is not None:
                await service.listen(await self._gate.take_listener())
            await self._monitor.connect(monitor_wire)
            self.qemu_version = await self._monitor.version()
            self.ssh_port = await self._monitor.ssh_port()
            if self._gate is not None:
                self.ssh_port = await self._gate.open_port(self.ssh_port)
            if resume is not None:
                with resume.state.open("rb") as state:
                    await self._monitor.resume(state, apart_from_memory=bool(resume.memory))
            self._watching = asyncio.create_task(self._watch_process(self._process))
            self._powered_on_at = time.monotonic() - (resume.elapsed_s if resume else 0.0)
            await self._monitor.execute("cont")
            if self._appliance is not None and resume is None:
                await self._appliance.started()
                self._powered_on_at = time.monotonic()
                self._waited_before_s = host.waited_s(self.pid)
        except (HostError, OSError) as error:
            self._stopping = True
            with suppress(TimeoutError):  # one that gave up says why before it goes
                await self._process.gone(_LAST_WORDS_S)
            self._process.kill()
            what = "QEMU" if self._appliance is None else "The Xen appliance"
            raise StartError(
                f"{what} did not start: {_stderr_tail(self._process)}\n  {error}\n"
                f"  {self._process.line}",
                hint="`imgforge doctor` tells what this host can run.",
            ) from error

    def _start(self, relay: Path, rooms: Rooms) -> socket.socket:
        """Start QEMU with its wires; return our end of the monitor's."""
        spec = self.spec
        is_inside = self.way.way is MetadataWay.NAMESPACE
        with ExitStack() as theirs:
            wires = Wires(theirs)
            monitor_wire, wiring = self._attach(wires, relay=None if is_inside else relay)
            if spec.source.xen is None:
                arguments = qemu_argv(spec, wiring)
            else:
                appliance_wire, appliance_end = wires.pair()
                self._appliance = self._attend(appliance_wire)
                wiring = replace(wiring, appliance_fd=appliance_end)
                files = lay_out(spec, wiring, folder=rooms.runtime, scratch=rooms.scratch)
                arguments = xen_argv(spec, replace(wiring, files=files))
            words = [PROGRAM, *arguments]
            (spec.folder / "qemu.argv").write_text(shlex.join(words) + "\n", encoding="utf-8")
            if is_inside:
                gate_wire, gate_end = wires.pair()
                self._gate = Gate(gate_wire)
                words = [*enter_command(), str(gate_end), str(find_program(PROGRAM)), *arguments]
            self._process = spawn(words[0], words[1:], setting=Setting(pass_fds=wires.ends))
        return monitor_wire

    def _attach(self, wires: Wires, *, relay: Path | None) -> tuple[socket.socket, Wiring]:
        """Begin to listen to what QEMU will have at its ends; return the monitor's, and all."""
        console_wire, console_end = wires.pair()
        monitor_wire, monitor_end = wires.pair()
        channel_end = None
        if self.spec.has_channel:
            channel_wire, channel_end = wires.pair()
            goodbye = GOODBYE if self.spec.source.xen else ""
            self._channel = Channel(channel_wire, goodbye=goodbye)
        self._console = Console(
            console_wire,
            base=self.spec.folder / "console",
            clock=lambda: self.elapsed_s,
            tell=self._stream.put,
            fail=self._stream.fail,
            goes_on=self.spec.resume is not None,
        )
        return monitor_wire, Wiring(
            self.storage,
            relay=relay,
            console_fd=console_end,
            monitor_fd=monitor_end,
            channel_fd=channel_end,
        )

    def _attend(self, wire: socket.socket) -> Appliance:
        return Appliance(
            wire,
            folder=self.spec.folder,
            clock=lambda: self.elapsed_s,
            on_end=self._end,
            on_kernel=lambda: self._stream.put(KernelStarted(self.elapsed_s)),
            goes_on=self.spec.resume is not None,
        )

    async def suspend(self, state: Path, *, memory: Path | None = None) -> Suspended:
        """Stop the machine for good, and return how to go on with it.

        `state` is the file its state is written to; `memory` its spec's memory file, or None to
        have the memory in `state` too. Its storage must be kept from then on. Raises HostError.
        """
        elapsed_s = self.elapsed_s
        self._stopping = True
        with state.open("wb") as file:
            await self._monitor.suspend(file, apart_from_memory=memory is not None)
        return Suspended(state, self.storage, elapsed_s, self.tokens.secret, memory)

    async def attach_volume(self, drive: Drive, *, number: int) -> None:
        """Plug a volume in while the machine runs, as its further volume `number` (from 0).

        Raises HostError.
        """
        name = volume_name(number)
        await self._monitor.execute("blockdev-add", drive_node(drive, name))
        if self._appliance is None:
            await self._monitor.execute("device_add", volume_device(self.spec, number))
        else:
            await self._monitor.execute("device_add", disk_device(name))
            self._appliance.attach(name, name=f"xvd{volume_letters(number + 1)[-1]}")
        self.storage = Storage(self.storage.root, (*self.storage.volumes, drive))

    @property
    def waited_s(self) -> float:
        """Seconds since power-on in which it waited for a processor; 0 once it has ended."""
        return max(0.0, host.waited_s(self.pid) - self._waited_before_s)

    def full_disk(self) -> MachineEnded | None:
        """Return the end that a host without space for the machine's writes is, if it has none.

        An NVMe disk tells the guest of an I/O error then, where others stop the machine: what the
        guest makes of it says nothing of the image.
        """
        folder = self.storage.root.layers[0].path.parent
        free = host.free_disk_bytes(folder)
        if free >= _ROOM_BYTES:
            return None
        detail = f"no space is left in {folder}: {free} bytes"
        return MachineEnded(self.elapsed_s, EndReason.HOST_DISK_FULL, detail)

    async def save_screen(self, path: Path) -> None:
        """Write what its screen shows as a PNG. Raises HostError where it has none."""
        if not self.spec.has_screen:
            raise HostError("This machine was started without a screen.")
        await self._monitor.execute("screendump", {"filename": str(path), "format": "png"})

    def note_request(self, request: MetadataRequest, log: TextIO) -> None:
        """Keep a request of the guest in metadata.jsonl, which has the first, and tell it."""
        self._noted += 1
        try:
            if self._noted <= _LOGGED_REQUESTS:
                log.write(json.dumps(asdict(request), sort_keys=True) + "\n")
                log.flush()
        except OSError as error:
            self._stream.fail(HostError(f"Metadata log {log.name}: cannot be written: {error}."))
        self._stream.put(MetadataAsked(request.at_s, request))

    async def power_off(self, timeout_s: float) -> bool:
        """Press the power button (ACPI); tell whether the guest went down within `timeout_s`."""
        if not self._over.is_set():
            with suppress(HostError, OSError):
                if self._appliance is not None:
                    self._appliance.press_power_button()
                else:
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
        if self._channel is not None:
            self._channel.close()
        if self._appliance is not None:
            self._appliance.close()
        if self._gate is not None:
            self._gate.close()
        await self._monitor.close()

    def _end_of_qemu(self, reason: EndReason, detail: str) -> None:
        """Tell the end of the whole; of Xen's guest, dom0 would have told before."""
        if self._appliance is not None:
            self._appliance.finish()
            reason, detail = self._appliance.end(reason, detail)
        self._end(reason, detail)

    def _end(self, reason: EndReason, detail: str) -> None:
        """Tell the end, after all that the console said before it."""
        if self._over.is_set():
            return
        self._over.set()
        if self._console is not None:
            self._console.finish()
        if self._channel is not None:  # QEMU itself may stand still, and the wire stay open
            self._channel.close()
        self._stream.put(MachineEnded(self.elapsed_s, reason, detail))

    async def _watch_process(self, process: Process) -> None:
        await process.gone()
        with suppress(TimeoutError):
            await asyncio.to_thread(process.wait, _REAP_LIMIT_S)
        if not self._stopping:
            self._end_of_qemu(EndReason.QEMU_DIED, _stderr_tail(process))


def _stderr_tail(process: Process) -> str:
    """Return the end of what an ended program said on stderr, in one text of a few lines."""
    lines = process.output()[1].decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_STDERR_TAIL_LINES:]) or "it said nothing on stderr"
