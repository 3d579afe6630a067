"""The sockets of a machine on which something waits to be spoken to, from /proc/net (proc(5))."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

TABLES = "for table in tcp tcp6 udp udp6; do echo $table; cat /proc/net/$table; done 2>/dev/null"
"""The command line that prints the tables; a kernel without IPv6 lacks two of them."""
_NAMES = ("tcp", "tcp6", "udp", "udp6")
# Linux, include/net/tcp_states.h. A UDP socket that talks to one peer alone is ESTABLISHED.
_WAITING = {"tcp": "0A", "udp": "07"}
_PLACE = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})")


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket that waits: "tcp" or "udp", the address it is bound to, its port and inode."""

    protocol: str
    address: IPv4Address | IPv6Address
    port: int
    inode: int

    @property
    def is_loopback(self) -> bool:
        """Whether only the machine itself can speak to it."""
        mapped = self.address.ipv4_mapped if isinstance(self.address, IPv6Address) else None
        return (mapped or self.address).is_loopback

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port}"


def waiting_sockets(tables: str) -> tuple[Socket, ...]:
    """Return the sockets that wait, from what `TABLES` prints; what is no line of it is skipped."""
    return tuple(_read(tables))


def listening_ports(tables: str) -> set[int]:
    """Return the TCP ports that listen, from what `TABLES` prints."""
    return {socket.port for socket in waiting_sockets(tables) if socket.protocol == "tcp"}


def _read(tables: str) -> Iterator[Socket]:
    protocol = ""
    for line in tables.splitlines():
        words = line.split()
        if line in _NAMES:
            protocol = line[:3]
        elif len(words) > 9 and words[3] == _WAITING.get(protocol) and words[9].isascii():
            place = _PLACE.fullmatch(words[1])
            if place and words[9].isdigit():
                yield Socket(protocol, _address(place[1]), int(place[2], 16), int(words[9]))


def _address(shown: str) -> IPv4Address | IPv6Address:
    """Return an address as the kernel shows it: words of 32 bits, their bytes turned on x86."""
    data = b"".join(bytes.fromhex(shown[at : at + 8])[::-1] for at in range(0, len(shown), 8))
    return IPv4Address(data) if len(data) == 4 else IPv6Address(data)
