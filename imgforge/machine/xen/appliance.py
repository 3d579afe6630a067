"""The appliance while it runs: its console is kept, its words are understood."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

from imgforge.errors import HostError
from imgforge.machine.console import Console
from imgforge.machine.event import ConsoleBytes, ConsoleLine, EndReason
from imgforge.machine.xen.words import Said, Word, is_trouble, judge_end, read_words

LOG_NAME = "xen"
START_LIMIT_S = 240.0
_KEPT_LINES = 12


class _Heard:
    """What was said last, and Xen's last complaint."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.trouble = ""

    @property
    def last(self) -> str:
        return next((line for line in reversed(self.lines) if line.strip()), "it said nothing")

    def add(self, line: str) -> None:
        self.lines.append(line)
        if is_trouble(line):
            self.trouble = line.strip()


class Appliance:
    """Reads the appliance's console into xen.raw and xen.log, and tells of its guest's end.

    `on_end` is called once, with why and in which words; `on_kernel` when a boot loader is done.
    """

    def __init__(
        self,
        wire: socket.socket,
        *,
        folder: Path,
        clock: Callable[[], float],
        on_end: Callable[[EndReason, str], None],
        on_kernel: Callable[[], None],
        goes_on: bool = False,
    ) -> None:
        self._wire = wire
        self._on_end = on_end
        self._on_kernel = on_kernel
        # Why no guest was started; "" once one was, or its kernel was refused.
        self._start: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if goes_on:
            self._start.set_result("")
        self._heard = _Heard()
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
            failure = await asyncio.wait_for(asyncio.shield(self._start), START_LIMIT_S)
        except TimeoutError:
            failure = f"it started no guest within {START_LIMIT_S:g} s"
        if failure:
            shown = "".join(f"\n  | {line}" for line in self._heard.lines)
            raise HostError(f"Xen appliance: {failure}.{shown}")

    def press_power_button(self) -> None:
        """Have the guest asked to shut down, as EC2 asks an instance."""
        self._wire.send(b"shutdown\n")

    def attach(self, disk: str, *, name: str) -> None:
        """Have a new disk of dom0's, known by its serial, plugged into the guest as `name`."""
        self._wire.send(f"attach {disk} {name}\n".encode())

    def end(self, reason: EndReason, detail: str) -> tuple[EndReason, str]:
        """Return what an end of QEMU's is, that dom0 did not announce: its own failure."""
        if reason in {EndReason.GUEST_SHUTDOWN, EndReason.GUEST_RESET, EndReason.GUEST_PANIC}:
            detail = f"Xen ended without a word of its guest ({detail}): {self._heard.last}"
            reason = EndReason.APPLIANCE_FAILED
        self._settle(detail)
        return reason, detail

    def finish(self) -> None:
        """Read what is there, and close; a second time does nothing."""
        self._console.finish()

    def close(self) -> None:
        """Close; a second time does nothing."""
        self._console.close()

    def _settle(self, failure: str = "") -> None:
        if not self._start.done():
            self._start.set_result(failure)

    def _take(self, event: ConsoleBytes | ConsoleLine) -> None:
        if not isinstance(event, ConsoleLine):
            return
        self._heard.add(event.text)
        said = read_words(event.text)
        match said:
            case None:
                return
            case Said(Word.READY):
                self._settle()
                return
            case Said(Word.LOADED):
                self._on_kernel()
                return
            case Said(Word.REFUSED):
                self._settle()
            case Said(Word.FAILED):
                self._settle(said.more or "it failed")
        self._on_end(*judge_end(said, trouble=self._heard.trouble))
