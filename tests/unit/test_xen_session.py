"""The line by which dom0 opens a session in its guest."""

import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from imgforge.errors import HostError
from imgforge.machine import SessionWish
from imgforge.machine.xen.session import session_line
from imgforge.testing.shell import agent_command

_OPENSSH = (Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def wish(folder: Path, command: str = "exec true", *, user: str = "debian") -> SessionWish:
    path = folder / "owner"
    path.write_bytes(Ed25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(*_OPENSSH))
    return SessionWish(user, path, command)


def test_it_names_addresses_user_key_and_command(tmp_path: Path) -> None:
    line = session_line(wish(tmp_path, "echo 'a b'\n\\n"), guest="172.31.16.15")
    own, guest, user, key, command = line.decode("ascii").removesuffix("\n").split(" ", 4)
    assert (own, guest, user) == ("172.31.0.3/5", "172.31.16.15", "debian")
    assert command == "echo 'a b'\\0012\\\\n"
    data = bytes(int(digits, 8) for digits in key.split("\\0")[1:])
    public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    assert (
        data == struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 64) + bytes(32) + public
    )


def test_a_guest_that_is_let_out_has_dom0_in_its_own_network(tmp_path: Path) -> None:
    assert session_line(wish(tmp_path), guest="169.0.2.15").startswith(b"169.254.169.252/8 ")


def test_a_key_that_is_none_or_another_kind_s_is_refused(tmp_path: Path) -> None:
    none = tmp_path / "none"
    none.write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----\n")
    other = tmp_path / "other"
    other.write_bytes(generate_private_key(SECP256R1()).private_bytes(*_OPENSSH))
    for path in (none, other, tmp_path / "gone"):
        with pytest.raises(HostError, match=path.name):
            session_line(SessionWish("root", path, "true"), guest="172.31.16.15")


@pytest.mark.parametrize("user", ["root", "debian"])
def test_the_agent_s_command_line_is_one_that_dropbear_takes(tmp_path: Path, user: str) -> None:
    command = agent_command(user)
    assert len(command) < 9000
    assert command.startswith("exec sudo -n sh -c " if user != "root" else "exec sh -c ")
    assert session_line(wish(tmp_path, command, user=user), guest="172.31.16.15").count(b"\n") == 1
