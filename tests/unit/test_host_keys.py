"""SSH host keys are read off a console that says what it likes."""

import base64

import pytest

from imgforge.acceptance.host_keys import HostKeyReader, format_known_hosts

BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
END = "-----END SSH HOST KEY KEYS-----"


def _blob(*fields: bytes) -> str:
    data = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return base64.b64encode(data).decode()


ED25519 = "ssh-ed25519 " + _blob(b"ssh-ed25519", bytes(range(32)))
RSA = "ssh-rsa " + _blob(b"ssh-rsa", b"\x01\x00\x01", b"\x00" + b"m" * 384)
ECDSA = "ecdsa-sha2-nistp256 " + _blob(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"p" * 64)


def _read(*lines: str) -> tuple[str, ...]:
    reader = HostKeyReader()
    for line in lines:
        reader.read(line)
    return reader.keys


def test_reads_keys_between_their_marks() -> None:
    assert _read(BEGIN, f"{ECDSA} root@host", ED25519, RSA, END) == (ECDSA, ED25519, RSA)


def test_reads_keys_with_prefixes_and_other_lines_in_between() -> None:
    assert _read(
        f"[   12.345678] cloud-init[412]: {BEGIN}",
        f"[   12.345679] cloud-init[412]: {ED25519} root@debian",
        "[   12.4] audit: type=1400 audit(1): apparmor",
        f"ci-info: {RSA} root@debian",
        f"<14>Nov 23 05:00:00 cloud-init: {END}",
    ) == (ED25519, RSA)


def test_nothing_is_known_before_the_block_is_whole() -> None:
    assert _read(BEGIN, ED25519) == ()


def test_keys_outside_a_block_are_not_taken() -> None:
    assert _read(ED25519, BEGIN, END, ED25519) == ()


def test_a_later_block_replaces_the_earlier_and_an_empty_one_does_not() -> None:
    assert _read(BEGIN, ED25519, END, BEGIN, RSA, END, BEGIN, END) == (RSA,)


def test_tells_when_a_block_is_complete() -> None:
    reader = HostKeyReader()
    assert [reader.read(line) for line in (BEGIN, ED25519, END)] == [False, False, True]


@pytest.mark.parametrize(
    "line",
    [
        ED25519[:-8],  # cut short
        ED25519.replace("ssh-ed25519", "ssh-rsa", 1),  # says one kind and is another
        "ssh-ed25519 AAAA",
        "ssh-ed25519 " + "A" * 10_000_000,
        "ssh-dss AAAAB3NzaC1kc3M=",
        "[127.0.0.1]:22,* ssh-ed25519",
        f"@cert-authority\t* x{ED25519}",
        "ssh-ed25519 " + _blob(b"ssh-ed25519", b"short"),
        f"ssh-rsa {_blob(b'ssh-rsa', b'', b'')}",
        "",
        "\x1b[31m",
    ],
)
def test_what_is_no_whole_key_is_left_out(line: str) -> None:
    assert _read(BEGIN, line, END) == ()


def test_a_flood_of_keys_is_cut() -> None:
    keys = [f"ssh-ed25519 {_blob(b'ssh-ed25519', bytes([n] * 32))}" for n in range(100)]
    assert len(_read(BEGIN, *keys, END)) == 16


def test_known_hosts_names_only_the_loopback_port() -> None:
    text = format_known_hosts(_read(BEGIN, f"* {ED25519} evil\t* ssh-rsa", END), port=2222)
    assert text == f"[127.0.0.1]:2222 {ED25519}\n"
