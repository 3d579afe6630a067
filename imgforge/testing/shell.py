"""Commands in a machine, by its channel or, for an image without our agent, by SSH."""

import shlex
from dataclasses import dataclass
from typing import Protocol

from imgforge.acceptance import Login, Visitor
from imgforge.machine import KEPT_BYTES, Channel, NoAnswerError
from imgforge.testing.failure import ImageFailure

_SSH_FAILED = 255
_TOO_MUCH = "Let it write to a file, and look at parts of that."


@dataclass(frozen=True, slots=True)
class CommandRun:
    """A command that ran in the machine: its exit code, and what it said, decoded."""

    command: str
    exit_code: int
    stdout: str
    stderr: str
    seconds: float = 0.0

    @property
    def output(self) -> str:
        """What it said, stdout first."""
        return "\n".join(text for text in (self.stdout.rstrip(), self.stderr.rstrip()) if text)


class Shell(Protocol):
    """Runs command lines as root in the machine."""

    async def run(self, command: str, *, timeout_s: float) -> CommandRun:
        """Run a command; raises ImageFailure where it does not end in time or nobody answers."""


class ChannelShell:
    """Commands by the virtio-serial channel: they need no network."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def run(self, command: str, *, timeout_s: float) -> CommandRun:
        """Run a command; raises ImageFailure where it does not end in time or nobody answers."""
        try:
            answer = await self._channel.run(command, timeout_s=timeout_s)
        except TimeoutError as error:
            raise ImageFailure(f"{command}: {error}") from None
        except NoAnswerError as error:
            raise ImageFailure(f"{command}: the machine's agent: {error}") from None
        if answer.is_cut:
            raise ImageFailure(f"{command}: it said more than {KEPT_BYTES >> 20} MiB. {_TOO_MUCH}")
        stdout, stderr = (data.decode(errors="replace") for data in (answer.stdout, answer.stderr))
        return CommandRun(command, answer.exit_code, stdout, stderr)


class SshShell:
    """Commands by SSH as a user; `as_root` by sudo where that user is not root."""

    def __init__(self, login: Login, *, port: int, as_root: bool = True, user: str = "") -> None:
        self._visitor = Visitor(login, port)
        self._user = user or login.user
        self._sudo = as_root and self._user != "root"

    async def run(self, command: str, *, timeout_s: float) -> CommandRun:
        """Run a command; raises ImageFailure where it does not end in time or nobody is let in."""
        remote = f"sudo -n sh -c {shlex.quote(command)}" if self._sudo else command
        said = await self._visitor.execute(remote, timeout_s=timeout_s, user=self._user)
        if said is None:
            raise ImageFailure(f"{command}: it did not end within {timeout_s:g} s (by SSH)")
        if said.limit_kib:
            raise ImageFailure(f"{command}: it said more than {said.limit_kib} KiB. {_TOO_MUCH}")
        if said.exit_code == _SSH_FAILED and not said.is_in:
            raise ImageFailure(f"{command}: ssh as {self._user}: {said.complaints.strip()}")
        stdout = said.stdout.decode(errors="replace")
        return CommandRun(command, said.exit_code, stdout, said.complaints)
