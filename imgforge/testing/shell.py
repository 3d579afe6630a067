"""Commands in a machine, by its channel or, for an image without our agent, by SSH."""

import shlex
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imgforge.acceptance import Login, Visitor
from imgforge.machine import KEPT_BYTES, Answer, Channel, NoAnswerError
from imgforge.testing.failure import ImageFailure

_SSH_FAILED = 255
_AGENT = Path(__file__).parents[2] / "guest/overlays/agent/usr/lib/imgforge/agent"
_AGENT_ROOM = "/run/imgforge/agent"
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

    async def run_brief(self, command: str, *, timeout_s: float) -> CommandRun:
        """Run a command of ours that surely ends, as cheaply as it goes; raises as `run` does."""


class ChannelShell:
    """Commands by the virtio-serial channel: they need no network."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def run(self, command: str, *, timeout_s: float) -> CommandRun:
        """Run a command; raises ImageFailure where it does not end in time or nobody answers."""
        return await self._told(command, self._channel.run(command, timeout_s=timeout_s))

    async def run_brief(self, command: str, *, timeout_s: float) -> CommandRun:
        """Run a command of ours that surely ends, by the agent's shell; raises as `run` does."""
        return await self._told(command, self._channel.run_brief(command, timeout_s=timeout_s))

    async def _told(self, command: str, answering: Awaitable[Answer]) -> CommandRun:
        try:
            answer = await answering
        except TimeoutError as error:
            raise ImageFailure(f"{command}: {error}") from None
        except NoAnswerError as error:
            raise ImageFailure(f"{command}: the machine's agent: {error}") from None
        if answer.is_cut:
            raise ImageFailure(f"{command}: it said more than {KEPT_BYTES >> 20} MiB. {_TOO_MUCH}")
        stdout, stderr = (data.decode(errors="replace") for data in (answer.stdout, answer.stderr))
        return CommandRun(command, answer.exit_code, stdout, stderr)


def agent_command(user: str) -> str:
    """Return the command line that runs our agent as root on stdin and stdout, for `user` to run.

    The image need not have it: what runs is a checkout's own.
    """
    lines = _AGENT.read_text(encoding="utf-8").splitlines()
    # dropbear takes command lines of up to 9000 bytes (sysoptions.h, MAX_CMD_LEN).
    script = "\n".join(line.strip() for line in lines if not line.lstrip().startswith("#"))
    command = f"exec sh -c {shlex.quote(script)} agent - {_AGENT_ROOM}"
    return command if user == "root" else f"exec sudo -n {command.removeprefix('exec ')}"


class SshShell:
    """Commands by SSH as a user; `as_root` by sudo where that user is not root."""

    def __init__(self, login: Login, *, port: int, as_root: bool = True, user: str = "") -> None:
        self._visitor = Visitor(login, port)
        self._user = user or login.user
        self._sudo = as_root and self._user != "root"

    async def run_brief(self, command: str, *, timeout_s: float) -> CommandRun:
        """Run a command of ours that surely ends; by SSH there is no cheaper way than `run`."""
        return await self.run(command, timeout_s=timeout_s)

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
