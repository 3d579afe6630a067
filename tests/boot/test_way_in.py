"""The way from a guest to its metadata service, and that it leads nowhere else.

imgforge runs in a network namespace here that plays the host: with a 169.254.169.254 of its own,
as on EC2, and a service on its loopback.
"""

import asyncio
import json
import os
import pickle
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgforge.machine import MachineSpec, MetadataWay
from imgforge.machine.gate import Gate
from imgforge.machine.way import enter_command, probe_namespace
from tests.boot.test_machine_guest import Guest, disk, guest, machine_spec

__all__ = ["disk", "guest"]
pytestmark = pytest.mark.boot

_LIMIT_S = 200.0
_REQUESTS = 50
_RUNNER = """
import asyncio, json, pickle, sys
from imgforge.machine import *

async def main():
    spec = pickle.load(sys.stdin.buffer)
    async with start_machine(spec) as machine:
        async for event in machine.events():
            if isinstance(event, ConsoleLine):
                print(json.dumps(event.text), flush=True)

asyncio.run(main())
"""
_END = "poweroff -f\n"
_ADDRESS = "169.254.169.254"


def _start(wire: int, way: MetadataWay) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*enter_command(), str(wire), sys.executable, "-c", _RUNNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(wire,),
        env={**os.environ, "IMGFORGE_METADATA_WAY": way},
    )


class Host:
    """A network namespace that plays the host: what was reached in it, by name."""

    def __init__(self) -> None:
        self.reached: Counter[str] = Counter()
        self.port = 0

    async def run(self, spec: MachineSpec, way: MetadataWay) -> list[str]:
        """Boot a machine in there; return what its console showed."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = _start(theirs.fileno(), way)
        gate = Gate(ours)
        with process:
            try:
                return await self._run(gate, process, spec)
            finally:
                process.kill()
                gate.close()

    async def _run(
        self, gate: Gate, process: "subprocess.Popen[bytes]", spec: MachineSpec
    ) -> list[str]:
        metadata = await gate.take_listener()
        loopback = await gate.take_socket()
        loopback.bind(("127.0.0.1", self.port))
        with self._counted(metadata, "the host's metadata"), self._counted(loopback, "loopback"):
            out, _ = await asyncio.to_thread(
                process.communicate, pickle.dumps(spec), timeout=_LIMIT_S
            )
        return [json.loads(line) for line in out.decode().splitlines()]

    @contextmanager
    def _counted(self, listener: socket.socket, name: str) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        listener.listen()

        def note() -> None:
            self.reached[name] += 1
            listener.accept()[0].close()

        loop.add_reader(listener, note)
        try:
            yield
        finally:
            loop.remove_reader(listener)
            listener.close()


@pytest.fixture
def around() -> Host:
    if refused := probe_namespace():
        pytest.skip(f"no network namespace on this host: {refused}")
    host = Host()
    host.port = 8080
    return host


def boot_in(around: Host, spec: MachineSpec, way: MetadataWay) -> list[str]:
    return asyncio.run(asyncio.wait_for(around.run(spec, way), _LIMIT_S + 20))


def requests(spec: MachineSpec) -> list[dict[str, object]]:
    text = (spec.folder / "metadata.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("way", MetadataWay)
def test_a_guest_comes_to_its_metadata_and_nowhere_else(
    around: Host, guest: Guest, disk: Path, way: MetadataWay
) -> None:
    places = [
        ("172.31.0.1", around.port, "the router"),
        ("172.31.0.1", 80, "the router's port 80"),
        ("172.31.0.2", 53, "the DNS server"),
        (_ADDRESS, around.port, "another port"),
        (_ADDRESS, 22, "port 22"),
        ("10.0.2.2", around.port, "slirp's usual host"),
        ("127.0.0.1", around.port, "itself"),
        ("172.17.0.1", around.port, "a host's bridge"),
        ("1.1.1.1", 53, "the world"),
    ]
    script = (
        f"for n in $(seq {_REQUESTS}); do\n"
        f"  wget -q -U agent-$n -O /answer-$n http://{_ADDRESS}/latest/meta-data/instance-id &\n"
        "done\nwait\n"
        'echo "answered $(grep -l "^i-0123456789abcdef0$" /answer-* | wc -l)"\n'
        f"ip route add 169.254.0.0/16 dev eth0\nip route get {_ADDRESS}\n"
        "echo zeroconf $(meta meta-data/ami-id)\n"
        "ip route del 169.254.0.0/16\nip route add default via 172.31.0.1\n"
        + "".join(f'reach {where} {port} "{name}"\n' for where, port, name in places)
        + "nslookup imgforge.example 172.31.0.2 >/dev/null && echo resolved || echo no DNS\n"
    )
    spec = machine_spec(guest, disk, script + _END)
    shown = boot_in(around, spec, way)
    assert f"answered {_REQUESTS}" in shown, shown
    assert "zeroconf ami-0123456789abcdef0" in shown
    for _, _, name in places:
        assert f"no way to {name}" in shown, shown
    assert "no DNS" in shown
    assert around.reached == Counter()
    agents = Counter(request["user_agent"] for request in requests(spec))
    assert all(agents[f"agent-{number}"] == 1 for number in range(1, _REQUESTS + 1))
    assert {request["guest_address"] for request in requests(spec)} == {"172.31.16.15"}
    router = "172.31.0.1" if way is MetadataWay.NAMESPACE else ""
    assert f"dhcp 172.31.16.15 {router}." in shown
