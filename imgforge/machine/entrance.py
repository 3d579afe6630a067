"""Made ready inside a machine's network namespace, before QEMU runs in it.

`unshare` starts this in a namespace of its own, in which there is nothing but a loopback
interface. It gives that 169.254.169.254, and then, with a socket's descriptor and a program as
arguments, sends a listener on port 80 of it through the socket and becomes the program. A child
stays for as long as the other end of the socket is open: for each byte that comes it sends a new
TCP socket of this namespace, since a socket stays in the namespace that it was made in, whoever
uses it. Without arguments it only tries whether all of that is allowed.

It stands alone: standard library only, and few modules, since every machine waits for it. The
module socket alone would take 20 of its 36 ms (measured): it does with what that is made of.
"""

import _socket as socket
import fcntl
import os
import struct
import sys

_ADDRESS = "169.254.169.254"
_PORT = 80
_BACKLOG = 128
# netdevice(7)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
_IFF_UP = 1


def main() -> None:
    """Make the namespace ready; then become the program, or end where there is none."""
    listener = _listen()
    if len(sys.argv) < 3:
        return
    wire = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(wire.fileno(), False)  # noqa: FBT003 (it takes no keywords)
    _send(wire, listener)
    if os.fork():
        os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (no shell is wanted)
    _hand_out(wire)


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    _raise_interface(listener, "lo")
    _set_address(listener, "lo:1")
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((_ADDRESS, _PORT))
    listener.listen(_BACKLOG)
    return listener


def _raise_interface(wire: socket.socket, name: str) -> None:
    request = struct.pack("16sh14x", name.encode(), 0)
    (flags,) = struct.unpack_from("h", fcntl.ioctl(wire, _SIOCGIFFLAGS, request), 16)
    fcntl.ioctl(wire, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags | _IFF_UP))


def _set_address(wire: socket.socket, name: str) -> None:
    for command, address in ((_SIOCSIFADDR, _ADDRESS), (_SIOCSIFNETMASK, "255.255.255.255")):
        place = struct.pack("=H2x4s8x", socket.AF_INET, socket.inet_aton(address))
        fcntl.ioctl(wire, command, struct.pack("16s16s", name.encode(), place))


def _send(wire: socket.socket, made: socket.socket) -> None:
    """Send a socket (unix(7)), and close it here."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", made.fileno()))
    wire.sendmsg([b"."], [rights])
    made.close()


def _hand_out(wire: socket.socket) -> None:
    """Send a socket for each byte, until nobody is there to ask."""
    kept = wire.fileno()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    # What QEMU inherited must end with QEMU.
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    try:
        while wire.recv(1):
            _send(wire, socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    except OSError:  # the other end is gone
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
