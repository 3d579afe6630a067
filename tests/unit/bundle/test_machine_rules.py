"""What EC2 takes of a machine's configuration, told problem by problem."""

from dataclasses import replace

import pytest

from imgforge.bundle import MachineConfiguration, Mapping
from imgforge.bundle.machine_rules import machine_problems
from tests.bundle_material import MACHINE


def test_what_ec2_takes_has_no_problem() -> None:
    assert list(machine_problems(MACHINE)) == []


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (MachineConfiguration("sparc"), "architecture 'sparc'; allowed: i386, x86_64"),
        (replace(MACHINE, kernel_id="vmlinuz"), "kernel 'vmlinuz'"),
        (replace(MACHINE, ramdisk_id="aki-1"), "ramdisk 'aki-1'"),
        (replace(MACHINE, product_codes=("a.b",)), "product code 'a.b'"),
        (replace(MACHINE, mappings=(Mapping("ami", "/dev/../../etc"),)), "device '/dev/../../etc'"),
        (replace(MACHINE, mappings=(Mapping("floppy", "sdb"),)), "virtual device 'floppy'"),
        (replace(MACHINE, mappings=(Mapping("ami", "sdb"),) * 2), "ami is mapped twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_ec2_would_not_take_is_named(machine: MachineConfiguration, told: str) -> None:
    [problem] = machine_problems(machine)
    assert problem.startswith(told)
