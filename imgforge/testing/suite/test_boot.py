"""It boots as it should: in time, quietly, with all its services and the right time."""

import pytest

from imgforge.testing.machine import Machine
from imgforge.testing.suite.life import Life

_CONSOLE_BYTES = 64 * 1024
"""What EC2 keeps of a console (GetConsoleOutput)."""
_CLOCK_S = 10.0


def test_boots_within_its_limit(life: Life) -> None:
    limit_s = life.machine.plan.image.expect.boot_limit_s
    seconds = life.rebooted.boot_seconds
    assert seconds is not None
    assert seconds <= limit_s, f"the owner was in after {seconds:.1f} s, the limit is {limit_s} s"


def test_console_fits_what_ec2_keeps(shared_machine: Machine) -> None:
    size = shared_machine.console.size_bytes
    assert size <= _CONSOLE_BYTES, f"the first boot showed {size} bytes: EC2 would lose its start"


def test_no_unit_has_failed(shared_machine: Machine) -> None:
    if shared_machine.run("test -d /run/systemd/system").exit_code:
        pytest.skip("the image has no systemd")
    failed = shared_machine.succeed("systemctl --failed --no-legend --plain")
    names = [line.split()[0] for line in failed.splitlines() if line.strip()]
    assert not names, f"failed units: {', '.join(names)}\n{failed}"


def test_clock_is_right_after_a_boot(life: Life) -> None:
    off_s = life.rebooted.clock_off_s
    assert off_s <= _CLOCK_S, f"the clock is {off_s:.0f} s off the host's"
