"""The tables of /proc/net: what waits to be spoken to, and from where."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from imgforge.testing.sockets import Socket, listening_ports, waiting_sockets

TABLES = """\
tcp
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9207 1
   1: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 9208 1
   2: 0F0200A9:0016 FEA9FEA9:A001 01 00000000:00000000 00:00000000 00000000     0        0 9209 1
tcp6
  sl  local_address                         remote_address                        st ...
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0 0 0 0 0 7 1
   1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 0 0 0 0 0 8 1
   2: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0 9 1
udp
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
 1234: 0F0200A9:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000   100        0 10 2
 1235: 0F0200A9:A9B1 0302000A:007B 01 00000000:00000000 00:00000000 00000000   100        0 11 2
udp6
"""


def test_what_waits_is_read_from_all_four_tables() -> None:
    found = waiting_sockets(TABLES)
    assert [str(socket) for socket in found] == [
        "tcp port 22",
        "tcp port 53",
        "tcp port 8080",
        "tcp port 25",
        "tcp port 80",
        "udp port 68",
    ]
    assert [socket.inode for socket in found] == [9207, 9208, 7, 8, 9, 10]
    assert found[-1].address == IPv4Address("169.0.2.15")


def test_what_only_the_machine_itself_can_reach_is_told_apart() -> None:
    inside = [socket.port for socket in waiting_sockets(TABLES) if socket.is_loopback]
    assert inside == [53, 25, 80]  # 127.0.0.1, ::1, ::ffff:127.0.0.1
    assert not Socket("tcp", IPv6Address("::"), 1, 1).is_loopback


def test_a_tcp_port_that_listens_is_one_on_loopback_too() -> None:
    assert listening_ports(TABLES) == {22, 53, 8080, 25, 80}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp\n 1: 0F0200A9:0050 FEA9FEA9:0050 01 x",
        "a b c 0A\n: :: : 0A\n\0\0\n1: zz:zzzz 0:0 0A",
        "tcp\n0: 0000000:0016 0:0 0A 0 0 0 0 0 1\n0: 00000000:0016 0:0 0A 0 0 0 0 0 ²\n",
        "0: 00000000:0016 00000000:0000 0A 0:0 0:0 0 0 0 1",
        "tcp\n0: 00000000:0016 00000000:0000 0A 0:0",
    ],
)
def test_garbage_and_half_a_line_are_no_socket(text: str) -> None:
    assert waiting_sockets(text) == ()
