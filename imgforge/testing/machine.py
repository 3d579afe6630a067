"""What a test meets: a machine and the verbs a tester thinks in.

Each verb waits until it is done, within a limit in seconds, and raises ImageFailure where the
image does not do what was said, with the end of its console; ValueError for what no machine could
be asked, such as a command with a NUL in it.
"""

import asyncio
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from imgforge.testing.errand import run_kept, told_run, whole_seconds
from imgforge.testing.failure import ImageFailure
from imgforge.testing.live import LiveInstance
from imgforge.testing.loop_thread import LoopThread
from imgforge.testing.metadata_probe import Metadata
from imgforge.testing.plan import LARGEST_VOLUME_GIB, Plan, is_volume_size
from imgforge.testing.shell import CommandRun
from imgforge.testing.sockets import TABLES, listening_ports

_PAUSE_S = 0.25
_PLACES = 16
"""Those of volumes on the PCI bus of a machine, 0x10 to 0x1f."""


class Machine:
    """A machine under test, from its fixture.

    `commands` are those that ran in it, in order; `evidence` is the folder of what it showed.
    """

    def __init__(self, live: LiveInstance, loop: LoopThread) -> None:
        self._live = live
        self._loop = loop
        self.commands: list[CommandRun] = []
        self.console = Console(live, loop)
        self.metadata = Metadata(live, loop)
        self.ssh = Ssh(live, loop, self.commands)

    @property
    def plan(self) -> Plan:
        """What it was asked to be."""
        return self._live.plan

    @property
    def instance_id(self) -> str:
        """Its instance id, as its metadata service tells it."""
        return self._live.identity.instance_id

    @property
    def image_id(self) -> str:
        """The ami id that its metadata service tells."""
        return self._live.identity.image_id

    @property
    def instance_type(self) -> str:
        """Its hardware, as in "t2.micro"."""
        return self._live.plan.profile.name

    @property
    def login_user(self) -> str:
        """The user whose authorized_keys the image puts the key in."""
        return self._live.login.user

    @property
    def hostname(self) -> str:
        """The host name that its metadata service tells."""
        return self._live.identity.hostname

    @property
    def evidence(self) -> Path:
        """The folder with console.log, metadata.jsonl and whatever else it showed."""
        return self._live.place.evidence

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of this machine: why it was booted cold, say."""
        return tuple(self._live.notes)

    @property
    def boot_seconds(self) -> float | None:
        """The seconds from power-on to the first login of its last boot; None for a clone."""
        return self._live.boots[-1].seconds if self._live.boots else None

    def run(self, command: str, *, timeout_s: float = 60) -> CommandRun:
        """Run a command line as root; return its exit code and output, whatever they are.

        `timeout_s` is in whole seconds, rounded up: the machine's own agent keeps it.
        """
        return self._loop.call(self._run(command, timeout_s=timeout_s))

    def succeed(self, *commands: str, timeout_s: float = 60) -> str:
        """Run command lines that must end with 0; return what they wrote to stdout."""
        said = []
        for command in commands:
            done = self.run(command, timeout_s=timeout_s)
            if done.exit_code:
                raise ImageFailure(told_run(done, "must succeed"))
            said.append(done.stdout)
        return "".join(said)

    def fail(self, *commands: str, timeout_s: float = 60) -> str:
        """Run command lines that must not end with 0; return what they wrote, stderr too."""
        said = []
        for command in commands:
            done = self.run(command, timeout_s=timeout_s)
            if not done.exit_code:
                raise ImageFailure(told_run(done, "must fail"))
            said.append(done.output)
        return "\n".join(said)

    def wait_until_succeeds(self, command: str, *, timeout_s: float = 60) -> str:
        """Run a command line again and again until it ends with 0; return its stdout."""
        done = self._loop.call(self._until(command, _succeeded, timeout_s=timeout_s))
        return done.stdout

    def wait_until_fails(self, command: str, *, timeout_s: float = 60) -> str:
        """Run a command line again and again until it does not end with 0; return its output."""
        done = self._loop.call(self._until(command, _failed, timeout_s=timeout_s))
        return done.output

    def wait_for_unit(self, unit: str, *, timeout_s: float = 120) -> None:
        """Wait until a systemd unit is active; one that failed is not waited for.

        Raises ImageFailure at once where the machine has no systemd.
        """
        self._loop.call(self._wait_for_unit(unit, timeout_s))

    def wait_for_port(self, port: int, *, timeout_s: float = 60) -> None:
        """Wait until something in the machine listens on a TCP port."""
        self._loop.call(self._wait_for_port(port, timeout_s))

    def wait_for_file(self, path: str, *, timeout_s: float = 60) -> None:
        """Wait until a path exists in the machine."""
        self.wait_until_succeeds(f"test -e {shlex.quote(path)}", timeout_s=timeout_s)

    def wait_for_boot(self) -> None:
        """Wait until the owner is in, where the test got the machine at its power-on."""
        self._loop.call(self._live.boot())

    def reboot(self, *, timeout_s: float = 300) -> None:
        """Let the machine reboot itself, and wait until its owner is in again.

        `timeout_s` is for its going down; the boot has the limits of its recipe.
        """
        self._loop.call(self._live.reboot(limit_s=timeout_s))

    def stop(self, *, timeout_s: float = 300) -> None:
        """Stop it as EC2 does, by the power button, and wait until it is off."""
        self._loop.call(self._live.stop(limit_s=timeout_s))

    def start(self) -> None:
        """Start it again and wait for its owner's login. Instance store volumes are blank."""
        self._loop.call(self._live.start())

    def crash(self) -> None:
        """Cut its power, as when EC2's host fails; `start` boots it from what is on its disks."""
        self._loop.call(self._live.power_cut())

    def attach_volume(self, size_gib: int) -> None:
        """Attach a blank EBS volume of so many GiB, 1 to 65536, while the machine runs."""
        if not is_volume_size(size_gib):
            raise ValueError(
                f"attach_volume: a volume has 1 to {LARGEST_VOLUME_GIB} GiB, not {size_gib!r}"
            )
        if len(self._live.storage.volumes) >= _PLACES:
            raise ValueError(f"attach_volume: the machine has {_PLACES} volumes, and room for none")
        self._loop.call(self._live.attach_volume(size_gib))

    def screenshot(self, name: str = "screen") -> Path:
        """Write what the screen shows to NAME.png in the evidence folder; return its path."""
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"screenshot: {name!r} is no file name")
        path = self.evidence / f"{name}.png"
        self._loop.call(self._live.witness.machine.save_screen(path))
        return path

    async def _run(self, command: str, *, timeout_s: float) -> CommandRun:
        return await run_kept(
            command, self._live, shell=self._live.shell(), kept=self.commands, timeout_s=timeout_s
        )

    async def _until(
        self, command: str, holds: Callable[[CommandRun], bool], *, timeout_s: float
    ) -> CommandRun:
        end_s = time.monotonic() + whole_seconds(timeout_s)
        while True:
            left_s = max(1.0, end_s - time.monotonic())
            done = await self._run(command, timeout_s=left_s)
            if holds(done):
                return done
            if time.monotonic() + _PAUSE_S > end_s:
                raise ImageFailure(told_run(done, f"not within {timeout_s:g} s"))
            await asyncio.sleep(_PAUSE_S)

    async def _wait_for_unit(self, unit: str, timeout_s: float) -> None:
        if (await self._run("test -d /run/systemd/system", timeout_s=timeout_s)).exit_code:
            raise ImageFailure(
                f"Unit {unit}: the image has no systemd: its init is another, or its boot has not "
                "come so far. Ask with wait_for_port or wait_until_succeeds what the unit is for."
            )
        command = f"systemctl show -p ActiveState --value {shlex.quote(unit)}"
        done = await self._until(
            command,
            lambda done: done.stdout.strip() in {"active", "failed"},
            timeout_s=timeout_s,
        )
        if done.stdout.strip() == "failed":
            status = await self._run(
                f"systemctl status --no-pager -l {shlex.quote(unit)}", timeout_s=30
            )
            raise ImageFailure(f"Unit {unit} failed:\n{status.output}")

    async def _wait_for_port(self, port: int, timeout_s: float) -> None:
        # /proc is read, not ss: images need not have it.
        await self._until(
            TABLES,
            lambda done: port in listening_ports(done.stdout),
            timeout_s=timeout_s,
        )


class Console:
    """The machine's serial console: what it has shown since its last power-on."""

    def __init__(self, live: LiveInstance, loop: LoopThread) -> None:
        self._live = live
        self._loop = loop

    @property
    def lines(self) -> list[str]:
        """The lines, without control characters; the last may have no end yet."""
        witness = self._live.witness
        pending = [witness.pending] if witness.pending else []
        return [*self._live.earlier_lines, *(text for _, text in witness.lines), *pending]

    @property
    def text(self) -> str:
        """The lines in one text."""
        return "\n".join(self.lines)

    @property
    def size_bytes(self) -> int:
        """How many bytes the console has shown; EC2 keeps the last 64 KiB."""
        return (self._live.place.evidence / "console.raw").stat().st_size

    def wait_for(self, pattern: str, *, timeout_s: float = 60) -> str:
        """Wait for a line that matches a regular expression, shown already or not; return it."""
        return self._loop.call(self._wait_for(re.compile(pattern), timeout_s))

    async def _wait_for(self, pattern: re.Pattern[str], timeout_s: float) -> str:
        witness = self._live.witness
        for line in self._live.earlier_lines:
            if pattern.search(line):
                return line
        if not await witness.wait_until(lambda: witness.find(pattern) is not None, timeout_s):
            self._live.require_running()
            raise ImageFailure(
                f"Console: no line matches {pattern.pattern!r} within {timeout_s:g} s."
                f"{self._live.told_console()}"
            )
        return witness.find(pattern) or ""


class Ssh:
    """The machine by SSH, with the key that its metadata service serves and no other way."""

    def __init__(self, live: LiveInstance, loop: LoopThread, commands: list[CommandRun]) -> None:
        self._live = live
        self._loop = loop
        self._commands = commands

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 that leads to the machine's port 22."""
        return self._live.witness.ssh_port

    def run(self, command: str, *, user: str = "", timeout_s: float = 60) -> CommandRun:
        """Run a command line as `user`, by default the owner; return what it ended with.

        Raises ImageFailure where nobody is let in.
        """
        return self._loop.call(self._run(command, user=user, timeout_s=timeout_s))

    def succeed(self, command: str, *, user: str = "", timeout_s: float = 60) -> str:
        """Run a command line that must end with 0; return what it wrote to stdout."""
        done = self.run(command, user=user, timeout_s=timeout_s)
        if done.exit_code:
            raise ImageFailure(told_run(done, "must succeed"))
        return done.stdout

    async def _run(self, command: str, *, user: str, timeout_s: float) -> CommandRun:
        shell = self._live.ssh_shell(user=user, as_root=False)
        return await run_kept(
            command, self._live, shell=shell, kept=self._commands, timeout_s=timeout_s
        )


def _succeeded(done: CommandRun) -> bool:
    return done.exit_code == 0


def _failed(done: CommandRun) -> bool:
    return done.exit_code != 0
