"""The events of a machine, in order, kept for a reader who may be slow."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from imgforge.errors import HostError
from imgforge.machine.event import (
    ConsoleBytes,
    ConsoleLine,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
)

_LIMIT_BYTES = 64 * 1024 * 1024
_EVENT_BYTES = 300


class EventStream:
    """An ordered stream for one reader; it ends after MachineEnded.

    A reader who lags by more than some 64 MiB of events loses the oldest: a console is drained
    whether or not somebody looks, and console.raw has it all. `dropped` counts them.
    """

    def __init__(self) -> None:
        self._events: deque[MachineEvent] = deque()
        self._size_bytes = 0
        self._ready = asyncio.Event()
        self._failure: HostError | None = None
        self._ended = False
        self.dropped = 0

    @property
    def ended(self) -> bool:
        """Tell whether the last event was put in."""
        return self._ended

    def put(self, event: MachineEvent) -> None:
        """Add an event; after MachineEnded nothing is added."""
        if self._ended:
            return
        self._ended = isinstance(event, MachineEnded)
        self._events.append(event)
        self._size_bytes += _size_bytes(event)
        while self._size_bytes > _LIMIT_BYTES and len(self._events) > 1:
            self._size_bytes -= _size_bytes(self._events.popleft())
            self.dropped += 1
        self._ready.set()

    def fail(self, failure: HostError) -> None:
        """End the stream with an error of the host, after the events that are in it."""
        self._failure = self._failure or failure
        self._ready.set()

    async def read(self) -> AsyncIterator[MachineEvent]:
        """Yield the events; raises the HostError that ended the stream, if one did."""
        while True:
            while self._events:
                event = self._events.popleft()
                self._size_bytes -= _size_bytes(event)
                yield event
                if isinstance(event, MachineEnded):
                    return
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return
            self._ready.clear()
            await self._ready.wait()


def _size_bytes(event: MachineEvent) -> int:
    match event:
        case ConsoleLine(text=text) | ConsoleBytes(pending=text):
            return _EVENT_BYTES + len(text)
        case MetadataAsked(request=request):
            return 4 * _EVENT_BYTES + len(request.path) + len(request.user_agent)
        case _:
            return 4 * _EVENT_BYTES
