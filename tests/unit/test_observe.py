"""Machines that nobody gets into: each ends soon, and says why. No process is started.

Their seconds are those of a clock that jumps over every wait: the same on any host.
"""

import asyncio
import selectors
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from imgforge.acceptance import BootMethod, BootRecord, Login, StageName, host_failure, observe
from imgforge.errors import HostError
from imgforge.machine import (
    Accelerator,
    AcceleratorKind,
    ConsoleBytes,
    ConsoleLine,
    EndReason,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
    MetadataWay,
    WayChoice,
)
from imgforge.metadata import MetadataRequest
from imgforge.recipe import ExpectPart

TCG = Accelerator(kind=AcceleratorKind.TCG, cpu_model="max", reason="asked for")


class JumpingClock(selectors.DefaultSelector):
    """Where a loop would wait for time to pass, it has passed; a second wait without end fails."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else 5)
        if not ready:
            self.now_s += timeout or 0.0
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = JumpingClock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now_s


Result = TypeVar("Result")
WAY = WayChoice(MetadataWay.GUESTFWD, "for the test")


@dataclass(frozen=True)
class Spec:
    accelerator: Accelerator = TCG


@dataclass
class ScriptedMachine:
    """Says each text after its delay in seconds, then is silent; a str is a whole line."""

    script: Sequence[tuple[float, str | MachineEvent]]
    closes: bool = False
    spec: Spec = Spec()
    ssh_port: int = 1
    qemu_version: str = "7.2.22"
    way: WayChoice = WAY
    waited_s: float = 0.0
    full: MachineEnded | None = None

    def full_disk(self) -> MachineEnded | None:
        return self.full

    @property
    def elapsed_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def events(self) -> AsyncIterator[MachineEvent]:
        for delay_s, said in self.script:
            if delay_s:
                await asyncio.sleep(delay_s)
            yield ConsoleLine(self.elapsed_s, said) if isinstance(said, str) else said
            if isinstance(said, MachineEnded):
                return
        if not self.closes:
            await asyncio.Event().wait()


def see(
    *script: tuple[float, str | MachineEvent],
    boot_limit_s: int = 20,
    silence_limit_s: int = 15,
    must_show: tuple[str, ...] = (),
    closes: bool = False,
    boot_method: BootMethod = BootMethod.BIOS,
    full: MachineEnded | None = None,
) -> BootRecord:
    expect = ExpectPart(
        boot_limit_s=boot_limit_s, silence_limit_s=silence_limit_s, console_must_show=must_show
    )

    async def run() -> BootRecord:
        return await observe(
            ScriptedMachine(script, closes=closes, full=full),
            expect=expect,
            login=Login(user="root", folder=Path("/nonexistent"), public_key="none"),
            boot_method=boot_method,
        )

    return at_once(run())


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work)


def ended(reason: EndReason) -> MachineEnded:
    return MachineEnded(1.0, reason, "SHUTDOWN")


def test_a_panic_ends_the_boot_within_two_seconds_with_what_followed_it() -> None:
    record = see(
        (0, "[    0.000000] Linux version 6.1"),
        (0.1, "[    3.1] Kernel panic - not syncing: VFS: Unable to mount root fs on x"),
        (0.05, "[    3.2] CPU: 0 PID: 1 Comm: swapper/0"),
    )
    assert record.sign is not None
    assert record.sign.id == "panic-no-root"
    assert record.console_lines[-1].endswith("swapper/0")
    assert record.seconds < record.sign.at_s + 2


def test_a_grub_prompt_ends_the_boot_within_two_seconds() -> None:
    record = see((0, "GNU GRUB  version 0.97"), (0, ConsoleBytes(0.0, "grub> ")))
    assert record.sign is not None
    assert record.sign.id == "grub-prompt"
    assert record.seconds < 2
    assert record.console_lines[-1] == "grub> "


def test_a_grub_error_without_anything_after_it_ends_the_boot_within_two_seconds() -> None:
    record = see((0, "GRUB Loading stage1.5."), (0, ConsoleBytes(0.0, "Error 17")))
    assert record.sign is not None
    assert record.sign.id == "grub-error"
    assert 1.4 < record.seconds < 2


def test_a_grub_error_with_a_fallback_that_boots_does_not_end_it() -> None:
    record = see(
        (0, "  Booting 'new'"),
        (0, "Error 15: File not found"),
        (0.2, "  Booting 'old'"),
        (2.0, "[    0.000000] Linux version 6.1"),
        (0.1, ended(EndReason.GUEST_SHUTDOWN)),
    )
    assert record.sign is not None
    assert record.sign.id == "guest-shutdown"


def test_silence_ends_the_boot() -> None:
    record = see((0, "systemd[1]: hello"), silence_limit_s=1)
    assert record.sign is not None
    assert record.sign.id == "silence"
    assert record.sign.text == "systemd[1]: hello"
    assert "SSH host keys" in record.sign.hint
    assert record.seconds == pytest.approx(1, abs=0.02)


def test_a_machine_that_never_says_a_thing_is_told_so() -> None:
    record = see(silence_limit_s=1)
    assert record.sign is not None
    assert record.sign.text == "nothing at all on the console"
    assert not any(stage.reached for stage in record.stages)


def test_a_machine_that_talks_on_is_ended_by_the_boot_limit() -> None:
    record = see(*[(0.1, f"still here {n}") for n in range(40)], boot_limit_s=1, silence_limit_s=1)
    assert record.sign is not None
    assert record.sign.id == "boot-limit"
    assert record.seconds == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "reason", [EndReason.GUEST_RESET, EndReason.GUEST_SHUTDOWN, EndReason.GUEST_PANIC]
)
def test_a_machine_that_ends_by_itself_is_told_by_its_reason(reason: EndReason) -> None:
    record = see((0, "imgforge-init: hello"), (0.1, ended(reason)))
    assert record.sign is not None
    assert record.sign.id == reason.value
    assert record.ended is not None


def test_a_reset_before_the_kernel_said_anything_is_told_by_its_stage() -> None:
    loaded = "   [Linux-bzImage, setup=0x4e00, size=0xd827c0]"
    record = see((0, loaded), (0.1, ended(EndReason.GUEST_RESET)))
    assert record.sign is not None
    assert (record.sign.id, record.sign.stage) == ("silent-reset", StageName.KERNEL)


@pytest.mark.parametrize(
    "method", [method for method in BootMethod if method is not BootMethod.XEN_GRUB]
)
def test_a_kernel_that_was_loaded_and_says_nothing_is_told(method: BootMethod) -> None:
    line = "   [Linux-bzImage, setup=0x4e00, size=0xd827c0]"
    loaded = ((0, line),) if method is BootMethod.BIOS else ()
    record = see(*loaded, silence_limit_s=1, boot_method=method)
    assert record.sign is not None
    assert (record.sign.id, record.sign.stage) == ("silent-kernel", StageName.KERNEL)


def test_a_cause_on_the_console_names_the_silence_that_follows_it() -> None:
    record = see(
        (0, "systemd[1]: hello"),
        (0, "[FAILED] Failed to start networking.service - Raise network interfaces."),
        silence_limit_s=1,
    )
    assert record.sign is not None
    assert record.sign.id == "network-service-failed"
    assert record.sign.meaning.endswith("then nothing was heard for 1 s")
    assert record.seconds - record.sign.at_s < 2


def test_a_cause_on_the_console_does_not_name_what_the_host_did() -> None:
    record = see(
        (0, "rm: /x: Read-only file system"), (0.1, ended(EndReason.QEMU_DIED)), silence_limit_s=1
    )
    assert record.sign is not None
    assert record.sign.id == "qemu-died"


def test_what_a_guest_makes_of_a_host_without_space_is_the_hosts_failure() -> None:
    full = MachineEnded(4.0, EndReason.HOST_DISK_FULL, "no space is left in /x: 0 bytes")
    error = "EXT4-fs error (device nvme0n1): ext4_check_bdev_write_error:217: comm x: Error"
    record = see((0, error), silence_limit_s=1, full=full)
    assert record.sign is not None
    assert host_failure(record) == "host-disk-full after 4.0 s: no space is left in /x: 0 bytes"


def test_a_panic_before_a_reset_is_what_is_told() -> None:
    record = see(
        (0, "[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"),
        (0, ended(EndReason.GUEST_RESET)),
    )
    assert record.sign is not None
    assert record.sign.id == "panic-init-killed"


def test_events_that_stop_without_an_end_are_the_harness_failure() -> None:
    with pytest.raises(HostError, match="without telling"):
        see((0, "hello"), closes=True)


def test_requests_and_their_stages_are_kept() -> None:
    request = MetadataRequest(0.1, "GET", "/latest/meta-data/", "latest", False, 200, "curl")
    record = see((0, MetadataAsked(0.1, request)), (0.1, ended(EndReason.GUEST_RESET)))
    assert record.requests == (request,)
    reached = [stage.name for stage in record.stages if stage.reached]
    assert reached[-1] is StageName.METADATA


def test_what_must_show_is_kept_though_the_console_floods_on() -> None:
    record = see(
        (0, "the word is sesame"),
        *[(0, f"line {n}") for n in range(5000)],
        (0, ended(EndReason.GUEST_SHUTDOWN)),
        must_show=("ses.me", "never"),
    )
    assert [seen.line for seen in record.must_show] == ["the word is sesame", None]
    assert len(record.console_lines) <= 401


def test_a_flood_does_not_put_off_the_limit() -> None:
    class Flood(ScriptedMachine):
        async def events(self) -> AsyncIterator[MachineEvent]:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, JumpingLoop)
            while True:
                loop.clock.now_s += 0.0001
                yield ConsoleLine(self.elapsed_s, "flood " * 20)

    async def run() -> BootRecord:
        return await observe(
            Flood(()),
            expect=ExpectPart(boot_limit_s=1),
            login=Login(user="root", folder=Path("/nonexistent"), public_key="none"),
            boot_method=BootMethod.BIOS,
        )

    record = at_once(run())
    assert record.sign is not None
    assert record.sign.id == "boot-limit"
    assert record.seconds < 1.5


def test_a_cancelled_observation_ends_at_once() -> None:
    async def run() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await observe(
                    ScriptedMachine(((0, "hello"),)),
                    expect=ExpectPart(),
                    login=Login(user="root", folder=Path("/nonexistent"), public_key="none"),
                    boot_method=BootMethod.DIRECT,
                )
        return asyncio.get_running_loop().time()

    assert at_once(run()) == pytest.approx(0.2)
