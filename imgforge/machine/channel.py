"""Commands to a machine over its virtio-serial port, answered by the agent of our guests.

It needs no network of the guest: one that is broken is then a finding, not silence. The protocol
is in the guest's own script, guest/overlays/agent/usr/lib/imgforge/agent.
"""

import asyncio
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass

from imgforge.errors import BadInputError

COMMAND_LIMIT_BYTES = 96 * 1024
KEPT_BYTES = 8 * 1024 * 1024
_READ_BYTES = 256 * 1024
_STATUS_BYTES = 12
_TIMEOUT_CODES = frozenset({124, 137, 143})  # coreutils' timeout, its -k, busybox's
_GRACE_S = 10.0
_NO_LIMIT_S = 0
_HELLO = b"imgforge-agent 2\n"
_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("\\")}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command ended with, its output, and whether more was said than is kept."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    is_cut: bool = False


class NoAnswerError(Exception):
    """The agent did not answer in time, or the machine ended before it did."""


class AnswerReader:
    """Finds the answer to one command in what the agent says; what is said before it is ignored.

    Each part is kept up to `kept_bytes`; more is read and dropped.
    """

    def __init__(self, nonce: str, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._marks = [f"{nonce} out\n".encode(), f"\n{nonce} err\n".encode()]
        self._last = f"\n{nonce} ".encode()
        self._kept_bytes = kept_bytes
        self._parts = [bytearray(), bytearray(), bytearray()]
        self._number = 0
        self._buffer = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> Answer | None:
        """Take a piece of what the agent said; return the answer once it is whole."""
        self._buffer += data
        while self._number < len(self._marks) and self._pass(self._marks[self._number]):
            self._number += 1
        if self._number == len(self._marks) and self._pass(self._last, keep=True):
            return self._ending()
        return None

    def _pass(self, mark: bytes, *, keep: bool = False) -> bool:
        """Move what stands before `mark` to the current part; tell whether the mark was there."""
        at = self._buffer.find(mark)
        # Without the mark, its beginning may be at the end of what came so far.
        until = at if at >= 0 else max(0, len(self._buffer) - len(mark) + 1)
        if self._number:  # before the first mark is nothing of ours
            part = self._parts[self._number]
            room = self._kept_bytes - len(part)
            part += self._buffer[: min(until, room)]
            self._is_cut |= until > room
        del self._buffer[: until if at < 0 or keep else at + len(mark)]
        return at >= 0

    def _ending(self) -> Answer | None:
        status, end, _ = self._buffer[len(self._last) :].partition(b"\n")
        if not end and len(status) < _STATUS_BYTES:
            return None
        code = int(status) if status.isdigit() and len(status) < _STATUS_BYTES else 255
        return Answer(code, bytes(self._parts[1]), bytes(self._parts[2]), self._is_cut)


class Channel:
    """The host's end of a machine's command channel; one command at a time.

    An agent says hello once: in a machine that goes on from a frozen one it did so before. Where it
    runs in a session, `goodbye` is the line that tells of the session's end.
    """

    def __init__(self, wire: socket.socket, *, goodbye: str = "") -> None:
        self._wire = wire
        self._wire.setblocking(False)  # noqa: FBT003  (it takes no keywords)
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()
        self._turn = asyncio.Lock()
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._said = b""
        self._goodbye = f"\n{goodbye}\n".encode("ascii") if goodbye else b""
        self._is_lost = False
        self._is_over = False
        self._loop.add_reader(wire.fileno(), self._read)

    @property
    def is_heard(self) -> bool:
        """Whether the agent said hello on this wire, and has not gone since."""
        return self._heard.is_set() and not self._is_lost

    @property
    def is_lost(self) -> bool:
        """Whether the session in which the agent ran is over, or never came to be."""
        return self._is_lost

    @property
    def is_over(self) -> bool:
        """Whether the machine has gone, or the channel was closed."""
        return self._is_over

    async def heard(self, timeout_s: float) -> bool:
        """Wait until the agent is heard of; tell whether it was within `timeout_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), timeout_s)
        return self.is_heard

    async def open_session(self, line: bytes, *, timeout_s: float) -> bool:
        """Ask the other end for a session, by `line`; tell whether its agent was heard of."""
        with suppress(OSError):
            await self._loop.sock_sendall(self._wire, line)
            await self.heard(timeout_s)
        self._is_lost |= not self.is_heard
        return self.is_heard

    def close(self) -> None:
        """Let go of the channel; a second time does nothing."""
        if self._wire.fileno() >= 0:
            self._loop.remove_reader(self._wire.fileno())
            self._wire.close()
        self._end()

    async def run(self, command: str, *, timeout_s: float) -> Answer:
        """Run a shell command line as root in the machine; return what it ended with.

        The agent ends a command after `timeout_s` (whole seconds): that raises TimeoutError, as
        it would of a function. NoAnswerError where the agent itself does not answer a little
        later; BadInputError for a command of more than 96 KiB, or with a NUL in it.
        """
        limit_s = max(1, round(timeout_s))
        async with self._turn:
            started_s = self._loop.time()
            answer = await self._ask(command, limit_s=limit_s, timeout_s=limit_s + _GRACE_S)
        if answer.exit_code in _TIMEOUT_CODES and self._loop.time() - started_s >= limit_s:
            raise TimeoutError(f"it did not end within {limit_s} s")
        return answer

    async def run_brief(self, command: str, *, timeout_s: float) -> Answer:
        """Run a shell command line that surely ends, by the agent's own shell: faster.

        Raises NoAnswerError where no answer came within `timeout_s`, and as `run` does.
        """
        async with self._turn:
            return await self._ask(command, limit_s=_NO_LIMIT_S, timeout_s=timeout_s)

    async def _ask(self, command: str, *, limit_s: int, timeout_s: float) -> Answer:
        nonce = secrets.token_hex(16)
        reader = AnswerReader(nonce)
        line = f"{nonce} {limit_s} {encode_command(command)}\n"
        if self._is_over:
            raise NoAnswerError("the machine ended")
        self._answer = self._loop.create_future()
        self._reader = reader
        try:
            async with asyncio.timeout(timeout_s):
                await self._loop.sock_sendall(self._wire, line.encode("ascii"))
                return await self._answer
        except TimeoutError:
            raise NoAnswerError(f"no answer within {timeout_s:g} s") from None
        except OSError:
            raise NoAnswerError("the machine ended") from None
        finally:
            self._reader = None

    def _read(self) -> None:
        try:
            data = self._wire.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._wire.fileno())
            self._end()
            return
        if not self.is_heard or self._goodbye:
            self._listen(data)
        answer = self._reader.feed(data) if self._reader is not None else None
        if answer is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _listen(self, data: bytes) -> None:
        """Look for the lines with which an agent comes and its session goes."""
        self._said = (self._said + data)[-_READ_BYTES:]
        if _HELLO in self._said:
            self._heard.set()
        if self._goodbye and self._goodbye in self._said:
            self._is_lost = True
            self._heard.set()  # nobody need wait any longer
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(NoAnswerError("its session by SSH ended"))

    def _end(self) -> None:
        self._is_over = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswerError("the machine ended"))


def encode_command(command: str) -> str:
    """Return a command line as the shell's `printf %b` reads it back (POSIX, printf).

    Raises BadInputError for what cannot be one argument of a program.
    """
    data = command.encode("utf-8", "surrogateescape")
    if len(data) > COMMAND_LIMIT_BYTES:
        raise BadInputError(
            f"A command of {len(data)} bytes: at most {COMMAND_LIMIT_BYTES} fit the channel.",
            hint="Copy a script into the machine, and run that.",
        )
    if 0 in data:
        raise BadInputError("A command with a NUL in it: no program can be given that.")
    return "".join(
        chr(byte) if byte in _PLAIN else "\\\\" if byte == ord("\\") else f"\\0{byte:03o}"
        for byte in data
    )
