"""What a machine showed, kept for the tests that ask for it later."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from imgforge.accelerator import Accelerator
from imgforge.errors import HostError
from imgforge.machine import (
    ConsoleBytes,
    ConsoleLine,
    EventStream,
    Machine,
    MachineEnded,
    MachineEvent,
    MachineSpec,
    MetadataAsked,
    WayChoice,
)
from imgforge.metadata import RequestLog
from imgforge.testing.failure import HarnessError

KEPT_LINES = 100_000


class Witness:
    """Reads the events of one machine, from its power-on to its end; everybody else asks here.

    It can be observed (`imgforge.acceptance.observe`) in the machine's place, once: events are
    kept for the observer until then. `lines` are (seconds, text), `pending` is the line that has no
    end yet. Made in the machine's event loop.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.lines: deque[tuple[float, str]] = deque(maxlen=KEPT_LINES)
        self.pending = ""
        self.requests = RequestLog()
        self.ended: MachineEnded | None = None
        self._failure: HostError | None = None
        self._changed = asyncio.Event()
        self._for_observer: EventStream | None = EventStream()
        self._following = asyncio.create_task(self._follow())

    @property
    def spec(self) -> MachineSpec:
        """How the machine was started."""
        return self.machine.spec

    @property
    def accelerator(self) -> Accelerator:
        """What runs its instructions."""
        return self.machine.spec.accelerator

    @property
    def ssh_port(self) -> int:
        """The loopback port that leads to its SSH server."""
        return self.machine.ssh_port

    @property
    def elapsed_s(self) -> float:
        """Seconds since power-on."""
        return self.machine.elapsed_s

    @property
    def qemu_version(self) -> str:
        """The version of the QEMU that runs it."""
        return self.machine.qemu_version

    @property
    def waited_s(self) -> float:
        """Seconds for which it waited for one of the host's processors; 0 once it has ended."""
        return self.machine.waited_s

    def full_disk(self) -> MachineEnded | None:
        """Return the end that a host without space for its writes is, if it has none."""
        return self.machine.full_disk()

    @property
    def way(self) -> WayChoice:
        """How its guest comes to the metadata service."""
        return self.machine.way

    async def events(self) -> AsyncIterator[MachineEvent]:
        """Pass the machine's events on, from the first; for one observer."""
        if self._for_observer is None:
            raise HarnessError("The machine's boot was observed already.")
        async for event in self._for_observer.read():
            yield event

    def dismiss_observer(self) -> None:
        """Keep no events for an observer any more."""
        self._for_observer = None

    def leave(self) -> None:
        """Stop reading."""
        self._following.cancel()

    async def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `holds` does, looking after each event; tell whether it did in time.

        It also ends, without it, with the machine. Raises HarnessError where the machine can no
        longer be heard.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not holds() and self.ended is None:
                    if self._failure is not None:
                        raise HarnessError(str(self._failure)) from self._failure
                    self._changed.clear()
                    await self._changed.wait()
        return holds()

    def find(self, pattern: re.Pattern[str], *, start: int = 0) -> str | None:
        """Return the first console line, or line without an end, that matches from `start` on."""
        shown = [text for _, text in self.lines][start:]
        return next((text for text in (*shown, self.pending) if pattern.search(text)), None)

    async def _follow(self) -> None:
        try:
            async for event in self.machine.events():
                self._keep(event)
        except HostError as error:
            self._failure = error
            if self._for_observer is not None:
                self._for_observer.fail(error)
            self._changed.set()

    def _keep(self, event: MachineEvent) -> None:
        match event:
            case ConsoleLine(at_s=at_s, text=text):
                self.lines.append((at_s, text))
                self.pending = ""
            case ConsoleBytes(pending=pending):
                self.pending = pending
            case MetadataAsked(request=request):
                self.requests.add(request)
            case MachineEnded():
                self.ended = event
        if self._for_observer is not None:
            self._for_observer.put(event)
        self._changed.set()
