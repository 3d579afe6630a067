"""One instance through its power cycles: booted, rebooted, stopped, started, ended."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from imgforge.acceptance import (
    BootMethod,
    BootRecord,
    DiskReport,
    Login,
    Verdict,
    explain,
    explain_end,
    find_sign,
    host_failure,
    judge,
    observe,
    record_unbootable,
    starvation,
    trust_host,
)
from imgforge.errors import HostError
from imgforge.identity_key import installation_signer
from imgforge.machine import (
    BootSource,
    EndReason,
    MachineSpec,
    SessionWish,
    Storage,
    Suspended,
    create_volume,
    flatten,
    start_machine,
)
from imgforge.metadata import Instance
from imgforge.pv_way import PvWish
from imgforge.report import SCREENSHOT
from imgforge.seed import seed_of, write_seed
from imgforge.start import boot_method, find_start, why_service_off
from imgforge.testing.failure import HarnessError, ImageFailure, StarvedError
from imgforge.testing.machine_files import note_boot
from imgforge.testing.plan import Image, Plan
from imgforge.testing.shell import ChannelShell, Shell, SshShell, agent_command
from imgforge.testing.wake import wake_script
from imgforge.testing.witness import Witness

_GIB = 2**30
_WAKE_LIMIT_S = 60.0
_HELLO_LIMIT_S = 2.0
_SESSION_LIMIT_S = 60.0  # a login by SSH takes 3 s on TCG, one that starves some more
_SETTLE_LIMIT_S = 5.0
_HOST_ENDS = frozenset(
    {EndReason.HOST_INTERNAL_ERROR, EndReason.QEMU_DIED, EndReason.APPLIANCE_FAILED}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance lives: its evidence, and what is thrown away with it."""

    evidence: Path
    scratch: Path


@dataclass(slots=True)
class LiveInstance:
    """An instance that can be used; made by `launch` or `fork` of origin.py, within their block.

    `witness` and `shell` are those of the current power cycle; `notes` are what a person should
    know of it (a clone whose clock could not be set, say); `earlier_lines` are the console's of the
    boot that a clone goes on from.
    """

    plan: Plan
    place: Place
    login: Login
    identity: Instance
    storage: Storage
    host_keys: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    boots: list[Verdict] = field(default_factory=list)
    has_agent: bool = False
    earlier_lines: list[str] = field(default_factory=list)
    _witness: Witness | None = None
    _cycle: AsyncExitStack | None = None

    @property
    def witness(self) -> Witness:
        """What saw the current power cycle, or the last one. Raises HarnessError before any."""
        if self._witness is None:
            raise HarnessError("The machine was never powered on.")
        return self._witness

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._cycle is not None and self.witness.ended is None

    def shell(self) -> Shell:
        """Return the way commands reach it: its agent if there is one, else SSH."""
        self.require_running()
        channel = self.witness.machine.channel
        if (self.has_agent and not channel.is_lost) or channel.is_heard:
            return ChannelShell(channel)
        return self.ssh_shell()

    def ssh_shell(self, *, user: str = "", as_root: bool = True) -> SshShell:
        """Return the way by SSH. Raises ImageFailure where no host key is known to trust."""
        self.require_running()
        if not self.host_keys:
            raise ImageFailure(
                "SSH: the console never showed the machine's host keys: nobody can log in safely."
            )
        trust_host(self.login, keys=self.host_keys, port=self.witness.ssh_port)
        port = self.witness.ssh_port
        return SshShell(self.login, port=port, user=user, as_root=as_root)

    def require_running(self) -> None:
        """Raise ImageFailure where the machine ended by itself, HarnessError where the host did."""
        if self._cycle is None:
            raise HarnessError("The machine is stopped: start it first.")
        ended = self.witness.ended
        if ended is not None and ended.reason in _HOST_ENDS:
            raise HarnessError(f"The host ended the machine: {ended.reason}: {ended.detail}")
        if ended is not None:
            raise ImageFailure(
                f"The machine ended {ended.at_s:.1f} s after power-on: {ended.reason} "
                f"({ended.detail}).{self._told_end()}"
            )

    async def settle(self) -> None:
        """Wait a moment for the end of a machine that went away under a command."""
        witness = self.witness
        if self._cycle is not None and witness.machine.channel.is_over:
            await witness.wait_until(lambda: witness.ended is not None, _SETTLE_LIMIT_S)

    def change_identity(self, change: Callable[[Instance], Instance]) -> None:
        """Let its metadata service tell what `change` makes of it, in later power cycles too."""
        self.identity = change(self.identity)
        service = None if self._witness is None else self._witness.machine.metadata
        if service is not None:
            service.instance = self.identity

    def _told_end(self) -> str:
        sign = find_sign(self.witness.lines)
        if sign is None:
            return self.told_console()
        return "\n" + explain_end(sign, [text for _, text in self.witness.lines])

    def told_console(self, lines: int = 12) -> str:
        """Return the end of the console, as it follows a failure's first line."""
        shown = [text for _, text in list(self.witness.lines)[-lines:]]
        return "".join(f"\n  | {line}" for line in [*shown, self.witness.pending] if line.strip())

    async def power_on(
        self, *, resume: Suspended | None = None, memory_file: Path | None = None
    ) -> None:
        """Start it, or let it go on; nothing is waited for."""
        self.place.evidence.mkdir(parents=True, exist_ok=True)
        spec = MachineSpec(
            disk=self.plan.image.disk.path,
            disk_format=self.plan.image.format,
            accelerator=self.plan.accelerator,
            instance=self.identity,
            folder=self.place.evidence,
            source=await asyncio.to_thread(self._source, resume=resume),
            profile=self.plan.profile,
            network=self.plan.network,
            has_channel=True,
            has_screen=True,
            memory_file=memory_file,
            resume=resume,
            faults=self.plan.faults,
            signer=await asyncio.to_thread(installation_signer),
            seed=await asyncio.to_thread(self._seed) if self.plan.is_seeded else None,
        )
        cycle = AsyncExitStack()
        machine = await cycle.enter_async_context(start_machine(spec, storage=self.storage))
        self._cycle = cycle
        self._witness = Witness(machine)

    async def power_cut(self) -> None:
        """End the current power cycle at once, as when the host is switched off."""
        if self._cycle is not None:
            cycle, self._cycle = self._cycle, None
            self.witness.leave()
            self.storage = self.witness.machine.storage
            await cycle.aclose()

    async def boot(self) -> BootRecord:
        """Watch the machine that was just powered on until its owner is in.

        Raises ImageFailure, with the verdict told, where nobody gets in and there is no agent
        either; HarnessError where the host failed.
        """
        image, witness = self.plan.image, self.witness
        expect = image.expect
        try:
            record = await observe(
                witness,
                expect=expect,
                login=self.login,
                boot_method=self._method(),
                known_host_keys=self.host_keys,
                service_off=why_service_off(self.identity, is_seeded=self.plan.is_seeded),
            )
        except HostError as error:
            raise HarnessError(str(error), hint=error.hint) from error
        if failure := host_failure(record):
            raise HarnessError(f"The host ended the machine while it booted: {failure}")
        witness.dismiss_observer()
        self.host_keys = record.host_keys or self.host_keys
        verdict = judged(record, image, pv=self.plan.pv)
        self.boots.append(verdict)
        await asyncio.to_thread(note_boot, self.place.evidence, verdict)
        channel = witness.machine.channel
        is_in = any(attempt.let_in for attempt in record.logins)
        if self.plan.is_under_xen:
            self.has_agent = is_in and await self._open_session()
        else:
            self.has_agent = await channel.heard(_HELLO_LIMIT_S if record.sign is None else 0.1)
        if starved := starvation(record):
            raise StarvedError(f"Machine: {starved}. {verdict.reason}")
        if not is_in and (not self.has_agent or witness.ended is not None):
            with suppress(HostError):  # it may have ended
                await witness.machine.save_screen(self.place.evidence / SCREENSHOT)
            raise ImageFailure(explain(verdict, record.console_lines))
        if not is_in:
            self.notes.append(verdict.reason)
        return record

    async def _open_session(self) -> bool:
        """Have dom0 run our agent in the guest; without it, commands go by SSH each."""
        command = await asyncio.to_thread(agent_command, self.login.user)
        wish = SessionWish(self.login.user, self.login.private_key, command)
        return await self.witness.machine.open_session(wish, timeout_s=_SESSION_LIMIT_S)

    async def suspend(self, state: Path, *, memory: Path | None = None) -> Suspended:
        """Stop it for good; return how to go on with it."""
        suspended = await self.witness.machine.suspend(state, memory=memory)
        await self.power_cut()
        return suspended

    async def reboot(self, *, limit_s: float) -> None:
        """Let the guest reboot itself, and wait until its owner is in again."""
        shell = self.shell()
        with suppress(ImageFailure):  # the answer may be lost with the machine
            await shell.run("(sleep 0.3; reboot) >/dev/null 2>&1 &", timeout_s=10)
        await self._require_end({EndReason.GUEST_RESET}, limit_s=limit_s, what="reboot")
        await self._begin_again()

    async def stop(self, *, limit_s: float) -> None:
        """Press the power button, as EC2 does to stop an instance, and wait for its end."""
        self.require_running()
        await self.witness.machine.power_off(limit_s)
        await self._require_end({EndReason.GUEST_SHUTDOWN}, limit_s=1, what="shut down")
        await self.power_cut()

    async def start(self) -> None:
        """Start a stopped instance, on other hardware: instance store volumes are blank again."""
        if self.is_on:
            raise HarnessError("The machine runs already.")
        await asyncio.to_thread(self._blank_instance_store)
        await self._begin_again()

    async def attach_volume(self, size_gib: int) -> None:
        """Plug in a blank volume of so many GiB."""
        self.require_running()
        number = len(self.witness.machine.storage.volumes)
        path = self.place.scratch / f"volume{number}.qcow2"
        drive = await asyncio.to_thread(create_volume, path, size_bytes=size_gib * _GIB)
        await self.witness.machine.attach_volume(drive, number=number)
        self.storage = self.witness.machine.storage

    async def wake(self) -> None:
        """Tell a machine that goes on what time it is, and give it randomness of its own."""
        script = wake_script(now_s=time.time(), entropy=secrets.token_bytes(64))
        done = await self.shell().run_brief(script, timeout_s=_WAKE_LIMIT_S)
        if done.exit_code:
            self.notes.append(
                f"the clone has no fresh randomness (exit code {done.exit_code}): {done.output}"
            )

    async def _begin_again(self) -> None:
        await self.power_cut()
        self.earlier_lines = []
        await self.power_on()
        await self.boot()

    async def _require_end(self, reasons: set[EndReason], *, limit_s: float, what: str) -> None:
        witness = self.witness
        await witness.wait_until(lambda: witness.ended is not None, limit_s)
        if witness.ended is None:
            raise ImageFailure(
                f"The machine did not {what} within {limit_s:g} s.{self.told_console()}"
            )
        if witness.ended.reason not in reasons:
            self.require_running()

    def _seed(self) -> Path:
        """Write what the instance is told to its seed, and return that."""
        path = self.place.scratch / "seed.iso"
        write_seed(seed_of(self.identity), path)
        return path

    def _source(self, *, resume: Suspended | None) -> BootSource:
        """Return how the disk is started. Raises ImageFailure for what nothing would start.

        One that goes on is not started; under Xen it has all disks that it was started with.
        """
        if resume and not self.plan.is_under_xen:
            return BootSource()
        folder = self.place.scratch / "boot"
        folder.mkdir(exist_ok=True)
        disk = self.plan.image.disk
        layers = self.storage.root.layers
        evaluated = self._method() in {BootMethod.DIRECT, BootMethod.XEN_DIRECT}
        if not resume and evaluated and (self._witness or len(layers) > 2):
            # As PV-GRUB would: what the guest has made of menu.lst and its kernels counts.
            disk = replace(disk, path=flatten(self.storage.root, folder / "disk.raw"))
        start = find_start(disk, folder, pv=self.plan.pv)
        if disk is not self.plan.image.disk:
            disk.path.unlink()
        if start.failure is not None:
            record = record_unbootable(
                start.failure.reason, accelerator=self.plan.accelerator, boot_method=start.method
            )
            verdict = judged(record, self.plan.image, pv=self.plan.pv)
            note_boot(self.place.evidence, verdict)
            raise ImageFailure(explain(verdict, ()))
        return start.source

    def _method(self) -> BootMethod:
        return boot_method(self.plan.image.disk, self.plan.pv.way)

    def _blank_instance_store(self) -> None:
        for number, size_gib in enumerate(self.plan.profile.instance_store_gib):
            path = self.storage.volumes[number].layers[0].path
            path.unlink()
            create_volume(path, size_bytes=size_gib * _GIB)


def judged(record: BootRecord, image: Image, *, pv: PvWish) -> Verdict:
    """Return the verdict on a boot, for its words: the disk is not looked at again."""
    disk = image.disk
    pv_grub = pv.pv_grub_for(disk.layout)
    verdict = judge(
        record,
        expect=image.expect,
        disk=DiskReport(sha256_before=disk.sha256, sha256_after=disk.sha256, layout=disk.layout),
        recipe_sha256=disk.recipe_sha256,
        lock_sha256=disk.lock_sha256,
        created=datetime.now(UTC),
    )
    return verdict.model_copy(update={"pv_grub": pv_grub.name if pv_grub else None})
