"""Logging in, against a real sshd on the loopback that runs as whoever runs the test."""

import asyncio
import os
import pwd
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgforge import command
from imgforge.acceptance import Login, new_login, trust_host
from imgforge.acceptance.login import Visitor
from imgforge.acceptance.record import LoginAttempt, LoginId, LoginOutcome
from imgforge.command import Streams
from imgforge.errors import MissingProgramError

USER = pwd.getpwuid(os.getuid()).pw_name


def _why_not() -> str:
    try:
        command.find_program("sshd")
    except MissingProgramError:
        return "sshd is missing: install openssh-server"
    if os.getuid() != 0:
        return ""
    try:
        pwd.getpwnam("sshd")
    except KeyError:
        return "as root, sshd needs an account named sshd"
    return "" if Path("/run/sshd").is_dir() else "as root, sshd needs the folder /run/sshd"


pytestmark = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def make_host_key(path: Path) -> str:
    command.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", path])
    return " ".join(path.with_suffix(".pub").read_text(encoding="ascii").split()[:2])


@contextmanager
def serving(
    folder: Path, *, authorized: str, settings: tuple[str, ...] = ()
) -> Iterator[tuple[int, str]]:
    """Give the port and the host key of an sshd that lets `authorized` in."""
    folder.mkdir()
    host_key = make_host_key(folder / "host_key")
    (folder / "authorized_keys").write_text(authorized + "\n", encoding="ascii")
    port = _free_port()
    lines = [
        *settings,
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {folder}/host_key",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "StrictModes no",
        "PidFile none",
    ]
    (folder / "config").write_text("\n".join(lines) + "\n", encoding="ascii")
    listens, said = threading.Event(), []

    def hear(line: str) -> None:
        said.append(line)
        if "listening on" in line:
            listens.set()

    process = command.spawn(
        "sshd", ["-D", "-e", "-f", folder / "config"], streams=Streams(on_stderr=hear)
    )
    try:
        assert listens.wait(10), said
        yield port, host_key
    finally:
        process.kill()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return new_login(tmp_path / "login keys 100%", user=USER)


def log_in(login: Login, port: int) -> LoginAttempt:
    return asyncio.run(Visitor(login, port).log_in(at_s=0))


def knock(login: Login, port: int) -> LoginAttempt:
    visitor = Visitor(login, port)
    return asyncio.run(visitor.try_other_key(LoginId.OTHER_KEY, user=USER, at_s=0))


def test_the_served_key_gets_in_and_another_does_not(tmp_path: Path, login: Login) -> None:
    with serving(tmp_path / "sshd", authorized=login.public_key) as (port, host_key):
        trust_host(login, keys=(host_key,), port=port)
        owner, other = log_in(login, port), knock(login, port)
    assert owner.outcome is LoginOutcome.LET_IN, owner.evidence
    assert owner.evidence == USER
    assert other.outcome is LoginOutcome.REFUSED, other.evidence
    assert other.methods == ("publickey",)
    assert other.evidence.endswith("Permission denied (publickey).")


def test_a_server_without_the_key_refuses_it(tmp_path: Path, login: Login) -> None:
    stranger = new_login(tmp_path / "stranger", user=USER)
    with serving(tmp_path / "sshd", authorized=stranger.public_key) as (port, host_key):
        trust_host(login, keys=(host_key,), port=port)
        assert log_in(login, port).outcome is LoginOutcome.REFUSED


def test_a_password_that_is_asked_for_is_seen(tmp_path: Path, login: Login) -> None:
    settings = ("PasswordAuthentication yes",)
    with serving(tmp_path / "sshd", authorized="", settings=settings) as (port, host_key):
        trust_host(login, keys=(host_key,), port=port)
        assert knock(login, port).methods == ("publickey", "password")


def test_a_server_that_lets_every_key_in_is_seen(tmp_path: Path, login: Login) -> None:
    other = (login.folder / "other.pub").read_text(encoding="ascii").strip()
    with serving(tmp_path / "sshd", authorized=f'command="false" {other}') as (port, host_key):
        trust_host(login, keys=(host_key,), port=port)
        assert knock(login, port).outcome is LoginOutcome.WRONG_ANSWER


def test_another_host_key_than_the_consoles_is_a_mismatch(tmp_path: Path, login: Login) -> None:
    shown = make_host_key(tmp_path / "shown")
    with serving(tmp_path / "sshd", authorized=login.public_key) as (port, _):
        trust_host(login, keys=(shown,), port=port)
        assert log_in(login, port).outcome is LoginOutcome.HOST_KEY_MISMATCH


def test_without_a_host_key_from_the_console_nobody_logs_in(tmp_path: Path, login: Login) -> None:
    with serving(tmp_path / "sshd", authorized=login.public_key) as (port, _):
        trust_host(login, keys=(), port=port)
        assert log_in(login, port).outcome is LoginOutcome.HOST_KEY_MISMATCH


def test_a_server_of_old_algorithms_only_is_told(tmp_path: Path, login: Login) -> None:
    settings = ("KexAlgorithms diffie-hellman-group14-sha1",)
    with serving(tmp_path / "sshd", authorized="", settings=settings) as (port, host_key):
        trust_host(login, keys=(host_key,), port=port)
        assert log_in(login, port).outcome is LoginOutcome.NO_AGREEMENT


def test_a_port_without_a_server_is_unreachable(login: Login) -> None:
    port = _free_port()
    trust_host(login, keys=(), port=port)
    assert log_in(login, port).outcome is LoginOutcome.UNREACHABLE


def test_a_command_of_the_recipe_runs_and_is_ended_at_its_limit(
    tmp_path: Path, login: Login
) -> None:
    with serving(tmp_path / "sshd", authorized=login.public_key) as (port, host_key):
        trust_host(login, keys=(host_key,), port=port)
        visitor = Visitor(login, port)
        done = asyncio.run(visitor.run("echo out; echo err >&2; exit 7", timeout_s=20))
        ended = asyncio.run(visitor.run("sleep 30", timeout_s=1))
    assert (done.exit_code, done.evidence) == (7, "out\nerr")
    assert (ended.exit_code, ended.evidence) == (None, "did not end within 1 s")
