"""Faults of the metadata service, as clients meet them over TCP."""

import asyncio
import http.client
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from imgforge.metadata import (
    Cut,
    Fault,
    Faults,
    Instance,
    MetadataRequest,
    MetadataService,
    RequestRecord,
    Secrets,
    Tokens,
)

USER_DATA = b"x" * 4000
INSTANCE = Instance("i-0123456789abcdef0", "ami-0123456789abcdef0", user_data=USER_DATA)
PATH = "/latest/user-data"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"


@dataclass
class Served:
    """A service that is served in another thread's event loop while a client asks it."""

    port: int
    faults: Faults
    tokens: Tokens
    at_s: float = 0.0
    requests: list[MetadataRequest] = field(default_factory=list)

    def ask(
        self, path: str = PATH, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def token(self, ttl_s: int) -> tuple[str, dict[str, str]]:
        status, body = self.ask("/latest/api/token", method="PUT", headers={TTL: str(ttl_s)})
        assert status == 200
        return body.decode(), {"X-aws-ec2-metadata-token": body.decode()}


class Broken(Faults):
    def meet(self, path: str, *, method: str = "GET", at_s: float = 0.0) -> None:
        raise ZeroDivisionError(path)


def test_what_fails_while_answering_is_a_500_of_ec2_in_the_record_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def scenario(served: Served) -> None:
        for _ in range(3):
            status, body = served.ask()
            assert status == 500
            assert b"<h1>500 - Internal Server Error</h1>" in body
            assert b"ZeroDivision" not in body

    requests = serving([], scenario, kind=Broken)
    assert [asked.status for asked in requests] == [500] * 3
    assert caplog.text.count("ZeroDivisionError") == 1


def test_whoever_cannot_record_a_request_keeps_nobody_from_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        def tell(_: MetadataRequest) -> None:
            raise OSError("no space left")

        listener = socket.create_server(("127.0.0.1", 0))
        async with MetadataService(INSTANCE, clock=lambda: 0.0, tell=tell) as service:
            await service.listen(listener)
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 200")
                writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert caplog.text.count("no space left") == 1


def serving(
    faults: Iterable[Fault], scenario: Callable[[Served], None], *, kind: type[Faults] = Faults
) -> list[MetadataRequest]:
    """Serve while `scenario` runs; return what was asked. Nothing may fail behind its back."""
    failures: list[object] = []

    async def session(listener: socket.socket) -> Served:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        tokens = Tokens()
        served = Served(listener.getsockname()[1], kind(faults), tokens)
        async with MetadataService(
            INSTANCE,
            clock=lambda: served.at_s,
            tell=served.requests.append,
            secrets=Secrets(tokens),
            faults=served.faults,
        ) as service:
            await service.listen(listener)
            await asyncio.to_thread(scenario, served)
        return served

    listener = socket.create_server(("127.0.0.1", 0))
    served = asyncio.run(asyncio.wait_for(session(listener), 60))
    assert failures == []
    return served.requests


def test_503_twice_and_then_the_right_answer() -> None:
    def scenario(served: Served) -> None:
        answers = [served.ask() for _ in range(3)]
        assert [status for status, _ in answers] == [503, 503, 200]
        assert answers[-1][1] == USER_DATA

    requests = serving([Fault("/user-data", status=503, times=2)], scenario)
    assert [asked.fault for asked in requests] == ["status 503", "status 503", ""]
    assert RequestRecord.of(requests).fetched("user-data")


@pytest.mark.parametrize("status", [401, 404, 419, 420, 430, 499, 500, 509, 520, 599])
def test_each_status_comes_with_its_words(status: int) -> None:
    def scenario(served: Served) -> None:
        found, body = served.ask()
        assert found == status
        assert str(status).encode() in body

    (asked,) = serving([Fault("/", status=status)], scenario)
    assert asked.status == status


def test_only_the_put_of_the_token_fails() -> None:
    def scenario(served: Served) -> None:
        put = served.ask("/latest/api/token", method="PUT", headers={TTL: "60"})
        assert (put[0], served.ask()[0]) == (500, 200)

    serving([Fault("/", status=500, method="PUT")], scenario)


def test_a_late_start_refuses_connections_until_it_is_over() -> None:
    def scenario(served: Served) -> None:
        with pytest.raises(ConnectionResetError):
            served.ask()
        served.at_s = 5.0
        assert served.ask() == (200, USER_DATA)

    requests = serving([Fault("/", cut=Cut.REFUSED, until_s=5)], scenario)
    assert [(asked.status, asked.cut) for asked in requests] == [(0, "refused"), (200, "")]


@pytest.mark.parametrize(
    ("cut", "seen"),
    [(Cut.CLOSED, http.client.IncompleteRead), (Cut.RESET, ConnectionResetError)],
)
def test_a_connection_is_cut_in_the_middle_of_the_body(cut: Cut, seen: type[Exception]) -> None:
    def scenario(served: Served) -> None:
        with pytest.raises(seen) as failure:
            served.ask()
        if isinstance(failure.value, http.client.IncompleteRead):
            assert failure.value.partial == USER_DATA[:2000]
        assert served.ask() == (200, USER_DATA)

    requests = serving([Fault("/", cut=cut, times=1)], scenario)
    assert [asked.status for asked in requests] == [200, 200]
    assert not RequestRecord.of(requests[:1]).fetched("user-data")


def test_silence_lasts_until_the_client_gives_up() -> None:
    def scenario(served: Served) -> None:
        with socket.create_connection(("127.0.0.1", served.port), timeout=0.5) as wire:
            wire.sendall(b"GET /latest/ HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(TimeoutError):
                wire.recv(1)
        assert served.ask()[0] == 200

    requests = serving([Fault("/", cut=Cut.SILENT, times=1)], scenario)
    assert [asked.status for asked in requests] == [0, 200]


def test_a_slow_body_comes_whole_and_slowly_while_others_are_answered() -> None:
    def scenario(served: Served) -> None:
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as wire:
            wire.sendall(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n")
            began = time.monotonic()
            head = wire.recv(65536)
            assert head.startswith(b"HTTP/1.1 200")
            assert served.ask("/latest/meta-data/ami-id")[0] == 200
            content = head + b"".join(iter(lambda: wire.recv(65536), b""))
            assert content.endswith(USER_DATA)
            assert time.monotonic() - began >= 0.9

    serving([Fault("/user-data", bytes_per_s=4000)], scenario)


def test_a_delay_comes_before_the_first_byte() -> None:
    def scenario(served: Served) -> None:
        began = time.monotonic()
        assert served.ask()[0] == 200
        assert time.monotonic() - began >= 0.5

    serving([Fault("/", delay_s=0.5)], scenario)


def test_a_request_whose_client_gave_up_over_a_delay_is_told() -> None:
    def scenario(served: Served) -> None:
        with socket.create_connection(("127.0.0.1", served.port)) as wire:
            wire.sendall(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n")
        ends = time.monotonic() + 20
        while not served.requests and time.monotonic() < ends:
            time.sleep(0.02)

    (asked,) = serving([Fault("/", delay_s=0.3)], scenario)
    assert (asked.status, asked.fault) == (200, "delay 0.3 s")


def test_a_status_that_http_has_no_words_for_is_sent() -> None:
    def scenario(served: Served) -> None:
        status, body = served.ask()
        assert (status, b"499 - Unknown" in body) == (499, True)

    serving([Fault("/", status=499)], scenario)


def test_a_token_dies_sooner_than_its_answer_told() -> None:
    def scenario(served: Served) -> None:
        _, header = served.token(21600)
        assert served.ask(headers=header)[0] == 200
        served.at_s = 6.0
        assert served.ask(headers=header)[0] == 401

    serving([Fault("/latest/api/token", token_ttl_s=5)], scenario)


def test_all_tokens_given_so_far_expire_at_once() -> None:
    def scenario(served: Served) -> None:
        before, old = served.token(60)
        assert served.ask(headers=old)[0] == 200
        served.tokens.expire()
        assert served.ask(headers=old)[0] == 401
        after, new = served.token(60)
        assert after != before
        assert served.ask(headers=new)[0] == 200

    serving([], scenario)
