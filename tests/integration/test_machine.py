"""A machine's life and end, with a real QEMU and a disk that holds nothing."""

import asyncio
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.errors import BadInputError, HostError
from imgforge.machine import (
    Accelerator,
    AcceleratorKind,
    BootSource,
    ConsoleBytes,
    ConsoleLine,
    EndReason,
    InstanceType,
    Machine,
    MachineEnded,
    MachineEvent,
    MachineSpec,
    start_machine,
)
from imgforge.metadata import Instance

TCG = Accelerator(AcceleratorKind.TCG, "max", "asked for")
SMALL = InstanceType("small", vcpus=1, memory_mib=64)


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    disk = tmp_path / "a disk, empty.raw"
    disk.touch()
    os.truncate(disk, 1 << 20)
    disk.chmod(0o444)
    return MachineSpec(
        disk=disk,
        accelerator=TCG,
        instance=Instance("i-0123456789abcdef0", "ami-0123456789abcdef0"),
        folder=tmp_path / "out",
        profile=SMALL,
    )


async def seen_until(machine: Machine, text: str) -> list[MachineEvent]:
    """Collect the events up to the console line, or the unfinished one, that holds `text`."""
    events = []
    async for event in machine.events():
        events.append(event)
        match event:
            case ConsoleLine(text=shown) | ConsoleBytes(pending=shown) if text in shown:
                return events
    raise AssertionError(f"the machine ended without {text!r}: {events}")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], *, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_the_console_is_kept_from_the_firmwares_first_byte(spec: MachineSpec) -> None:
    async def scenario() -> tuple[list[MachineEvent], str]:
        async with start_machine(spec) as machine:
            events = await seen_until(machine, "No bootable device")
            assert is_running(machine.pid)
            assert 0 < machine.ssh_port < 65536
            assert 0 < machine.elapsed_s < 30
            return events, machine.qemu_version

    events, version = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert version.split(".")[0].isdigit()
    first = next(event for event in events if isinstance(event, ConsoleLine) and event.text)
    assert first.text.startswith("SeaBIOS")
    raw = (spec.folder / "console.raw").read_bytes()
    assert b"SeaBIOS (version" in raw
    log = (spec.folder / "console.log").read_text()
    assert log.startswith("[    0.")
    assert "No bootable device" in log
    assert "\x1b" not in log
    times = [event.at_s for event in events]
    assert times == sorted(times)


def test_the_disk_is_never_written_and_nothing_is_left_beside_it(spec: MachineSpec) -> None:
    before = hashlib.sha256(spec.disk.read_bytes()).hexdigest(), spec.disk.stat().st_mtime_ns
    pids = []

    async def scenario() -> None:
        async with start_machine(spec) as machine:
            pids.append(machine.pid)
            await seen_until(machine, "SeaBIOS")

    asyncio.run(asyncio.wait_for(scenario(), 60))
    after = hashlib.sha256(spec.disk.read_bytes()).hexdigest(), spec.disk.stat().st_mtime_ns
    assert before == after
    assert not is_running(pids[0])
    assert sorted(path.name for path in spec.folder.iterdir()) == [
        "console.log",
        "console.raw",
        "metadata.jsonl",
        "qemu.argv",
    ]


def test_the_argv_file_is_one_line_that_a_shell_reads_back(
    spec: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGFORGE_METADATA_WAY", "guestfwd")

    async def scenario() -> None:
        async with start_machine(spec):
            pass

    asyncio.run(asyncio.wait_for(scenario(), 60))
    (line,) = (spec.folder / "qemu.argv").read_text().splitlines()
    words = shlex.split(line)
    assert words[0] == "qemu-system-x86_64"
    assert "restrict=on" in words[words.index("-netdev") + 1]


def test_quit_ends_the_stream_and_a_second_time_does_nothing(spec: MachineSpec) -> None:
    async def scenario() -> list[MachineEvent]:
        async with start_machine(spec) as machine:
            await machine.quit()
            await machine.quit()
            events = [event async for event in machine.events()]
            assert await machine.power_off(0.1)
            return events

    events = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert isinstance(events[-1], MachineEnded)
    assert events[-1].reason is EndReason.STOPPED_BY_US


def test_a_qemu_that_dies_is_the_hosts_failure(spec: MachineSpec) -> None:
    async def scenario() -> MachineEvent:
        async with start_machine(spec) as machine:
            await seen_until(machine, "SeaBIOS")
            os.kill(machine.pid, signal.SIGKILL)
            events = [event async for event in machine.events()]
            return events[-1]

    ended = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert isinstance(ended, MachineEnded)
    assert ended.reason is EndReason.QEMU_DIED


def test_a_machine_that_ignores_the_power_button_is_told_so(spec: MachineSpec) -> None:
    async def scenario() -> bool:
        async with start_machine(spec) as machine:
            await seen_until(machine, "No bootable device")
            return await machine.power_off(0.5)

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) is False


def test_a_qemu_that_does_not_start_tells_its_own_words(spec: MachineSpec) -> None:
    async def scenario() -> None:
        unknown = Accelerator(AcceleratorKind.TCG, "pentium-9000", "asked for")
        async with start_machine(
            MachineSpec(
                disk=spec.disk,
                accelerator=unknown,
                instance=spec.instance,
                folder=spec.folder,
            )
        ):
            pass

    with pytest.raises(HostError, match=r"QEMU did not start: .*pentium-9000"):
        asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_folder_or_nothing_in_the_disks_place_is_bad_input(
    spec: MachineSpec, tmp_path: Path
) -> None:
    async def start(disk: Path) -> None:
        async with start_machine(
            MachineSpec(disk=disk, accelerator=TCG, instance=spec.instance, folder=spec.folder)
        ):
            pass

    for disk in (tmp_path, tmp_path / "nothing.raw"):
        with pytest.raises(BadInputError, match="not a file"):
            asyncio.run(start(disk))


def test_a_kernel_that_is_none_is_qemus_word(spec: MachineSpec) -> None:
    async def scenario() -> None:
        async with start_machine(
            MachineSpec(
                disk=spec.disk,
                accelerator=TCG,
                instance=spec.instance,
                folder=spec.folder,
                source=BootSource(spec.folder / "missing"),
            )
        ):
            pass

    with pytest.raises(HostError, match="QEMU did not start"):
        asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_qcow2_that_is_none_is_refused_by_its_header(spec: MachineSpec) -> None:
    async def scenario() -> None:
        async with start_machine(
            MachineSpec(
                disk=spec.disk,
                disk_format="qcow2",
                accelerator=TCG,
                instance=spec.instance,
                folder=spec.folder,
            )
        ):
            pass

    with pytest.raises(BadInputError, match="is no qcow2"):
        asyncio.run(asyncio.wait_for(scenario(), 60))


def test_an_error_in_the_block_ends_qemu_and_stays_the_error(spec: MachineSpec) -> None:
    pids = []

    async def scenario() -> None:
        async with start_machine(spec) as machine:
            pids.append(machine.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(asyncio.wait_for(scenario(), 60))
    assert not is_running(pids[0])


def test_two_machines_share_a_disk_and_keep_their_own_ports(
    spec: MachineSpec, tmp_path: Path
) -> None:
    async def one(folder: Path) -> int:
        async with start_machine(
            MachineSpec(
                disk=spec.disk,
                accelerator=TCG,
                instance=spec.instance,
                folder=folder,
                profile=SMALL,
            )
        ) as machine:
            await seen_until(machine, "SeaBIOS")
            return machine.ssh_port

    async def both() -> tuple[int, int]:
        return await asyncio.gather(one(tmp_path / "1"), one(tmp_path / "2"))

    first, second = asyncio.run(asyncio.wait_for(both(), 60))
    assert first != second


RUNNER = """
import asyncio, sys
from pathlib import Path
from imgforge.machine import *
from imgforge.metadata import Instance

async def main(disk, folder):
    spec = MachineSpec(
        disk=Path(disk), folder=Path(folder), instance=Instance("i-1", "ami-1"),
        accelerator=Accelerator(AcceleratorKind.TCG, "max", "asked for"),
        profile=InstanceType("small", vcpus=1, memory_mib=64),
    )
    async with start_machine(spec) as machine:
        print(machine.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_killing_imgforge_ends_qemu_within_two_seconds(
    spec: MachineSpec, ending: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, spec.disk, spec.folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_running(pid)
        process.send_signal(ending)
        assert wait_until(lambda: not is_running(pid), limit_s=2)
        process.wait(10)
    left = [path.name for path in spec.folder.iterdir() if path.name.startswith(".imgforge")]
    assert bool(left) == (ending is signal.SIGKILL)

    async def again() -> None:
        async with start_machine(spec):
            pass

    asyncio.run(asyncio.wait_for(again(), 60))
    assert not [path for path in spec.folder.iterdir() if path.name.startswith(".imgforge")]
