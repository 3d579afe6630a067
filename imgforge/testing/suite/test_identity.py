"""Each instance is itself: its name and id come from the metadata service."""

import pytest

from imgforge.testing.machine import Machine
from imgforge.testing.suite.life import Life, look

_INSTANCE_ID_FILES = (
    "/var/lib/cloud/data/instance-id",
    "/run/imgforge/instance-id",
    "/var/lib/imgforge/instance-id",
)


def test_hostname_is_the_metadata_services(shared_machine: Machine) -> None:
    name = shared_machine.succeed("uname -n").strip()
    wanted = shared_machine.hostname
    assert name in {wanted, wanted.partition(".")[0]}, f"it is called {name}, not {wanted}"


def test_instance_id_is_the_metadata_services(shared_machine: Machine) -> None:
    for path in _INSTANCE_ID_FILES:
        done = shared_machine.run(f"cat {path}")
        if not done.exit_code:
            found, wanted = done.stdout.strip(), shared_machine.instance_id
            assert found == wanted, f"{path} says {found}, the metadata service {wanted}"
            return
    pytest.skip(f"the image keeps its instance id in none of {', '.join(_INSTANCE_ID_FILES)}")


def test_each_instance_has_a_machine_id_of_its_own(life: Life, shared_machine: Machine) -> None:
    one, other = life.born.machine_id, look(shared_machine).machine_id
    if not one:
        pytest.skip("the image has no /etc/machine-id")
    assert one != other, "two instances have the same /etc/machine-id: the image brings it along"


def test_each_machine_draws_random_numbers_of_its_own(
    machine: Machine, shared_machine: Machine
) -> None:
    # /dev/random gives nothing before the kernel has gathered enough, as getrandom(2).
    draw = "head -c 16 /dev/random | od -An -tx1"
    one, other = (each.succeed(draw, timeout_s=10).strip() for each in (machine, shared_machine))
    assert len(one.split()) == 16
    assert one != other, f"two machines drew the same: {one}"
