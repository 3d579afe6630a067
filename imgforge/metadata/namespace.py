"""A network of this process's own, in which 169.254.169.254 is its own and nothing else is there.

Without a program and without root: the process leaves its network by unshare(2), in a user
namespace where it has to, and then holds the rights over the new one; what it starts does not.
https://man7.org/linux/man-pages/man7/user_namespaces.7.html
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from imgforge import host
from imgforge.errors import HostError

ADDRESS_IPV4 = "169.254.169.254"
ADDRESS_IPV6 = "fd00:ec2::254"
PORT = 80

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
# <linux/sockios.h>, netdevice(7)
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP = 0x1
_ADDRESSES_IPV6 = Path("/proc/self/net/if_inet6")
_USABLE_LIMIT_S = 2.0
_USABLE_PAUSE_S = 0.002
_LIBC = ctypes.CDLL(None, use_errno=True)
_HINT = (
    "This host keeps ordinary users from making them: see kernel.unprivileged_userns_clone, "
    "user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns (sysctl), or the "
    "container's seccomp profile. `imgforge metadata serve` needs none, and clients reach it by "
    "AWS_EC2_METADATA_SERVICE_ENDPOINT."
)


def enter_network() -> tuple[socket.socket, ...]:
    """Move this process into a network of its own; return sockets bound to the service's addresses.

    The first is IPv4, the second IPv6 where the kernel has it. Call it before there is a second
    thread. The user and the files stay the same; there is no way back. Raises HostError where the
    host forbids it.
    """
    try:
        _leave()
        _bring_up()
        return _bind()
    except OSError as error:
        raise HostError(
            f"A network of its own: this host refuses a user and network namespace: "
            f"{error.strerror}.",
            hint=_HINT,
        ) from None


def _leave() -> None:
    user, group = os.getuid(), os.getgid()
    if host.is_root():
        with suppress(PermissionError):  # root of a container may need the other way, too
            return _unshare(_CLONE_NEWNET)
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny", encoding="ascii")
    (process / "uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    (process / "gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    return None


def _unshare(flags: int) -> None:
    if _LIBC.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _bring_up() -> None:
    """Bring lo up with the service's addresses, which belong to no other host of the network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(wire, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(wire, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
        for order, address in ((_SIOCSIFADDR, ADDRESS_IPV4), (_SIOCSIFNETMASK, "255.255.255.255")):
            packed = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(wire, order, packed)
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as wire:
        number = socket.if_nametoindex("lo")
        address_v6 = socket.inet_pton(socket.AF_INET6, ADDRESS_IPV6)
        fcntl.ioctl(wire, _SIOCSIFADDR, struct.pack("16sIi", address_v6, 128, number))


def _bind() -> tuple[socket.socket, ...]:
    with ExitStack() as undo:
        bound = [undo.enter_context(socket.socket(socket.AF_INET))]
        bound[0].bind((ADDRESS_IPV4, PORT))
        if _has_ipv6():
            bound.append(undo.enter_context(socket.socket(socket.AF_INET6)))
            _bind_when_usable(bound[1])
        undo.pop_all()
    return tuple(bound)


def _has_ipv6() -> bool:
    """Tell whether lo was given the IPv6 address (proc_net_if_inet6: its digits without colons)."""
    try:
        shown = _ADDRESSES_IPV6.read_text(encoding="ascii")
    except OSError:
        return False
    return socket.inet_pton(socket.AF_INET6, ADDRESS_IPV6).hex() in shown


def _bind_when_usable(wire: socket.socket) -> None:
    """Bind once the kernel's worker has let the address in: milliseconds, where it is busy."""
    ends_s = time.monotonic() + _USABLE_LIMIT_S
    while True:
        try:
            return wire.bind((ADDRESS_IPV6, PORT))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > ends_s:
                raise
        time.sleep(_USABLE_PAUSE_S)  # no event tells that it is usable
