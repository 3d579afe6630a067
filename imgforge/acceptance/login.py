"""Logging in by SSH the way the image's owner would, and trying the ways that must stay shut.

Nothing of the user's own is used: no configuration, no agent, no known hosts (ssh_config(5)).
"""

import asyncio
import re
import shlex
import shutil
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imgforge import command
from imgforge.acceptance.host_keys import format_known_hosts
from imgforge.acceptance.record import CommandResult, LoginAttempt, LoginId, LoginOutcome
from imgforge.command import Completed, Setting, Streams
from imgforge.errors import HostError

_SSH_FAILED = 255
_ANSWER_LIMIT_KIB = 64
_COMMAND_LIMIT_KIB = 1024
_EVIDENCE_LINES = 8
_EVIDENCE_CHARACTERS = 2000
_OPTIONS = (
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "ControlPath=none",
)
_BATCH = ("-T", "-o", "BatchMode=yes", "-o", "LogLevel=VERBOSE", "-o", "ConnectTimeout=20")
_AUTHENTICATED = "Authenticated to 127.0.0.1 ("
_STATISTICS = (_AUTHENTICATED, "Transferred: sent ", "Bytes per second: ")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DENIED = re.compile(r"Permission denied \(([^)]*)\)")


class _Key(StrEnum):
    OWNER = "owner"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in, and with what: keys made for one boot.

    `folder` (0700) holds `owner`, the private key whose `public_key` line (authorized_keys(5)) the
    metadata service serves, `other`, a key nobody was told of, and `known_hosts`.
    """

    user: str
    folder: Path
    public_key: str

    @property
    def private_key(self) -> Path:
        """The file of the owner's private key."""
        return self.folder / _Key.OWNER

    @property
    def known_hosts(self) -> Path:
        """The file that `trust_host` writes."""
        return self.folder / "known_hosts"


def new_login(folder: Path, *, user: str) -> Login:
    """Make two fresh key pairs (ed25519) in `folder`, which must be empty or not there.

    Raises CommandError and MissingProgramError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in _Key:
        arguments: list[str | Path] = ["-q", "-t", "ed25519", "-N", "", "-C", "imgforge"]
        command.run("ssh-keygen", [*arguments, "-f", folder / name], timeout_s=30)
    public_key = (folder / f"{_Key.OWNER}.pub").read_text(encoding="ascii").strip()
    return Login(user=user, folder=folder, public_key=public_key)


def discard_login(login: Login) -> None:
    """Remove the keys of `login`."""
    shutil.rmtree(login.folder, ignore_errors=True)


def trust_host(login: Login, *, keys: tuple[str, ...], port: int) -> None:
    """Let `login` know the host keys that the console showed; only these are accepted."""
    aside = login.folder / "known_hosts.new"
    aside.write_text(format_known_hosts(keys, port=port), encoding="ascii")
    aside.replace(login.known_hosts)


def ssh_arguments(login: Login, *, port: int, user: str = "") -> list[str]:
    """Return ssh's arguments that lead to the machine with the owner's key, and no other way.

    `user` is by default that of `login`. A remote command may follow.
    """
    return _arguments(login, port=port, user=user or login.user, key=_Key.OWNER)


def ssh_line(login: Login, *, port: int) -> str:
    """Return the shell line that gets a person in."""
    return shlex.join(["ssh", *ssh_arguments(login, port=port)])


def _arguments(login: Login, *, port: int, user: str, key: _Key) -> list[str]:
    settings = [text for option in _OPTIONS for text in ("-o", option)]
    # Not -i: it looks for the file before it reads %% as %.
    files = [
        *("-o", f'IdentityFile="{_escape(login.folder / key)}"'),
        *("-o", f'UserKnownHostsFile="{_escape(login.known_hosts)}"'),
    ]
    return ["-F", "/dev/null", "-p", str(port), *files, *settings, f"{user}@127.0.0.1"]


def _escape(path: Path) -> str:
    return str(path).replace("%", "%%")  # ssh_config(5), TOKENS


@dataclass(frozen=True, slots=True)
class Visitor:
    """Runs ssh for one machine; `port` is on the loopback.

    Each method is cancellable: the ssh it runs has then ended.
    """

    login: Login
    port: int

    async def log_in(self, *, at_s: float) -> LoginAttempt:
        """Try to log in with the owner's key; in is who runs `id -un` and is told that user."""
        user = self.login.user
        done = await self._ssh(user, _Key.OWNER, remote="id -un", timeout_s=60)
        return _attempt(LoginId.OWNER, user=user, done=done, at_s=at_s)

    async def try_other_key(self, id: LoginId, *, user: str, at_s: float) -> LoginAttempt:  # noqa: A002
        """Try to log in as `user` with a key nobody was told of, and learn what is offered.

        The server's refusal names the authentications that can continue (RFC 4252, section 5.1):
        one connection tells both whether the key is refused and whether a password is asked for.
        An unreachable server is tried three times.
        """
        for _ in range(3):
            done = await self._ssh(user, _Key.OTHER, remote="id -un", timeout_s=60)
            attempt = _attempt(id, user=user, done=done, at_s=at_s)
            if attempt.outcome is not LoginOutcome.UNREACHABLE:
                break
            await asyncio.sleep(1)
        return attempt

    async def run(self, remote: str, *, timeout_s: float) -> CommandResult:
        """Run a command line of the recipe on the machine, as the user who logs in."""
        done = await self.execute(remote, timeout_s=timeout_s)
        if done is None:
            return CommandResult(remote, None, f"did not end within {timeout_s:g} s")
        failed = done.limit_kib or done.exit_code < 0 or done.exit_code == _SSH_FAILED
        return CommandResult(remote, None if failed else done.exit_code, _evidence(done))

    async def execute(self, remote: str, *, timeout_s: float, user: str = "") -> "Said | None":
        """Run a command line as `user` (that of the login) and return what it said, up to 1 MiB.

        None where it did not end within `timeout_s`.
        """
        return await self._ssh(
            user or self.login.user,
            _Key.OWNER,
            remote=remote,
            timeout_s=timeout_s,
            limit_kib=_COMMAND_LIMIT_KIB,
        )

    async def _ssh(
        self,
        user: str,
        key: _Key,
        *,
        remote: str,
        timeout_s: float,
        limit_kib: int = _ANSWER_LIMIT_KIB,
    ) -> "Said | None":
        if not (self.login.folder / key).is_file():  # ssh would go on without, and be refused
            raise HostError(f"SSH key {self.login.folder / key}: is not there.")
        arguments = _arguments(self.login, port=self.port, user=user, key=key)
        return await _Errand([*_BATCH, *arguments, remote], timeout_s, limit_kib).done()


@dataclass(frozen=True, slots=True)
class Said(Completed):
    """What an ssh said; `limit_kib` is the limit that its output ran into, else 0."""

    limit_kib: int = 0

    @property
    def is_in(self) -> bool:
        """Whether the machine let ssh in."""
        return _AUTHENTICATED in self.stderr.decode(errors="replace")

    @property
    def complaints(self) -> str:
        """What the command, or ssh, wrote to stderr, without the statistics of ssh's -v."""
        lines = self.stderr.decode(errors="replace").splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(_STATISTICS))


class _Errand:
    """One ssh in a thread of its own: it dies with that thread, so the thread waits for it.

    A machine can talk for ever: what is said beyond `limit_kib` ends ssh and is not kept.
    """

    def __init__(self, arguments: list[str], timeout_s: float, limit_kib: int) -> None:
        self._arguments = arguments
        self._timeout_s = timeout_s
        self._limit_kib = limit_kib
        self._lock = threading.Lock()
        self._process: command.Process | None = None
        self._called_off = False

    async def done(self) -> Said | None:
        """Return what ssh said, or None where the time limit ended it."""
        running = asyncio.ensure_future(asyncio.to_thread(self._run))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._call_off()
            with suppress(Exception):
                await running
            raise

    def _run(self) -> Said | None:
        limit_bytes = self._limit_kib * 1024
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._start(Streams(stdout=out, stderr=err), limit_bytes)
            exit_code = None if process is None else self._wait(process)
            if process is None or exit_code is None:
                return None
            out.seek(0)
            err.seek(0)
            said, complained = out.read(limit_bytes), err.read(limit_bytes)
        is_cut = limit_bytes in {len(said), len(complained)}
        limit_kib = self._limit_kib if is_cut else 0
        return Said(process.line, exit_code, said, complained, seconds=0, limit_kib=limit_kib)

    def _start(self, streams: Streams, limit_bytes: int) -> command.Process | None:
        setting = Setting(file_limit_bytes=limit_bytes)
        with self._lock:
            if not self._called_off:
                self._process = command.spawn(
                    "ssh", self._arguments, streams=streams, setting=setting
                )
            return self._process

    def _wait(self, process: command.Process) -> int | None:
        try:
            return process.wait(self._timeout_s)
        except TimeoutError:
            process.kill()
            return None
        except BaseException:
            process.kill()
            raise

    def _call_off(self) -> None:
        with self._lock:
            self._called_off = True
            if self._process is not None:
                self._process.kill()


def unanswered(user: str, *, at_s: float) -> LoginAttempt:
    """Return the owner's attempt as it stands before the server's first answer."""
    evidence = "the server has not answered"
    return LoginAttempt(LoginId.OWNER, user, LoginOutcome.UNREACHABLE, (), evidence, at_s)


def _attempt(id: LoginId, *, user: str, done: Said | None, at_s: float) -> LoginAttempt:  # noqa: A002
    if done is None:
        return LoginAttempt(id, user, LoginOutcome.UNREACHABLE, (), "ssh did not end in time", at_s)
    outcome, methods = classify(done, user=user)
    return LoginAttempt(id, user, outcome, methods, _evidence(done), at_s)


def classify(done: Said, *, user: str) -> tuple[LoginOutcome, tuple[str, ...]]:
    """Tell how an ssh that ran `id -un` ended, and which authentications the server offered.

    The texts are OpenSSH's (sshconnect2.c, ssh.c, packet.c), unchanged for many years.
    """
    if done.limit_kib:
        return LoginOutcome.WRONG_ANSWER, ()
    said = done.stderr.decode(errors="replace")
    if _AUTHENTICATED in said or done.exit_code != _SSH_FAILED:
        words = done.stdout.decode(errors="replace").split()
        answered = done.exit_code == 0 and words[-1:] == [user]
        return (LoginOutcome.LET_IN if answered else LoginOutcome.WRONG_ANSWER), ()
    if "Host key verification failed" in said:
        return LoginOutcome.HOST_KEY_MISMATCH, ()
    if "Unable to negotiate with" in said:
        return LoginOutcome.NO_AGREEMENT, ()
    if denied := _DENIED.findall(said):
        return LoginOutcome.REFUSED, tuple(name.strip() for name in denied[-1].split(","))
    if "Too many authentication failures" in said:
        return LoginOutcome.REFUSED, ()
    return LoginOutcome.UNREACHABLE, ()


def _evidence(done: Said) -> str:
    """Return the end of what ssh and the machine said, safe to show."""
    text = "\n".join(part.decode(errors="replace").strip() for part in (done.stdout, done.stderr))
    said = (line for line in text.splitlines() if line.strip() and not line.startswith(_STATISTICS))
    lines = [_CONTROL.sub("", line) for line in said]
    if done.limit_kib:
        lines.append(f"more than {done.limit_kib} KiB of output")
    shown = "\n".join(lines[-_EVIDENCE_LINES:])[-_EVIDENCE_CHARACTERS:]
    return shown if shown else f"no output, exit code {done.exit_code}"
