"""The agent inside the guests, run here by each guest's shell; a terminal stands for its port."""

import os
import pty
import secrets
import select
import shutil
import signal
import subprocess
import termios
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge.testing.shell import agent_command

_AGENT = Path(__file__).parents[2] / "guest/overlays/agent/usr/lib/imgforge/agent"
_HELLO = b"imgforge-agent 2\n"
_LIMIT_S = 30.0
_END_OF_FILE = b"\x04"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command ended with."""

    status: int
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(slots=True)
class Port:
    """The host's end of the port, and the agent that serves the other."""

    host: int
    guest: int
    agent: subprocess.Popen[bytes]
    seen: bytes = b""

    def write(self, sent: bytes) -> None:
        """Write all of it."""
        while sent:
            sent = sent[os.write(self.host, sent) :]

    def read_until(self, mark: bytes) -> bytes:
        """Return what comes before `mark`."""
        deadline = time.monotonic() + _LIMIT_S
        while mark not in self.seen:
            left_s = max(deadline - time.monotonic(), 0)
            ready, _, _ = select.select([self.host], [], [], left_s)
            assert ready, f"waited {_LIMIT_S} s for {mark!r}, saw {self.seen[-500:]!r}"
            self.seen += os.read(self.host, 65536)
        before, _, self.seen = self.seen.partition(mark)
        return before

    def send(self, command: bytes, *, limit_s: int = 20) -> bytes:
        """Send a command, return its nonce."""
        nonce = secrets.token_hex(16).encode()
        self.write(b"%s %d %s\n" % (nonce, limit_s, encode(command)))
        return nonce

    def receive(self, nonce: bytes) -> Answer:
        """Return the answer, which must be the next thing that comes."""
        assert self.read_until(nonce + b" out\n") == b""
        stdout = self.read_until(b"\n" + nonce + b" err\n")
        stderr = self.read_until(b"\n" + nonce + b" ")
        return Answer(int(self.read_until(b"\n")), stdout, stderr)

    def run(self, command: bytes, *, limit_s: int = 20) -> Answer:
        """Run a command to its end."""
        return self.receive(self.send(command, limit_s=limit_s))


def encode(command: bytes) -> bytes:
    """Encode a command as the protocol wants it."""
    named = {0x5C: b"\\\\", 0x0A: b"\\n"}
    return b"".join(
        named.get(byte) or (bytes([byte]) if 0x20 <= byte <= 0x7E else b"\\0%03o" % byte)
        for byte in command
    )


@pytest.fixture(params=["dash", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], str]:
    """A guest's shell and the PATH of its programs."""
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"no {request.param} here")
    if request.param == "dash":
        return [program], os.environ["PATH"]
    applets = tmp_path / "applets"
    applets.mkdir()
    for applet in subprocess.run(
        [program, "--list"], stdout=subprocess.PIPE, check=True, encoding="ascii"
    ).stdout.split():
        (applets / applet).symlink_to(program)
    return [str(applets / "sh")], str(applets)


@pytest.fixture
def port(shell: tuple[list[str], str], tmp_path: Path) -> Iterator[Port]:
    words, path = shell
    host, guest = pty.openpty()
    tty.setraw(guest)
    agent = subprocess.Popen(
        [*words, _AGENT, os.ttyname(guest), tmp_path / "room"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": path},
        start_new_session=True,
    )
    try:
        port = Port(host, guest, agent)
        assert port.read_until(_HELLO) == b""
        yield port
    finally:
        os.killpg(agent.pid, signal.SIGKILL)
        agent.wait(_LIMIT_S)
        os.close(host)
        os.close(guest)


def test_an_answer_has_what_was_said_and_the_status(port: Port) -> None:
    assert port.run(b"true") == Answer(0)
    assert port.run(b"echo hello; echo bad >&2; exit 7") == Answer(7, b"hello\n", b"bad\n")
    assert port.run(b"no-such-program 2>/dev/null") == Answer(127)
    assert port.run(b"kill -9 $$").status == 137


def test_all_bytes_come_back_as_they_are(port: Port) -> None:
    every = b"".join(b"\\%03o" % byte for byte in range(256))
    assert port.run(b"printf '%s'" % every).stdout == bytes(range(256))
    assert port.run(b"printf '%s' >&2" % every).stderr == bytes(range(256))


def test_a_command_arrives_byte_for_byte(port: Port) -> None:
    text = bytes(range(1, 256)).replace(b"'", b"") * 3 + b"%s %b %% \\c \\0101 \\n  \n\n"
    assert port.run(b"printf %s '" + text + b"'").stdout == text
    assert port.run(b"  echo  a  ").stdout == b"a\n"
    assert port.run(b"cat <<'X'\n a \\\n\n$x\nX\n\n").stdout == b" a \\\n\n$x\n"


def test_a_command_of_96_kib_arrives_whole(port: Port) -> None:
    text = ("é\\\n" * 24_000).encode()[: 96 * 1024 - 100]
    assert port.run(b"printf %s '" + text + b"'").stdout == text


def test_a_megabyte_comes_back(port: Port) -> None:
    answer = port.run(b"head -c 1000000 /dev/zero; echo end >&2")
    assert answer == Answer(0, bytes(1_000_000), b"end\n")


def test_what_takes_too_long_is_ended_and_the_next_is_answered(port: Port) -> None:
    answer = port.run(b"echo before; sleep 20; echo after", limit_s=1)
    assert (answer.status, answer.stdout) == (124, b"before\n")
    answer = port.run(b"trap '' TERM; while :; do sleep 0.1; done", limit_s=1)
    assert answer.status == 124
    assert port.run(b"echo next") == Answer(0, b"next\n")


def test_a_brief_command_is_run_by_the_agents_own_shell_and_cannot_spoil_it(port: Port) -> None:
    answer = port.run(b"echo here; echo there >&2; cd /tmp; count=x; room=/; exit 3", limit_s=0)
    assert answer == Answer(3, b"here\n", b"there\n")
    assert port.run(b"if", limit_s=0).status != 0
    assert port.run(b"cat; printf '\\101' | cat; pwd", limit_s=0) == Answer(0, b"A/\n")
    assert port.run(b"pwd") == Answer(0, b"/\n")


def test_what_a_command_leaves_running_holds_nothing_up(port: Port) -> None:
    answer = port.run(b"(sleep 0.5; echo late; echo late >&2; sleep 5) & echo started")
    assert answer == Answer(0, b"started\n")
    for _ in range(3):
        assert port.run(b"sleep 0.3; echo next") == Answer(0, b"next\n")


def test_many_commands_in_a_row_leave_no_heap_of_files(port: Port, tmp_path: Path) -> None:
    for number in range(150):
        assert port.run(b"echo %d" % number).stdout == b"%d\n" % number
    assert len(list((tmp_path / "room").iterdir())) < 140


def test_commands_sent_at_once_are_answered_in_order(port: Port) -> None:
    nonces = [port.send(b"echo %d" % number) for number in range(20)]
    answers = [port.receive(nonce) for nonce in nonces]
    assert [answer.stdout for answer in answers] == [b"%d\n" % number for number in range(20)]


def test_a_command_has_no_standard_input_and_not_the_port(port: Port) -> None:
    nonce = port.send(b"cat; echo read >&2; echo x 2>/dev/null >&3")
    port.write(b"garbage for whoever reads\n")
    answer = port.receive(nonce)
    assert answer.stdout == b""
    assert answer.stderr.startswith(b"read\n")
    assert answer.status != 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"   ",
        b"hello",
        b"0123456789abcdef0123456789abcdef",
        b"0123456789abcdef0123456789abcdef 5",
        b"0123456789abcdef0123456789abcde 5 echo short",
        b"0123456789abcdef0123456789abcdef0 5 echo long",
        b"0123456789ABCDEF0123456789ABCDEF 5 echo upper",
        b"0123456789abcdef0123456789abcd*f 5 echo star",
        b"0123456789abcdef0123456789abcdef 00 echo zero",
        b"0123456789abcdef0123456789abcdef  echo no limit",
        b"0123456789abcdef0123456789abcdef -5 echo negative",
        b"0123456789abcdef0123456789abcdef a echo hexadecimal",
        b"0123456789abcdef0123456789abcdef 99999999999999999999 echo much",
        b"0123456789abcdef0123456789abcdef $(touch x) echo x",
        b"$(reboot) `reboot` ; reboot",
        bytes(byte for byte in range(256) if byte != 10),
        b"x" * 40_000,
    ],
    ids=lambda line: repr(line[:60]),
)
def test_a_line_that_is_no_command_is_passed_over(port: Port, line: bytes) -> None:
    port.write(line + b"\n")
    assert port.run(b"echo next") == Answer(0, b"next\n")


def test_the_half_line_of_a_host_that_went_is_not_run(port: Port, tmp_path: Path) -> None:
    """A terminal with lines reads ^D as the end, as the port does when the host closes it."""
    mark = tmp_path / "mark"
    settings = termios.tcgetattr(port.guest)
    settings[3] |= termios.ICANON
    termios.tcsetattr(port.guest, termios.TCSANOW, settings)
    half = b"0123456789abcdef0123456789abcdef 5 touch " + bytes(mark)
    # The first hands the half line over, the second ends it.
    port.write(half + _END_OF_FILE + _END_OF_FILE)
    assert port.read_until(_HELLO) == b""
    assert port.run(b"echo next") == Answer(0, b"next\n")
    assert not mark.exists()


def test_without_a_port_it_ends_well_and_says_nothing(shell: tuple[list[str], str]) -> None:
    words, path = shell
    if any(Path("/sys/bus/virtio/drivers/virtio_console").glob("virtio*")):
        pytest.skip("this host has a virtio console itself")
    ended = subprocess.run(
        [*words, _AGENT],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": path},
        timeout=_LIMIT_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, b"")


def test_in_a_session_it_takes_commands_on_stdin_and_ends_with_it(
    shell: tuple[list[str], str], tmp_path: Path
) -> None:
    words, path = shell
    command = agent_command("root").replace("/run/imgforge/agent", str(tmp_path / "room"))
    nonce = "0" * 32
    said = subprocess.run(
        [*words, "-c", command],
        input=f"{nonce} 9 echo hello; echo x >&4; cat\n{nonce} 0 exit 3\n".encode(),
        capture_output=True,
        env={"PATH": path},
        timeout=_LIMIT_S,
        check=True,
    )
    lines = said.stdout.split(b"\n")
    assert lines[:2] == [_HELLO.strip(), f"{nonce} out".encode()]
    assert lines[2] == b"hello"
    assert f"{nonce} 3".encode() in lines
    assert said.stderr == b""
