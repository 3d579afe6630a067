"""Faults of the host, played by a fake QEMU that speaks QMP."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.errors import HostError
from imgforge.machine import (
    Accelerator,
    AcceleratorKind,
    ConsoleLine,
    EndReason,
    MachineEnded,
    MachineEvent,
    MachineSpec,
    start_machine,
)
from imgforge.metadata import Instance

FAKE = """#!{python}
import json, os, re, socket, sys, time
words = " ".join(sys.argv)
def wire(name):
    return socket.socket(fileno=int(re.search(rf"id={{name}},fd=([0-9]+)", words)[1]))
console, monitor = wire("console"), wire("monitor")
def tell(message):
    monitor.sendall((json.dumps(message) + "\\r\\n").encode())
def event(name, **data):
    stamp = dict(seconds=1, microseconds=0)
    tell(dict(event=name, data=data, timestamp=stamp))
state = "running"
def after_cont():
    global state
{behaviour}
version = dict(qemu=dict(major=7, minor=2, micro=22), package="")
{greeting}
def commands():
    text = ""
    while data := monitor.recv(65536):
        text += data.decode()
        while text:  # commands come without line ends
            command, end = json.JSONDecoder().raw_decode(text)
            text = text[end:].lstrip()
            yield command
for command in commands():
    answer = dict()
    match command["execute"]:
        case "query-version":
            answer = version
        case "query-status":
            answer = dict(status=state, running=False, singlestep=False)
        case "human-monitor-command":
            answer = {usernet!r}
    known = dict(id=command["id"]) if "id" in command else dict()
    tell({{"return": answer, **known}})
    if command["execute"] == "cont":
        after_cont()
"""
GREETING = 'tell({"QMP": {"version": version, "capabilities": []}})'
USERNET = "  TCP[HOST_FORWARD]  13       127.0.0.1 38981      169.0.2.15    22     0     0\r\n"

Play = Callable[..., MachineSpec]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Install a QEMU that does as told after `cont`; return a machine for it."""

    def install(behaviour: str, *, greeting: str = GREETING, usernet: str = USERNET) -> MachineSpec:
        program = tmp_path / "bin" / "qemu-system-x86_64"
        program.parent.mkdir()
        indented = "\n".join("    " + line for line in behaviour.splitlines())
        program.write_text(
            FAKE.format(
                python=sys.executable, behaviour=indented, greeting=greeting, usernet=usernet
            )
        )
        program.chmod(0o755)
        monkeypatch.setenv("IMGFORGE_METADATA_WAY", "guestfwd")  # QEMU's port is the one told
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        disk = tmp_path / "disk.raw"
        disk.touch()
        os.truncate(disk, 1 << 20)
        return MachineSpec(
            disk=disk,
            accelerator=Accelerator(AcceleratorKind.KVM, "host", "proved"),
            instance=Instance("i-0123456789abcdef0", "ami-0123456789abcdef0"),
            folder=tmp_path / "out",
        )

    return install


def run_to_end(spec: MachineSpec) -> tuple[list[str], MachineEnded]:
    async def scenario() -> list[MachineEvent]:
        async with start_machine(spec) as machine:
            assert machine.qemu_version == "7.2.22"
            assert machine.ssh_port == 38981
            return [event async for event in machine.events()]

    events = asyncio.run(asyncio.wait_for(scenario(), 30))
    ended = events[-1]
    assert isinstance(ended, MachineEnded)
    return [event.text for event in events if isinstance(event, ConsoleLine)], ended


@pytest.mark.parametrize("state", ["internal-error", "io-error"])
def test_a_stop_by_the_hosts_fault_is_told_as_one(play: Play, state: str) -> None:
    spec = play(f'console.sendall(b"Linux version\\r\\n"); state = "{state}"; event("STOP")')
    shown, ended = run_to_end(spec)
    assert shown == ["Linux version"]
    assert ended.reason is EndReason.HOST_INTERNAL_ERROR
    assert state in ended.detail


def test_a_stop_that_somebody_asked_for_ends_nothing(play: Play) -> None:
    spec = play(
        'state = "paused"; event("STOP"); event("RESUME"); '
        'event("SHUTDOWN", guest=True, reason="guest-shutdown")'
    )
    assert run_to_end(spec)[1].reason is EndReason.GUEST_SHUTDOWN


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("guest-shutdown", EndReason.GUEST_SHUTDOWN),
        ("guest-reset", EndReason.GUEST_RESET),
        ("guest-panic", EndReason.GUEST_PANIC),
        ("host-error", EndReason.QEMU_DIED),
        ("host-signal", EndReason.QEMU_DIED),
    ],
)
def test_the_end_comes_after_all_that_the_console_said(
    play: Play, reason: str, expected: EndReason
) -> None:
    spec = play(
        'console.sendall(b"x" * 150_000 + b"\\r\\nreboot: Power down")\n'
        f'event("SHUTDOWN", guest=True, reason="{reason}")'
    )
    shown, ended = run_to_end(spec)
    assert shown[-1] == "reboot: Power down"
    assert ended.reason is expected
    assert reason in ended.detail


def test_a_qemu_that_aborts_is_quoted(play: Play) -> None:
    spec = play(
        'console.sendall(b"SeaBIOS\\r\\n")\n'
        'print("qemu-system-x86_64: error: failed to set MSR 0x10a", file=sys.stderr, flush=True)\n'
        "os.abort()"
    )
    shown, ended = run_to_end(spec)
    assert shown == ["SeaBIOS"]
    assert ended.reason is EndReason.QEMU_DIED
    assert "failed to set MSR 0x10a" in ended.detail


@pytest.mark.parametrize(
    "greeting",
    [
        'monitor.sendall(b"garbage\\n")',
        'tell({"return": {}})',
        'monitor.sendall(b"\\xff\\x00\\n")',
        "monitor.shutdown(socket.SHUT_RDWR)",
        'tell({"QMP": {"version": version, "capabilities": []}}); monitor.close(); time.sleep(60)',
    ],
)
def test_a_monitor_that_speaks_nonsense_is_the_hosts_failure(play: Play, greeting: str) -> None:
    spec = play("pass", greeting=greeting)
    with pytest.raises(HostError, match="QEMU did not start"):
        run_to_end(spec)


def test_a_qemu_without_a_forwarded_port_is_refused(play: Play) -> None:
    with pytest.raises(HostError, match="names no forwarded port"):
        run_to_end(play("pass", usernet=""))
