"""The metadata service on its socket, and the relay that guests reach it through."""

import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.metadata import (
    Cut,
    Fault,
    Faults,
    Instance,
    MetadataOptions,
    MetadataRequest,
    MetadataService,
)
from imgforge.metadata.connection import HEAD_LIMIT_BYTES
from imgforge.metadata.wire import Wire

INSTANCE = Instance(
    "i-0123456789abcdef0",
    "ami-0123456789abcdef0",
    public_keys={"key": "ssh-ed25519 AAAA me"},
    user_data=b"x" * 16384,
)
RELAY = Path(__file__).parents[2] / "imgforge/metadata/relay.py"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def serving(
    folder: Path, scenario: Callable[[MetadataService], Awaitable[None]]
) -> list[MetadataRequest]:
    """Serve while `scenario` runs; return what was asked. Nothing may fail behind its back."""
    requests: list[MetadataRequest] = []
    failures: list[object] = []

    async def session() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        async with MetadataService(
            INSTANCE, folder=folder, clock=lambda: 7.0, tell=requests.append
        ) as service:
            await scenario(service)

    asyncio.run(asyncio.wait_for(session(), 60))
    gc.collect()  # a task that failed tells so when it goes
    assert failures == []
    return requests


async def ask(service: MetadataService, data: bytes, *, half_close: bool = False) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(service.socket_path))
    writer.write(data)
    if half_close:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except (ConnectionResetError, BrokenPipeError):
        return b""
    finally:
        writer.close()


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 169.254.169.254", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_answers_as_ec2_does_and_notes_each_request(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        reply = await ask(service, request("/latest/meta-data/instance-id", "User-Agent: curl/8"))
        head, _, body = reply.partition(b"\r\n\r\n")
        assert body == b"i-0123456789abcdef0"
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Server: EC2ws" in head
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
        assert {b"date", b"last-modified", b"accept-ranges", b"content-length"} <= names
        assert b"connection: close" in head.lower()

    requests = serving(short_folder, scenario)
    assert requests[-1] == MetadataRequest(
        at_s=7.0,
        method="GET",
        path="/latest/meta-data/instance-id",
        version="latest",
        token=False,
        status=200,
        user_agent="curl/8",
        guest_address=INSTANCE.local_ipv4,
    )


def test_a_token_got_by_put_is_noted_where_it_is_used(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        reply = await ask(
            service,
            request("/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60", method="PUT"),
        )
        token = reply.partition(b"\r\n\r\n")[2].decode()
        await ask(service, request("/latest/user-data", f"X-aws-ec2-metadata-token: {token}"))

    requests = serving(short_folder, scenario)
    assert [(asked.method, asked.token, asked.status) for asked in requests] == [
        ("PUT", True, 200),
        ("GET", True, 200),
    ]


def test_a_client_that_half_closes_still_gets_its_answer(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        data = b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n"
        started = time.monotonic()
        reply = await ask(service, data, half_close=True)
        assert reply.endswith(b"x" * 16384)
        assert time.monotonic() - started < 3

    serving(short_folder, scenario)


HOSTILE = (
    b"",
    b"\r\n\r\n",
    b"\x00" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    request("/latest/meta-data/%00"),
    request("/latest/../../../etc/passwd"),
    request("/latest/%2e%2e/%2e%2e/etc/passwd"),
    request("/" + "a" * 60_000),
    request("/" + "/" * 60_000),
    request("/%ff%fe%e2%80%ae"),
    request("/?" + "&a=b" * 1000),
    request("*", method="OPTIONS"),
    request(
        "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 9" + "9" * 5000, method="PUT"
    ),
    request("/latest/meta-data/", "X-aws-ec2-metadata-token: \u20ac"),
    request("/", "Upgrade: websocket", "Connection: Upgrade"),
    request("/", "Content-Length: -1"),
    request("/", "Content-Length: 1", "Content-Length: 2"),
    request("/", "Transfer-Encoding: chunked") + b"zz\r\n",
    request("/", "X: " + "y" * 200_000),
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
    b"\xff" * 300_000,
)


def test_hostile_requests_get_an_answer_or_a_closed_connection_and_no_words_on_stderr(
    short_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario(service: MetadataService) -> None:
        for data in HOSTILE:
            reply = await ask(service, data, half_close=True)
            assert reply[:9] in {b"", b"HTTP/1.1 "}, data[:80]
            assert not reply.startswith(b"HTTP/1.1 5"), data[:80]
        alive = await ask(service, request("/latest/meta-data/ami-id"))
        assert alive.endswith(b"ami-0123456789abcdef0")

    requests = serving(short_folder, scenario)
    assert all(asked.path.isprintable() and len(asked.path) <= 1024 for asked in requests)
    json.dumps([asked.path for asked in requests])
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_an_answer_ends_its_connection_though_the_body_asked_with_has_not_come(
    short_folder: Path,
) -> None:
    async def scenario(service: MetadataService) -> None:
        reader, writer = await asyncio.open_unix_connection(str(service.socket_path))
        writer.write(b"GET /latest/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        reply = await asyncio.wait_for(reader.read(), 10)
        assert reply.endswith(b"user-data")
        with contextlib.suppress(BrokenPipeError):
            writer.write(b"zz\r\n")
            writer.close()

    serving(short_folder, scenario)


def test_half_a_request_keeps_nobody_else_waiting_nor_the_end(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        held = [await asyncio.open_unix_connection(str(service.socket_path)) for _ in range(30)]
        for _, writer in held:
            writer.write(b"GET /latest/meta-data/ HT")
        reply = await ask(service, request("/latest/meta-data/ami-id"))
        assert reply.endswith(b"ami-0123456789abcdef0")

    started = time.monotonic()
    serving(short_folder, scenario)
    assert time.monotonic() - started < 3


def test_whoever_holds_connections_open_keeps_nobody_out(short_folder: Path) -> None:
    """The oldest of those that have asked for nothing yet goes: a slow loris among them."""

    async def scenario(service: MetadataService) -> None:
        path = str(service.socket_path)
        held = []
        for number in range(300):
            held.append(await asyncio.open_unix_connection(path))
            held[-1][1].write(b"GET /latest/meta-data/ HTTP/1.1\r\nX: ")
            if number % 50 == 0:
                reply = await ask(service, request("/latest/meta-data/ami-id"))
                assert reply.endswith(b"ami-0123456789abcdef0")
        for reader, _ in held[:236]:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert len(service.connections) <= 64
        for _, writer in held:
            writer.close()

    serving(short_folder, scenario)


OLD = b"GET /latest/meta-data/ami-id HTTP/1.0\r\n"
ASKED = b"GET /latest/meta-data/ami-id HTTP/1.1\r\nHost: x\r\n"
ANSWERED = (
    pytest.param(OLD + b"\r\n", id="HTTP/1.0"),
    pytest.param(OLD + b"Connection: keep-alive\r\n\r\n", id="HTTP/1.0, keep-alive"),
    pytest.param(ASKED + b"Connection: keep-alive\r\n\r\n", id="keep-alive"),
    pytest.param((ASKED + b"\r\n") * 3, id="pipelined"),
    pytest.param(ASKED + b"Content-Length: 3\r\n\r\nabc", id="a body"),
    pytest.param(ASKED + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", id="chunks"),
    pytest.param(ASKED + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="chunks that are none"),
    pytest.param(ASKED + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n", id="Expect"),
    pytest.param(
        b"GET http://169.254.169.254/latest/meta-data/ami-id HTTP/1.1\r\nHost: x\r\n\r\n",
        id="an absolute form",
    ),
)


@pytest.mark.parametrize("data", ANSWERED)
def test_a_request_in_any_form_gets_one_answer_and_its_end(short_folder: Path, data: bytes) -> None:
    async def scenario(service: MetadataService) -> None:
        reply = await ask(service, data)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert reply.count(b"HTTP/1.1") == 1
        assert b"\r\nConnection: close\r\n" in reply
        assert reply.endswith(b"\r\n\r\nami-0123456789abcdef0")

    (asked,) = serving(short_folder, scenario)
    assert (asked.path, asked.version) == ("/latest/meta-data/ami-id", "latest")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: 1, 2\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Host: y\r\n",
        b"X-Folded: a\r\nb\r\n",
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_refused(
    short_folder: Path, headers: bytes
) -> None:
    async def scenario(service: MetadataService) -> None:
        reply = await ask(service, ASKED + headers + b"\r\nab")
        assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"\r\nServer: EC2ws\r\n" in reply
        assert b"\r\nDate: " in reply
        assert b"<h1>400 - Bad Request</h1>" in reply

    (asked,) = serving(short_folder, scenario)
    assert (asked.method, asked.status) == ("GET", 400)
    assert asked.path == "/latest/meta-data/ami-id"


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\n\n", ("", "")),
        (b"\r\n\r\n", ("", "")),
        (b"GET\r\n\r\n", ("GET", "")),
        (b"GET /latest/?x y HTTP/1.1\r\n\r\n", ("GET", "/latest/")),
        (b"PUT /a\x00b HTTP/1.1\r\n\r\n", ("PUT", "/a")),
        (b"GET http://x/latest/ HTTP/9\r\n\r\n", ("GET", "/latest/")),
        (b"GET /" + b"a" * 100_000, ("GET", "/" + "a" * 1023)),
    ],
)
def test_what_is_not_http_is_in_the_record_as_far_as_it_was_read(
    short_folder: Path, data: bytes, read: tuple[str, str]
) -> None:
    async def scenario(service: MetadataService) -> None:
        assert (await ask(service, data)).startswith(b"HTTP/1.1 400 Bad Request\r\n")

    (asked,) = serving(short_folder, scenario)
    assert (asked.method, asked.path, asked.status) == (*read, 400)


@pytest.mark.parametrize("body", [b"", b"x" * 100_000])
@pytest.mark.parametrize(("over_bytes", "status"), [(-1, 200), (0, 200), (1, 400)])
def test_a_head_has_64_kib_and_not_a_byte_more(
    short_folder: Path, over_bytes: int, status: int, body: bytes
) -> None:
    begun = ASKED + f"Content-Length: {len(body)}\r\nX: ".encode()
    head = begun + b"y" * (HEAD_LIMIT_BYTES + over_bytes - len(begun) - 4) + b"\r\n\r\n"
    assert len(head) == 65536 + over_bytes

    async def scenario(service: MetadataService) -> None:
        assert (await ask(service, head + body))[9:12] == str(status).encode()

    serving(short_folder, scenario)


def test_those_a_fault_holds_take_no_place_of_others(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        path = str(service.socket_path)
        held = []
        for _ in range(100):
            held.append(await asyncio.open_unix_connection(path))
            held[-1][1].write(request("/latest/user-data"))
        for _ in range(5):
            reply = await ask(service, request("/latest/meta-data/ami-id"))
            assert reply.endswith(b"ami-0123456789abcdef0")
        for _, writer in held:
            writer.close()

    async def session() -> None:
        async with MetadataService(
            INSTANCE,
            folder=short_folder,
            clock=lambda: 7.0,
            tell=lambda _: None,
            faults=Faults([Fault("/user-data", cut=Cut.SILENT)]),
        ) as service:
            await scenario(service)

    asyncio.run(asyncio.wait_for(session(), 60))


@pytest.fixture
def many_sockets() -> Iterator[None]:
    """Let this process hold as many sockets as it may, not the 1024 that shells begin with."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.usefixtures("many_sockets")
def test_a_newcomer_among_thousands_has_time_to_ask(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        await service.listen(listener)
        held = []
        for number in range(1000):
            wire = socket.socket()
            wire.setblocking(False)
            wire.connect_ex(listener.getsockname())
            held.append(wire)
            if number % 100 == 99:
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                await asyncio.sleep(0)
                writer.write(request("/latest/meta-data/ami-id"))
                reply = await asyncio.wait_for(reader.read(), 30)
                assert reply.endswith(b"ami-0123456789abcdef0")
                writer.close()
        for wire in held:
            wire.close()

    serving(short_folder, scenario)


def test_the_answer_is_not_lost_over_the_body_that_is_still_coming(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        await service.listen(listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(
            b"PUT /latest/user-data HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        for _ in range(10):
            writer.write(b"x" * 1000)
            await writer.drain()
        assert head.startswith(b"HTTP/1.1 405 ")
        assert await reader.read() == b""
        assert len(service.connections) == 1
        writer.close()

    serving(short_folder, scenario)


def test_a_request_comes_byte_by_byte(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        reader, writer = await asyncio.open_unix_connection(str(service.socket_path))
        for byte in ASKED + b"\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await reader.read()).endswith(b"ami-0123456789abcdef0")
        writer.close()

    serving(short_folder, scenario)


def test_what_a_client_does_not_take_at_once_goes_out_in_the_background() -> None:
    data = os.urandom(4_000_000)  # more than a socket holds

    async def scenario() -> bytes:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        wire = Wire(ours, Deaf())
        wire.begin()
        wire.write(data[:3_000_000])
        wire.write(data[3_000_000:])
        wire.close()
        assert ours.fileno() >= 0
        with theirs:
            pieces = await asyncio.to_thread(lambda: list(iter(lambda: theirs.recv(65536), b"")))
        return b"".join(pieces)

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == data


class Deaf:
    """Reads a wire, and keeps nothing."""

    def received(self, data: bytes) -> None:
        pass

    def ended(self) -> None:
        pass

    def lost(self) -> None:
        pass


def test_where_there_is_no_room_for_a_connection_it_is_accepted_later(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        client = socket.socket(socket.AF_UNIX)
        held = [os.dup(0)]  # the lowest that is free: then none is, below the limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 1, hard))
        try:
            client.connect(str(service.socket_path))
            client.sendall(request("/latest/meta-data/ami-id"))
            await asyncio.sleep(0.1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in held:
                os.close(descriptor)
        client.settimeout(20)
        reply = await asyncio.to_thread(client.recv, 65536)
        assert reply.endswith(b"ami-0123456789abcdef0")
        client.close()

    serving(short_folder, scenario)


def test_another_instance_is_told_from_the_next_request_on(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        service.instance = replace(INSTANCE, rebalance_notice_time="2020-11-05T08:22:00Z")
        path = "/latest/meta-data/events/recommendations/rebalance"
        assert (await ask(service, request(path))).endswith(b'"2020-11-05T08:22:00Z"}')
        assert service.instance.rebalance_notice_time

    serving(short_folder, scenario)


def test_a_token_goes_as_many_hops_as_the_options_say_and_other_answers_go_on(
    short_folder: Path,
) -> None:
    """Looked at in our own end of a TCP connection, just before its answer is decided."""
    hops: list[int] = []
    requests: list[MetadataRequest] = []

    async def scenario(listener: socket.socket) -> None:
        class Look(Faults):
            def meet(self, path: str, *, method: str = "GET", at_s: float = 0.0) -> None:
                (connection,) = service.connections._open
                hops.append(connection.wire.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))

        async with MetadataService(
            replace(INSTANCE, options=MetadataOptions(http_put_response_hop_limit=3)),
            folder=short_folder,
            clock=lambda: 7.0,
            tell=requests.append,
            faults=Look(),
        ) as service:
            await service.listen(listener)
            for method in ("GET", "PUT"):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(request("/latest/api/token", method=method))
                await reader.read()
                writer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(asyncio.wait_for(scenario(listener), 30))
    assert hops[0] > 3
    assert hops[1] == 3
    assert [asked.guest_address for asked in requests] == ["127.0.0.1"] * 2


def test_signals_stay_with_whoever_had_them(short_folder: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    async def scenario(service: MetadataService) -> None:
        assert signal.getsignal(signal.SIGTERM) == before[1]
        await ask(service, request("/"))

    serving(short_folder, scenario)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def start(words: list[str], guests_end: socket.socket) -> subprocess.Popen[bytes]:
    """Start a program as slirp does: one socket as stdin, stdout and stderr."""
    wire = guests_end.fileno()
    process = subprocess.Popen(
        words, stdin=wire, stdout=wire, stderr=wire, start_new_session=True, text=False
    )
    guests_end.close()
    return process


def start_launcher(service: MetadataService, guests_end: socket.socket) -> subprocess.Popen[bytes]:
    return start(["/bin/sh", str(service.launcher)], guests_end)


def start_relay(socket_path: Path, guests_end: socket.socket) -> subprocess.Popen[bytes]:
    return start([sys.executable, "-I", "-S", str(RELAY), str(socket_path)], guests_end)


def test_the_relay_carries_a_half_closed_request_and_ends(short_folder: Path) -> None:
    async def scenario(service: MetadataService) -> None:
        ours, guests = socket.socketpair()
        relay = start_launcher(service, guests)
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write_eof()
        reply = await asyncio.wait_for(reader.read(), 10)
        assert reply.endswith(b"x" * 16384)
        assert await asyncio.to_thread(relay.wait, 5) == 0
        writer.close()

    serving(short_folder, scenario)


@pytest.mark.parametrize("said", [b"", b"GET /latest/met"])
def test_the_relay_ends_when_the_guests_side_is_gone(short_folder: Path, said: bytes) -> None:
    async def scenario(service: MetadataService) -> None:
        ours, guests = socket.socketpair()
        relay = start_launcher(service, guests)
        ours.sendall(said)
        await asyncio.sleep(0.3)
        ours.close()
        await asyncio.to_thread(relay.wait, 5)

    serving(short_folder, scenario)


def test_the_relay_ends_when_a_half_closed_guest_is_gone(short_folder: Path) -> None:
    """A service that never answers: only the guest's end can end the relay."""
    path = short_folder / "mute"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        ours, guests = socket.socketpair()
        relay = start_relay(path, guests)
        accepted, _ = listener.accept()
        ours.shutdown(socket.SHUT_WR)
        assert accepted.recv(10) == b""
        ours.close()
        relay.wait(5)
        accepted.close()


def test_the_relay_ends_when_the_service_is_gone(short_folder: Path) -> None:
    path = short_folder / "killed"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        ours, guests = socket.socketpair()
        relay = start_relay(path, guests)
        accepted, _ = listener.accept()
        accepted.close()
        relay.wait(5)
        assert ours.recv(10) == b""
        ours.close()


def test_the_relay_without_a_service_says_nothing_to_the_guest(short_folder: Path) -> None:
    ours, guests = socket.socketpair()
    relay = start_relay(short_folder / "none", guests)
    relay.wait(5)
    assert ours.recv(10) == b""
    ours.close()
