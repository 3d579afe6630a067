"""The appliance while it runs: its console is kept, its words are understood."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from imgforge.errors import HostError
from imgforge.machine.console import Console
from imgforge.machine.event import ConsoleBytes, ConsoleLine, EndReason
from imgforge.machine.xen.words import Said, Word, is_trouble, judge_end, read_words

LOG_NAME = "xen"
START_LIMIT_S = 240.0
_KEPT_LINES = 12


class Appliance:
    """Reads the appliance's console into xen.raw and xen.log, and tells of its guest's end.

    `on_end` is called once, with why and in which words.
    """

    def __init__(
        self,
        wire: socket.socket,
        *,
        folder: Path,
        clock: Callable[[], float],
        on_end: Callable[[EndReason, str], None],
        goes_on: bool = False,
    ) -> None:
        self._wire = wire
        self._on_end = on_end
        self._started = asyncio.Event()
        if goes_on:
            self._started.set()
        self._failure = ""
        self._trouble = ""
        self._last: list[str] = []
        self._console = Console(
            wire,
            base=folder / LOG_NAME,
            clock=clock,
            tell=self._take,
            fail=lambda error: on_end(EndReason.APPLIANCE_FAILED, str(error)),
            goes_on=goes_on,
        )

    async def started(self) -> None:
        """Wait until the guest runs, or its kernel was refused. Raises HostError, saying why."""
        try:
            await asyncio.wait_for(self._started.wait(), START_LIMIT_S)
        except TimeoutError:
            self._failure = f"it started no guest within {START_LIMIT_S:g} s"
        if self._failure:
            shown = "".join(f"\n  | {line}" for line in self._last)
            raise HostError(f"Xen appliance: {self._failure}.{shown}")

    def press_power_button(self) -> None:
        """Have the guest asked to shut down, as EC2 asks an instance."""
        self._wire.send(b"shutdown\n")

    def attach(self, disk: str, *, name: str) -> None:
        """Have a new disk of dom0's, known by its serial, plugged into the guest as `name`."""
        self._wire.send(f"attach {disk} {name}\n".encode())

    def end(self, reason: EndReason, detail: str) -> tuple[EndReason, str]:
        """Return what an end of QEMU's is, that dom0 did not announce: its own failure."""
        if reason in {EndReason.GUEST_SHUTDOWN, EndReason.GUEST_RESET, EndReason.GUEST_PANIC}:
            detail = f"Xen ended without a word of its guest ({detail}): {self._said_last}"
            reason = EndReason.APPLIANCE_FAILED
        self._fail(detail)
        return reason, detail

    def finish(self) -> None:
        """Read what is there, and close; a second time does nothing."""
        self._console.finish()

    def close(self) -> None:
        """Close; a second time does nothing."""
        self._console.close()

    @property
    def _said_last(self) -> str:
        return next((line for line in reversed(self._last) if line.strip()), "it said nothing")

    def _fail(self, why: str) -> None:
        if not self._started.is_set():
            self._failure = why
            self._started.set()

    def _take(self, event: ConsoleBytes | ConsoleLine) -> None:
        if not isinstance(event, ConsoleLine):
            return
        self._last = [*self._last, event.text][-_KEPT_LINES:]
        if is_trouble(event.text):
            self._trouble = event.text.strip()
        said = read_words(event.text)
        match said:
            case None:
                return
            case Said(Word.READY):
                self._started.set()
                return
            case Said(Word.REFUSED):
                self._started.set()
            case Said(Word.FAILED):
                self._fail(said.more or "it failed")
        self._on_end(*judge_end(said, trouble=self._trouble))
