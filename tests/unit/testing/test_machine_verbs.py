"""What the verbs and the suite read."""

import struct

import pytest

from imgforge.testing.errand import require_command, whole_seconds
from imgforge.testing.plan import is_volume_size
from imgforge.testing.suite.life import is_ephemeral
from imgforge.testing.told import FailureKind, kind_of
from imgforge.testing.wake import prepare_script, wake_program, wake_script


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo a\0b", "a NUL in it"),
        ("x" * (96 * 1024 + 1), "98304 are the most"),
        ("é" * 60_000, "a command of 120000 bytes"),
    ],
)
def test_a_command_that_no_shell_can_be_given_is_the_tests_mistake(command: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        require_command(command)
    assert kind_of(caught.value) is FailureKind.TEST
    assert "\0" not in str(caught.value)


def test_a_command_may_hold_whatever_a_shell_reads() -> None:
    for command in ("", "echo 'é\n\t\udcff'", "x" * 96 * 1024):
        require_command(command)


def test_a_limit_is_kept_in_whole_seconds_and_never_shortened() -> None:
    assert [whole_seconds(limit_s) for limit_s in (1, 1.0, 1.2, 59.999)] == [1, 1, 2, 60]


@pytest.mark.parametrize("limit_s", [0.2, 0, -1, float("nan"), float("inf")])
def test_a_limit_that_cannot_be_kept_is_refused(limit_s: float) -> None:
    with pytest.raises(ValueError, match="1 s at least"):
        whole_seconds(limit_s)


@pytest.mark.parametrize("size", [0, -1, 65537, 1.5, True, "8", None])
def test_what_is_no_size_of_a_volume_is_none(size: object) -> None:
    assert not is_volume_size(size)


def test_a_volume_has_up_to_64_tib() -> None:
    assert is_volume_size(1)
    assert is_volume_size(65536)


def test_the_program_that_wakes_is_a_small_static_elf() -> None:
    program = wake_program()
    assert program.startswith(b"\x7fELF\x02\x01\x01")
    assert len(program) < 256


def test_a_clone_is_told_the_time_and_gets_randomness_of_its_own() -> None:
    script = wake_script(now_s=1700000000.6, entropy=bytes(range(64)))
    assert _octal(struct.pack("<qq", 1700000000, 600_000_000)) in script
    assert _octal(bytes(range(64))) in script
    assert "\n" not in script + prepare_script()


def _octal(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)


def test_entropy_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        wake_script(now_s=0, entropy=b"")


@pytest.mark.parametrize("device", ["/dev/vdb", "/dev/xvdb1", "/dev/sdb", "/dev/nvme1n1p1"])
def test_the_first_volume_of_the_instance_store_is_known_by_its_names(device: str) -> None:
    assert is_ephemeral(device)


@pytest.mark.parametrize(
    "device", ["/dev/vda1", "/dev/vdbp", "/dev/nvme1n11", "/dev/nvme0n1p1", ""]
)
def test_another_device_is_no_instance_store(device: str) -> None:
    assert not is_ephemeral(device)
