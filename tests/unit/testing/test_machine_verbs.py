"""What the verbs and the suite read."""

import struct

import pytest

from imgforge.testing.machine import listening_ports
from imgforge.testing.suite.life import is_ephemeral
from imgforge.testing.wake import prepare_script, wake_program, wake_script

TABLES = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0F0200A9:0016 FE A9 01 00000000:00000000 00:00000000 00000000     0
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A
"""


def test_ports_that_listen_are_read_from_both_tables() -> None:
    assert listening_ports(TABLES) == {22, 8080}


def test_an_open_connection_does_not_listen_and_garbage_is_no_port() -> None:
    assert listening_ports("  1: 0F0200A9:0050 FEA9FEA9:0050 01 x") == set()
    assert listening_ports("a b c 0A\n: :: : 0A\n\0\0\n1: zz:zzzz 0:0 0A") == set()


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
