"""What waits in a machine to be spoken to from outside, and which process that is."""

import re

from imgforge.testing.machine import Machine
from imgforge.testing.sockets import TABLES, Socket, waiting_sockets

_USUAL = {("tcp", 22), ("udp", 68), ("udp", 546)}  # SSH, and the clients of DHCP and DHCPv6
_OWNERS = """
for process in /proc/[0-9]*; do
    ls -l "$process/fd" 2>/dev/null | sed -n 's/.*socket:\\[\\([0-9]*\\)\\]$/\\1/p' |
    while read -r inode; do
        echo "$inode $(cat "$process/comm")"
    done
done
"""
# A question that a resolver has just asked, say, waits for its answer for a moment.
_PAUSE_S = 3


def find_unexpected(machine: Machine) -> list[str]:
    """Return the sockets that wait for others than the machine itself, each with its process.

    SSH, the clients of DHCP, and the recipe's `expect.open_ports` are expected.
    """
    found = _unexpected(machine, TABLES)
    if found:
        lasting = _unexpected(machine, f"sleep {_PAUSE_S}; {TABLES}")
        found = {inode: socket for inode, socket in found.items() if inode in lasting}
    if not found:
        return []
    lines = re.findall(r"^(\d+) (.*)$", machine.run(_OWNERS).stdout, re.MULTILINE)
    names = {int(inode): name for inode, name in lines}
    told = {
        f"{socket} ({names.get(inode) or 'no process'})": socket for inode, socket in found.items()
    }
    return sorted(told, key=lambda words: (told[words].protocol, told[words].port))


def _unexpected(machine: Machine, command: str) -> dict[int, Socket]:
    allowed = set(machine.plan.image.expect.open_ports)
    return {
        socket.inode: socket
        for socket in waiting_sockets(machine.succeed(command))
        if not socket.is_loopback
        and socket.port not in allowed
        and (socket.protocol, socket.port) not in _USUAL
    }
