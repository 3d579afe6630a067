"""A session in a PV guest: dom0 logs in by SSH, and runs our agent there for as long as it lasts.

A guest of Xen's has no virtio-serial port. The session begins and ends within QEMU, so that a clone
goes on with it: it needs no key exchange, which takes seconds on TCG.
"""

import struct
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from imgforge.errors import HostError
from imgforge.machine.channel import encode_command
from imgforge.machine.subnet import subnet_of

GOODBYE = "imgforge-xen: the session is over"
"""The line with which dom0 tells that a session has ended."""
_KEY_TYPE = b"ssh-ed25519"


@dataclass(frozen=True, slots=True)
class SessionWish:
    """Who logs in, with which key file (OpenSSH's, Ed25519), and what runs there."""

    user: str
    private_key: Path
    command: str


def session_line(wish: SessionWish, *, guest: str) -> bytes:
    """Return the line by which dom0 opens a session in a guest with this address (guest/xen/init).

    Raises HostError for a key that is none, or of another kind.
    """
    subnet = subnet_of(guest)
    own = f"{subnet.dom0}/{ip_network(subnet.network).prefixlen}"
    key = "".join(f"\\0{byte:03o}" for byte in _dropbear_key(wish.private_key))
    words = (own, guest, wish.user, key, encode_command(wish.command))
    return " ".join(words).encode("ascii") + b"\n"


def _dropbear_key(path: Path) -> bytes:
    """Return a private key as dbclient reads it (dropbear's ed25519.c, its priv_key's buffer)."""
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise HostError(f"Key {path}: cannot be read: {error}.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise HostError(f"Key {path}: is none of Ed25519.")
    pair = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return b"".join(struct.pack(">I", len(part)) + part for part in (_KEY_TYPE, pair))
