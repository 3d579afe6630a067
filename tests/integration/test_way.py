"""The way in on this host: what is tried and told, and the sockets of a namespace."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imgforge.errors import HostError
from imgforge.machine.gate import Gate
from imgforge.machine.way import enter_command, probe_namespace

_ASK = "from imgforge.machine import choose_way; c = choose_way(); print(c.way, c.reason)"
_INNER_PORT = 7000


def ask(*before: str, path: str = "") -> str:
    """Return which way a new process takes, and why."""
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    environment.pop("IMGFORGE_METADATA_WAY", None)
    words = [*before, sys.executable, "-c", _ASK]
    return subprocess.run(words, env=environment, capture_output=True, check=True, text=True).stdout


def test_where_unshare_is_refused_guestfwd_is_taken_and_the_reason_told(tmp_path: Path) -> None:
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    told = ask(path=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert told.startswith("guestfwd ")
    assert "unshare: Operation not permitted" in told


def test_where_the_kernel_forbids_network_namespaces_guestfwd_is_taken() -> None:
    limit = 'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"'
    before = ("unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh")
    if subprocess.run([*before, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespace on this host, in which to forbid another")
    assert ask(*before).startswith("guestfwd ")


@pytest.fixture
def works() -> None:
    if refused := probe_namespace():
        pytest.skip(f"no network namespace on this host: {refused}")


@asynccontextmanager
async def inside() -> AsyncIterator[tuple[Gate, "subprocess.Popen[bytes]"]]:
    """Give the gate of a namespace in which `sleep` plays QEMU."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = _start(theirs.fileno())
    gate = Gate(ours)
    try:
        yield gate, process
    finally:
        process.kill()
        gate.close()
        await asyncio.to_thread(process.wait, 10)


def _start(wire: int) -> "subprocess.Popen[bytes]":
    words = [*enter_command(), str(wire), "/bin/sleep", "1000"]
    return subprocess.Popen(words, pass_fds=(wire,), start_new_session=True)


def _group(leader: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.usefixtures("works")
def test_the_metadata_address_is_listened_on_in_the_namespace_and_not_out_here() -> None:
    async def scenario() -> bytes:
        async with inside() as (gate, _):
            listener = await gate.take_listener()
            assert listener.getsockname() == ("169.254.169.254", 80)
            visitor = await gate.take_socket()
            loop = asyncio.get_running_loop()
            await loop.sock_connect(visitor, ("169.254.169.254", 80))
            answerer, address = await loop.sock_accept(listener)
            assert address[0] == "169.254.169.254"
            stranger = await gate.take_socket()
            with pytest.raises(OSError, match="unreachable"):
                await loop.sock_connect(stranger, ("192.0.2.1", 80))
            await loop.sock_sendall(answerer, b"hello")
            said = await loop.sock_recv(visitor, 5)
            for made in (listener, visitor, answerer, stranger):
                made.close()
            return said

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == b"hello"


@pytest.mark.usefixtures("works")
def test_a_port_out_here_leads_to_one_in_the_namespace_both_ways_to_the_end() -> None:
    size_bytes = 300_000

    async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())  # half-closed: there is an end
        await writer.drain()
        writer.close()

    async def scenario() -> list[int]:
        async with inside() as (gate, _):
            (await gate.take_listener()).close()
            inner = await gate.take_socket()
            inner.bind(("127.0.0.1", _INNER_PORT))
            async with await asyncio.start_server(mirror, sock=inner):
                port = await gate.open_port(_INNER_PORT)

                async def visit() -> int:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(os.urandom(size_bytes))
                    writer.write_eof()
                    echoed = await reader.read()
                    writer.close()
                    return len(echoed)

                return await asyncio.gather(*(visit() for _ in range(20)))

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == [size_bytes] * 20


@pytest.mark.usefixtures("works")
def test_a_port_that_leads_to_nothing_closes_and_the_next_visitor_is_served() -> None:
    async def scenario() -> bytes:
        async with inside() as (gate, _):
            (await gate.take_listener()).close()
            port = await gate.open_port(_INNER_PORT)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            said = await reader.read()
            writer.close()
            return said + await (await asyncio.open_connection("127.0.0.1", port))[0].read()

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == b""


@pytest.mark.usefixtures("works")
def test_nothing_is_left_in_the_namespace_once_the_program_and_we_are_gone() -> None:
    async def scenario() -> int:
        async with inside() as (gate, process):
            (await gate.take_listener()).close()
            (await gate.take_socket()).close()
            assert len(_group(process.pid)) == 2
            return process.pid

    leader = asyncio.run(asyncio.wait_for(scenario(), 60))
    deadline = time.monotonic() + 5
    while (left := _group(leader)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


@pytest.mark.usefixtures("works")
def test_a_namespace_that_is_gone_is_told() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        gate = Gate(ours)
        with pytest.raises(HostError, match="Network namespace"):
            await gate.take_listener()
        with pytest.raises(HostError, match="Network namespace"):
            await gate.take_socket()
        gate.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
