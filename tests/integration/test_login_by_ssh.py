"""Logging in, against a fake ssh on PATH that answers as OpenSSH does."""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgforge.acceptance import (
    BootMethod,
    BootRecord,
    Login,
    StageName,
    judge,
    new_login,
    observe,
    ssh_arguments,
    ssh_line,
)
from imgforge.acceptance.record import LoginId, LoginOutcome
from imgforge.acceptance.verdict import DiskReport
from imgforge.errors import HostError
from imgforge.machine import (
    Accelerator,
    AcceleratorKind,
    ConsoleLine,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
    MetadataWay,
    WayChoice,
)
from imgforge.metadata import MetadataRequest
from imgforge.recipe import ExpectPart

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH7z0mI0h1vX3o0i9vO9p3B2jvJz1s2hX6yD9l2Yy7wQ"
KEYS_ON_CONSOLE = (
    "-----BEGIN SSH HOST KEY KEYS-----",
    HOST_KEY,
    "-----END SSH HOST KEY KEYS-----",
)
KEY_PATH = "/latest/meta-data/public-keys/0/openssh-key"

IN = """echo 'Authenticated to 127.0.0.1 ([127.0.0.1]:1) using "publickey".' >&2"""
DENIED = 'echo "$2@127.0.0.1: Permission denied (publickey)." >&2; exit 255'
RESET = "echo 'kex_exchange_identification: read: Connection reset by peer' >&2; exit 255"
MISMATCH = "echo 'Host key verification failed.' >&2; exit 255"
SERVES_OWNER = f"""case "$*" in
*/other*) {DENIED} ;;
*"id -un") {IN}; echo root ;;
*) {IN}; eval "$last" ;;
esac"""


WAY = WayChoice(MetadataWay.GUESTFWD, "for the test")


@dataclass(frozen=True)
class Spec:
    accelerator: Accelerator = Accelerator(AcceleratorKind.TCG, "max", "asked for")  # noqa: RUF009


@dataclass
class BootedMachine:
    """Has fetched its key and printed its host keys; then it says `later`."""

    fetches: bool = True
    later: tuple[tuple[float, str], ...] = ()
    spec: Spec = Spec()
    ssh_port: int = 2222
    qemu_version: str = "7.2.22"
    way: WayChoice = WAY
    waited_s: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def full_disk(self) -> MachineEnded | None:
        return None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    async def events(self) -> AsyncIterator[MachineEvent]:
        if self.fetches:
            request = MetadataRequest(0.1, "GET", KEY_PATH, "latest", False, 200, "Wget")
            yield MetadataAsked(0.1, request)
        for line in KEYS_ON_CONSOLE:
            yield ConsoleLine(0.2, line)
        for delay_s, text in self.later:
            await asyncio.sleep(delay_s)
            yield ConsoleLine(self.elapsed_s, text)
        await asyncio.Event().wait()


class FakeSsh:
    """An ssh on PATH; `calls` are the arguments of each time it was run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def behave(self, body: str) -> None:
        script = self._folder / "ssh"
        script.write_text(
            f"#!/bin/sh\nfor last; do :; done\nn=$(cat {self._folder}/calls | wc -l)\n"
            f'printf "%s " "$@" >> {self._folder}/calls; echo >> {self._folder}/calls\n'
            f"echo $$ >> {self._folder}/pids\n{body}\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
        (self._folder / "calls").touch()

    @property
    def calls(self) -> list[str]:
        return (self._folder / "calls").read_text(encoding="utf-8").splitlines()

    def running(self) -> list[int]:
        pids = (self._folder / "pids").read_text(encoding="utf-8").split()
        return [int(pid) for pid in pids if Path("/proc", pid).exists()]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSsh:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return FakeSsh(folder)


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return new_login(tmp_path / "login", user="root")


def see(
    machine: BootedMachine,
    login: Login,
    expect: ExpectPart | None = None,
    *,
    service_off: str = "",
) -> BootRecord:
    async def run() -> BootRecord:
        return await observe(
            machine,
            expect=expect or ExpectPart(boot_limit_s=30, silence_limit_s=30),
            login=login,
            boot_method=BootMethod.BIOS,
            service_off=service_off,
        )

    return asyncio.run(run())


def accepted(record: BootRecord, expect: ExpectPart | None = None) -> bool:
    import datetime

    return judge(
        record,
        expect=expect or ExpectPart(),
        disk=DiskReport(sha256_before="a", sha256_after="a", layout=None),
        recipe_sha256="",
        lock_sha256="",
        created=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    ).accepted


def test_new_keys_are_made_for_each_login_and_kept_private(tmp_path: Path) -> None:
    one, other = (new_login(tmp_path / name, user="root") for name in ("one", "other"))
    assert one.public_key.startswith("ssh-ed25519 AAAA")
    assert one.public_key != other.public_key
    assert one.private_key.stat().st_mode & 0o777 == 0o600
    assert one.folder.stat().st_mode & 0o777 == 0o700


def test_nothing_of_the_users_own_is_used_by_ssh(login: Login) -> None:
    arguments = ssh_arguments(login, port=2222)
    assert arguments[:4] == ["-F", "/dev/null", "-p", "2222"]
    assert arguments[-1] == "root@127.0.0.1"
    wanted = {"StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none"}
    assert wanted <= set(arguments)
    assert ssh_line(login, port=2222).startswith("ssh -F /dev/null -p 2222 -o ")


def test_a_lost_key_is_the_hosts_failure_and_no_refusal(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(SERVES_OWNER)
    (login.folder / "other").unlink()
    with pytest.raises(HostError, match="is not there"):
        see(BootedMachine(), login)


def test_the_owner_gets_in_and_nobody_else(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(SERVES_OWNER)
    record = see(BootedMachine(), login)
    assert accepted(record)
    assert record.stages[-1].name is StageName.SSH
    assert record.stages[-1].reached
    assert record.seconds < 3
    assert login.known_hosts.read_text(encoding="ascii") == f"[127.0.0.1]:2222 {HOST_KEY}\n"
    assert len(ssh.calls) == 2


def test_a_server_that_is_not_up_yet_is_tried_again(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(f'if [ "$n" -lt 3 ]; then {RESET}; fi\n{SERVES_OWNER}')
    record = see(BootedMachine(), login)
    assert accepted(record)
    assert len(ssh.calls) == 5


def test_a_key_that_stays_refused_ends_the_boot_early(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(DENIED)
    record = see(BootedMachine(), login)
    assert record.sign is not None
    assert record.sign.id == "ssh-refused-key"
    assert 8 <= record.seconds < 13
    assert not accepted(record)


def test_a_key_that_was_never_fetched_ends_the_boot_though_the_server_logs_our_knocking(
    ssh: FakeSsh, login: Login
) -> None:
    ssh.behave(DENIED)
    knocking = tuple((0.5, f"dropbear: exit before auth {n}") for n in range(60))
    expect = ExpectPart(boot_limit_s=30, silence_limit_s=2)
    record = see(BootedMachine(fetches=False, later=knocking), login, expect)
    assert record.sign is not None
    assert (record.sign.id, record.sign.stage) == ("key-not-fetched", StageName.METADATA)
    assert record.seconds < 8
    assert not accepted(record)


def test_a_machine_without_a_metadata_service_is_not_blamed_for_asking_it_nothing(
    ssh: FakeSsh, login: Login
) -> None:
    ssh.behave(SERVES_OWNER)
    record = see(BootedMachine(fetches=False), login, service_off="it is off")
    assert accepted(record)
    assert StageName.METADATA not in [stage.name for stage in record.stages]


def test_a_seed_that_nobody_reads_is_told_as_such(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(DENIED)
    expect = ExpectPart(boot_limit_s=30, silence_limit_s=2)
    record = see(BootedMachine(fetches=False), login, expect, service_off="it is off")
    assert record.sign is not None
    assert (record.sign.id, record.sign.stage) == ("key-not-served", StageName.SSH)


def test_another_host_key_than_the_consoles_ends_the_boot_at_once(
    ssh: FakeSsh, login: Login
) -> None:
    ssh.behave(MISMATCH)
    record = see(BootedMachine(), login)
    assert record.sign is not None
    assert record.sign.id == "host-key-mismatch"
    assert record.seconds < 2


def test_a_server_that_never_answers_is_told_after_the_silence(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(RESET)
    record = see(BootedMachine(), login, ExpectPart(silence_limit_s=2))
    assert record.sign is not None
    assert (record.sign.id, record.sign.stage) == ("sshd-silent", StageName.SSH)
    assert record.sign.meaning.endswith("did not answer: nothing was heard for 2 s")


@pytest.mark.parametrize(
    "body",
    [
        f"{IN}; echo root",
        f"{IN}; echo 'nobody here but us'; exit 142",
        f"{IN}; echo 'root@127.0.0.1: Permission denied (publickey).' >&2; exit 255",
    ],
)
def test_a_key_nobody_was_told_of_that_gets_in_is_a_rejection(
    ssh: FakeSsh, login: Login, body: str
) -> None:
    ssh.behave(f'case "$*" in */other*) {body}; exit ;; esac\n{SERVES_OWNER}')
    record = see(BootedMachine(), login)
    assert record.sign is None
    assert not accepted(record)


def test_a_server_that_asks_for_passwords_is_a_rejection(ssh: FakeSsh, login: Login) -> None:
    denied = "echo 'root@127.0.0.1: Permission denied (publickey,password).' >&2; exit 255"
    ssh.behave(SERVES_OWNER.replace(DENIED, denied))
    record = see(BootedMachine(), login)
    assert record.logins[1].methods == ("publickey", "password")
    assert not accepted(record)


def test_root_is_tried_too_where_another_user_logs_in(ssh: FakeSsh, tmp_path: Path) -> None:
    ssh.behave(SERVES_OWNER.replace("echo root", "echo debian"))
    login = new_login(tmp_path / "debian", user="debian")
    expect = ExpectPart(login_user="debian")
    record = see(BootedMachine(), login, expect)
    assert accepted(record, expect)
    assert [attempt.id for attempt in record.logins] == list(LoginId)
    assert "root@127.0.0.1 id -un" in "\n".join(ssh.calls)


def test_somebody_elses_answer_is_no_login(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(f"{IN}; echo nobody")
    record = see(BootedMachine(), login, ExpectPart(boot_limit_s=1))
    assert not accepted(record)
    assert record.logins[0].outcome is LoginOutcome.WRONG_ANSWER


@pytest.mark.parametrize("redirection", ["", " >&2"])
def test_a_flood_for_an_answer_is_cut_and_named(
    ssh: FakeSsh, login: Login, redirection: str
) -> None:
    ssh.behave(f"{IN}; exec cat /dev/zero{redirection}")
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record = see(BootedMachine(), login)
    assert record.sign is not None
    assert record.sign.id == "ssh-wrong-answer"
    assert record.sign.text == "more than 64 KiB of output"
    assert record.logins[0].outcome is LoginOutcome.WRONG_ANSWER
    assert record.seconds < 13
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 20_000
    assert ssh.running() == []


def test_a_wrong_answer_is_named_where_the_boots_limit_comes_first(
    ssh: FakeSsh, login: Login
) -> None:
    ssh.behave(f"{IN}; exec cat /dev/zero")
    record = see(BootedMachine(), login, ExpectPart(boot_limit_s=1))
    assert record.sign is not None
    assert record.sign.id == "ssh-wrong-answer"


def test_a_command_that_floods_is_a_rejection_and_one_that_says_much_is_not(
    ssh: FakeSsh, login: Login
) -> None:
    ssh.behave(SERVES_OWNER)
    much = "yes | head -c 200000"
    expect = ExpectPart(commands=(much, "exec yes"))
    record = see(BootedMachine(), login, expect)
    assert [done.exit_code for done in record.commands] == [0, None]
    assert record.commands[1].evidence.endswith("more than 1024 KiB of output")
    assert not accepted(record, expect)


def test_commands_are_run_in_turn_and_their_exit_codes_kept(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(SERVES_OWNER)
    expect = ExpectPart(commands=("echo fine", "exit 3", 'printf "\\033[2Jx"'))
    record = see(BootedMachine(), login, expect)
    assert [(done.exit_code, done.evidence) for done in record.commands] == [
        (0, "fine"),
        (3, "no output, exit code 3"),
        (0, "[2Jx"),
    ]
    assert not accepted(record, expect)


def test_console_text_after_the_login_is_waited_for(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(SERVES_OWNER)
    expect = ExpectPart(boot_limit_s=20, console_must_show=("DataSource.*Ec2",))
    record = see(BootedMachine(later=((1.5, "finished. DataSource DataSourceEc2"),)), login, expect)
    assert accepted(record, expect)
    assert 1.5 < record.seconds < 4


def test_console_text_that_never_comes_is_waited_for_until_the_limit(
    ssh: FakeSsh, login: Login
) -> None:
    ssh.behave(SERVES_OWNER)
    expect = ExpectPart(boot_limit_s=2, console_must_show=("never",))
    record = see(BootedMachine(), login, expect)
    assert not accepted(record, expect)
    assert 1.9 < record.seconds < 4


def test_console_text_is_not_waited_for_once_the_machine_is_silent(
    ssh: FakeSsh, login: Login
) -> None:
    ssh.behave(SERVES_OWNER)
    expect = ExpectPart(boot_limit_s=60, silence_limit_s=1, console_must_show=("never",))
    record = see(BootedMachine(), login, expect)
    assert not accepted(record, expect)
    assert record.seconds < 5


def test_a_panic_during_a_command_ends_it_and_leaves_no_ssh(ssh: FakeSsh, login: Login) -> None:
    ssh.behave(f'case "$*" in *"sleep 60") exec sleep 60 ;; esac\n{SERVES_OWNER}')
    panic = "[   12.3] Kernel panic - not syncing: Fatal exception"
    machine = BootedMachine(later=((1.0, panic),))
    record = see(machine, login, ExpectPart(commands=("sleep 60",)))
    assert record.sign is not None
    assert record.sign.id == "kernel-panic"
    assert record.seconds < 3
    assert ssh.running() == []


def test_a_cancelled_observation_leaves_no_ssh(ssh: FakeSsh, login: Login) -> None:
    ssh.behave("exec sleep 60")

    async def run() -> None:
        async with asyncio.timeout(1):
            await observe(
                BootedMachine(),
                expect=ExpectPart(),
                login=login,
                boot_method=BootMethod.BIOS,
            )

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert time.monotonic() - started < 3
    assert len(ssh.calls) == 1
    assert ssh.running() == []
