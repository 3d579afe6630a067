"""A machine's serial console: always drained, kept whole, and told as it comes."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from imgforge.errors import HostError
from imgforge.machine.console_text import ConsoleText
from imgforge.machine.event import ConsoleBytes, ConsoleLine

RAW_LIMIT_BYTES = 256 * 1024 * 1024
_READ_BYTES = 256 * 1024
_PENDING_EVERY_S = 0.1


class Console:
    """Reads a console socket from the event loop until closed.

    Every byte is in console.raw, and every line that it ended in console.log, before anybody is
    told of it. Both files stop growing once console.raw has 256 MiB, and console.log's last line
    says so; the console is read on all the same. One that `goes_on` adds to the files. `base` is
    their path without a suffix, so that a machine may have several.
    """

    def __init__(
        self,
        wire: socket.socket,
        *,
        base: Path,
        clock: Callable[[], float],
        tell: Callable[[ConsoleBytes | ConsoleLine], None],
        fail: Callable[[HostError], None],
        goes_on: bool = False,
    ) -> None:
        self._wire = wire
        self._folder = base.parent
        self._clock = clock
        self._tell = tell
        self._fail = fail
        self._text = ConsoleText()
        mode = "a" if goes_on else "w"
        self._raw: IO[bytes] = base.with_suffix(".raw").open(f"{mode}b", buffering=0)
        self._log = base.with_suffix(".log").open(mode, encoding="utf-8", errors="replace")
        self._raw_bytes = self._raw.tell()
        self._told_pending = ""
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        wire.settimeout(0)
        self._loop.add_reader(wire.fileno(), self._read)

    def finish(self) -> None:
        """Read what is there, tell the last line, and close; a second time does nothing."""
        if self._raw.closed:
            return
        while self._read():
            pass
        try:
            self._lines(self._text.finish())
        except OSError as error:
            self._fail(self._cannot_be_written(error))
        self.close()

    def close(self) -> None:
        """Stop reading and close the files; a second time does nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._raw.closed:
            self._loop.remove_reader(self._wire.fileno())
        self._wire.close()
        for file in (self._raw, self._log):
            with suppress(OSError):  # what a full disk keeps in a buffer was told already
                file.close()

    def _read(self) -> bool:
        """Take one piece; tell whether there was one."""
        try:
            data = self._wire.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._wire.fileno())
            return False
        try:
            self._keep(data)
            self._lines(self._text.feed(data))
        except OSError as error:
            self._loop.remove_reader(self._wire.fileno())
            self._fail(self._cannot_be_written(error))
            return False
        if self._timer is None and self._text.pending:
            self._timer = self._loop.call_later(_PENDING_EVERY_S, self._tell_pending)
        return True

    def _cannot_be_written(self, error: OSError) -> HostError:
        return HostError(f"Console log in {self._folder}: cannot be written: {error.strerror}.")

    def _keep(self, data: bytes) -> None:
        if self._raw_bytes > RAW_LIMIT_BYTES:
            return
        self._raw_bytes += len(data)
        while data:
            data = data[self._raw.write(data) :]
        if self._raw_bytes > RAW_LIMIT_BYTES:
            self._log.write(
                f"[{self._clock():9.3f}] [imgforge: the console passed {RAW_LIMIT_BYTES >> 20} "
                "MiB; the rest is read but not kept]\n"
            )
            self._log.flush()

    def _lines(self, lines: list[str]) -> None:
        if not lines:
            return
        at_s = self._clock()
        if self._raw_bytes <= RAW_LIMIT_BYTES:
            self._log.write("".join(f"[{at_s:9.3f}] {line}\n" for line in lines))
            self._log.flush()
        for line in lines:
            self._tell(ConsoleLine(at_s, line))
        self._told_pending = ""

    def _tell_pending(self) -> None:
        self._timer = None
        pending = self._text.pending
        if pending and pending != self._told_pending:
            self._told_pending = pending
            self._tell(ConsoleBytes(self._clock(), pending))
