"""A machine that a busy host starved is told from an image that hangs."""

from dataclasses import replace

import pytest

from imgforge.acceptance import (
    BootMethod,
    BootRecord,
    SeenSign,
    never_ticked,
    starvation,
    was_kept_waiting,
)
from imgforge.machine import Accelerator, AcceleratorKind

NO_TICK = "[    0.024000] ..MP-BIOS bug: 8254 timer not connected to IO-APIC"


def record(sign: str | None, *lines: str) -> BootRecord:
    seen = SeenSign(sign, "meaning", "text", 240.0, "hint", None) if sign else None
    return BootRecord(
        stages=(),
        sign=seen,
        ended=None,
        logins=(),
        commands=(),
        requests=(),
        host_keys=(),
        must_show=(),
        must_not_show=(),
        console_lines=lines,
        accelerator=Accelerator(AcceleratorKind.TCG, "max", "asked for"),
        qemu_version="7.2.22",
        boot_method=BootMethod.BIOS,
        seconds=240.0,
    )


def test_a_timer_that_never_ticked_is_the_hosts() -> None:
    starved = record("silence", "Booting", NO_TICK)
    assert never_ticked(starved)
    assert starvation(starved) == "the host was too busy for the machine's timer"


def test_a_panic_for_want_of_a_timer_is_the_hosts_however_long_it_is() -> None:
    trace = [f"[    0.032000]  frame_{number}" for number in range(30)]
    panic = "[    0.032000] Kernel panic - not syncing: IO-APIC + timer doesn't work!"
    assert never_ticked(record("kernel-panic", NO_TICK, panic, *trace))


@pytest.mark.parametrize("sign", ["silence", "silent-kernel", "boot-limit"])
def test_a_silence_without_a_processor_is_the_hosts(sign: str) -> None:
    kept_waiting = replace(record(sign, "Booting"), waited_s=121.0)
    assert was_kept_waiting(kept_waiting)
    told = "the host was busy: for 121 of 240 s the machine waited for a processor"
    assert starvation(kept_waiting) == told
    assert starvation(replace(kept_waiting, waited_s=119.0)) is None
    assert not was_kept_waiting(replace(record("kernel-panic"), waited_s=200.0))


def test_a_timer_that_ticked_after_all_is_no_excuse() -> None:
    later = [f"[    1.{number:06}] line" for number in range(20)]
    assert starvation(record("silence", NO_TICK, *later)) is None


@pytest.mark.parametrize("sign", ["soft-lockup", "hard-lockup"])
def test_a_processor_that_stood_still_may_be_the_hosts(sign: str) -> None:
    assert starvation(record(sign, "BUG: soft lockup")) is not None
    assert not never_ticked(record(sign, "BUG: soft lockup"))


def test_what_else_goes_wrong_is_the_images() -> None:
    assert starvation(record("kernel-panic", "Kernel panic")) is None
    assert starvation(record(None, NO_TICK)) is None


def test_under_kvm_a_machine_has_its_own_time() -> None:
    kvm = Accelerator(AcceleratorKind.KVM, "host", "asked for")
    assert starvation(replace(record("silence", NO_TICK), accelerator=kvm)) is None
