"""A tiny real guest in a machine: what it sees, what it reaches, and how it ends.

Its kernel, modules and busybox come from a root tree in the cache: `imgforge build
guest/recipes/minimal.toml` makes one.
"""

import asyncio
import gzip
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imgforge import host
from imgforge.machine import (
    Accelerator,
    AcceleratorKind,
    BootSource,
    ConsoleLine,
    EndReason,
    MachineEnded,
    MachineEvent,
    MachineSpec,
    MetadataAsked,
    MetadataWay,
    start_machine,
)
from imgforge.metadata import HttpTokens, Instance, MetadataOptions

pytestmark = pytest.mark.boot

_MODULES = (
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci",
)
_NET_MODULES = ("failover", "net_failover", "virtio_net")
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
ip link set lo up; ip link set eth0 up
exec 2>&1
cat >/leased <<'.'
#!/bin/sh
[ $1 = bound ] && ip addr add $ip/$mask dev eth0 && echo "dhcp $ip $router." >/dev/console
.
chmod +x /leased
udhcpc -i eth0 -s /leased -n -q >/dev/null
meta() {{ wget -q -O - http://169.254.169.254/latest/$1; }}
reach() {{ nc -w 3 $1 $2 </dev/null >/dev/null && echo "reached $3" || echo "no way to $3"; }}
{script}
"""
_END = "poweroff -f\n"


@dataclass(frozen=True, slots=True)
class Guest:
    """What a tiny guest is made of."""

    kernel: Path
    tree: Path

    def initramfs(self, destination: Path, script: str) -> Path:
        """Make an initramfs whose init sets up the network and then runs `script`."""
        release = self.kernel.name.removeprefix("vmlinuz-")
        modules = self.tree / "lib/modules" / release / "kernel"
        content: dict[str, bytes] = {
            "init": _INIT.format(script=script).encode(),
            "bin/busybox": (self.tree / "bin/busybox").resolve().read_bytes(),
        }
        names = [f"drivers/{name}" for name in _MODULES]
        names += [
            str(next(modules.rglob(f"{name}.ko")).relative_to(modules))[:-3]
            for name in _NET_MODULES
        ]
        for number, name in enumerate(names):
            content[f"modules/{number}.ko"] = (modules / f"{name}.ko").read_bytes()
        destination.write_bytes(gzip.compress(_newc(content), compresslevel=1))
        return destination


def _newc(files: dict[str, bytes]) -> bytes:
    """Write a cpio archive (Linux, Documentation/driver-api/early-userspace/buffer-format)."""
    folders = dict.fromkeys(["bin", "dev", "proc", "sys", "modules"])
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in folders]
    entries += [(name, stat.S_IFREG | 0o755, data) for name, data in files.items()]
    entries.append(("TRAILER!!!", 0, b""))
    archive = bytearray()
    for inode, (name, mode, data) in enumerate(entries, start=1):
        raw = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + raw
        archive += b"\0" * (-len(archive) % 4)
        archive += data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


@pytest.fixture(scope="module")
def guest() -> Guest:
    for kernel in sorted(host.cache_dir().glob("rootfs/*/tree/boot/vmlinuz-*")):
        tree = kernel.parents[1]
        release = kernel.name.removeprefix("vmlinuz-")
        modules = tree / "lib/modules" / release / "kernel/drivers/net/virtio_net.ko"
        if (tree / "bin/busybox").exists() and modules.exists():
            return Guest(kernel, tree)
    pytest.skip(
        "no root tree with a kernel and busybox in the cache: imgforge build "
        "guest/recipes/minimal.toml makes one"
    )


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.touch()
    os.truncate(path, 1 << 20)
    path.chmod(0o444)
    return path


def machine_spec(guest: Guest, disk: Path, script: str, *, arguments: str = "") -> MachineSpec:
    folder = disk.parent / "out"
    folder.mkdir()
    return MachineSpec(
        disk=disk,
        accelerator=Accelerator(AcceleratorKind.TCG, "max", "asked for"),
        instance=Instance(
            "i-0123456789abcdef0",
            "ami-0123456789abcdef0",
            public_keys={"key": "ssh-ed25519 AAAA me"},
            user_data=b"#!/bin/sh\n",
        ),
        folder=folder,
        source=BootSource(
            guest.kernel,
            guest.initramfs(disk.parent / "initramfs", script),
            f"console=ttyS0 quiet panic=-1 {arguments}",
        ),
    )


async def boot(spec: MachineSpec) -> list[MachineEvent]:
    async with start_machine(spec) as machine:
        return [event async for event in machine.events()]


def lines(events: list[MachineEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, ConsoleLine)]


def test_a_guest_gets_its_address_metadata_and_dmi_and_powers_off(guest: Guest, disk: Path) -> None:
    script = (
        "meta meta-data/instance-id; echo\nmeta user-data\nmeta nothing\n"
        "cat /sys/class/dmi/id/product_uuid /sys/class/dmi/id/sys_vendor\n"
        "ls /sys/block\n" + _END
    )
    spec = machine_spec(guest, disk, script)
    events = asyncio.run(asyncio.wait_for(boot(spec), 120))
    shown = lines(events)
    assert any(line.startswith("dhcp 172.31.16.15 ") for line in shown)
    assert "i-0123456789abcdef0" in shown
    assert "Amazon EC2" in shown
    assert "nvme0n1" in shown
    assert any(line.startswith("ec2") for line in shown)
    asked = [event.request for event in events if isinstance(event, MetadataAsked)]
    assert [(request.path, request.status) for request in asked] == [
        ("/latest/meta-data/instance-id", 200),
        ("/latest/user-data", 200),
        ("/latest/nothing", 404),
    ]
    noted = (spec.folder / "metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in noted] == [request.path for request in asked]
    ended = events[-1]
    assert isinstance(ended, MachineEnded)
    assert ended.reason is EndReason.GUEST_SHUTDOWN


def test_a_guest_reaches_neither_the_hosts_loopback_nor_any_other_port(
    guest: Guest, disk: Path
) -> None:
    reached: list[int] = []

    def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(1)
        writer.close()

    async def scenario() -> list[MachineEvent]:
        server = await asyncio.start_server(note, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        script = (
            f"reach 172.31.0.1 {port} host\n"
            f"reach 172.31.0.2 {port} dns\n"
            f"reach 169.254.169.254 {port} metadata-port\n"
            f"reach 169.254.169.254 22 metadata-ssh\n"
            "ip route add default via 172.31.0.1\n"
            f"reach 127.0.0.1 {port} itself\nreach 10.0.2.2 {port} other\nreach 1.1.1.1 53 world\n"
        )
        events = await boot(machine_spec(guest, disk, script + _END))
        server.close()
        return events

    shown = lines(asyncio.run(asyncio.wait_for(scenario(), 120)))
    assert reached == []
    for place in ("host", "dns", "metadata-port", "metadata-ssh", "other", "world"):
        assert f"no way to {place}" in shown


def test_the_guests_port_22_is_reached_through_the_machines_port(guest: Guest, disk: Path) -> None:
    script = "(sleep 1; echo listening) &\necho SSH-2.0-tiny | nc -l -p 22\n" + _END

    async def scenario() -> bytes:
        async with start_machine(machine_spec(guest, disk, script)) as machine:
            async for event in machine.events():
                if isinstance(event, ConsoleLine) and "listening" in event.text:
                    reader, writer = await asyncio.open_connection("127.0.0.1", machine.ssh_port)
                    greeting = await reader.readline()
                    writer.close()
                    return greeting
        return b""

    assert asyncio.run(asyncio.wait_for(scenario(), 120)) == b"SSH-2.0-tiny\n"


def test_a_panic_ends_the_machine_with_a_reset(guest: Guest, disk: Path) -> None:
    spec = machine_spec(guest, disk, "exit 1\n")
    events = asyncio.run(asyncio.wait_for(boot(spec), 120))
    assert any("Kernel panic" in line for line in lines(events))
    ended = events[-1]
    assert isinstance(ended, MachineEnded)
    assert ended.reason is EndReason.GUEST_RESET


def test_the_power_button_is_pressed(guest: Guest, disk: Path) -> None:
    """No acpid in so small a guest: the kernel's own event is what it sees."""
    script = "echo listening\ncat /dev/input/event* >/dev/null & sleep 1\n"
    script += "dd if=/dev/input/event0 of=/dev/null bs=24 count=1 2>/dev/null\n" + _END

    async def scenario() -> bool:
        async with start_machine(machine_spec(guest, disk, script)) as machine:
            async for event in machine.events():
                if isinstance(event, ConsoleLine) and "listening" in event.text:
                    await asyncio.sleep(2)
                    return await machine.power_off(20)
        return False

    assert asyncio.run(asyncio.wait_for(scenario(), 120))


RUNNER = """
import asyncio, pickle, sys
from imgforge.machine import *

async def main():
    spec = pickle.load(sys.stdin.buffer)
    async with start_machine(spec) as machine:
        async for event in machine.events():
            if isinstance(event, ConsoleLine) and event.text == "holding":
                await asyncio.sleep(1)
                print(machine.pid, flush=True)

asyncio.run(main())
"""


def processes_naming(text: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text in (folder / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("way", MetadataWay)
@pytest.mark.parametrize("victim", ["imgforge", "qemu"])
def test_after_a_kill_neither_qemu_nor_its_helpers_are_left(
    guest: Guest, disk: Path, monkeypatch: pytest.MonkeyPatch, *, victim: str, way: MetadataWay
) -> None:
    monkeypatch.setenv("IMGFORGE_METADATA_WAY", way)
    script = "(printf 'GET /latest'; sleep 100) | nc 169.254.169.254 80 &\necho holding; sleep 100"
    spec = machine_spec(guest, disk, script)
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(spec))
        process.stdin.close()
        qemu = int(process.stdout.readline())
        mark = str(spec.folder)
        if way is MetadataWay.GUESTFWD:
            words = (spec.folder / "qemu.argv").read_text()
            mark = words.partition("-cmd:/bin/sh ")[2].partition("/relay,")[0]
        helpers = [pid for pid in processes_naming(mark) if pid != qemu]
        assert helpers
        os.kill(process.pid if victim == "imgforge" else qemu, signal.SIGKILL)
        deadline = time.monotonic() + 2
        while (left := processes_naming(mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == []
        process.wait(20)


def test_a_guest_that_must_bring_a_token_is_refused_without_one(guest: Guest, disk: Path) -> None:
    spec = machine_spec(guest, disk, "meta meta-data/ami-id && echo let in\n" + _END)
    options = MetadataOptions(http_tokens=HttpTokens.REQUIRED)
    spec = replace(spec, instance=replace(spec.instance, options=options))
    events = asyncio.run(asyncio.wait_for(boot(spec), 120))
    assert "let in" not in lines(events)
    assert [e.request.status for e in events if isinstance(e, MetadataAsked)] == [401]
