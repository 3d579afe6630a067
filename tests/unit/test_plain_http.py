"""The uploader's own HTTP: what an endpoint answers, right, cut short, or no HTTP at all."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore import exceptions as boto
from botocore.awsrequest import AWSRequest

from imgforge.ec2.plain_http import BlockAnswer, OtherHttpError, PlainHttp

GOOD = b"HTTP/1.1 201 Created\r\nX-Amz-Checksum: abc=\r\nContent-Length: 4\r\n\r\nbody"


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Give an URL that answers connection after connection so, each closed then; and what came."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for one in answers:
                end, _ = listener.accept()
                with end:
                    end.settimeout(10)
                    for piece in one.split(b"<next>"):
                        came.append(end.recv(2**16))
                        end.sendall(piece)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", came
        thread.join(10)


def send(plain: PlainHttp, url: str, data: bytes = b"data") -> BlockAnswer:
    return plain.send(AWSRequest("PUT", f"{url}/a/1?q=2", headers={"A": "b"}, data=data))


def test_a_request_goes_out_and_its_answer_is_read() -> None:
    with answering(GOOD) as (url, came):
        found = send(PlainHttp(url, timeout_s=10), url)
    assert (found.status, found.body) == (201, b"body")
    assert found.headers["x-amz-checksum"] == "abc="
    head, _, body = came[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"PUT /a/1?q=2 HTTP/1.1",
        b"Host: " + url.removeprefix("http://").encode(),
        b"Content-Length: 4",
        b"A: b",
    ]
    assert body == b"data"


def test_a_connection_is_used_again_and_a_closed_one_replaced() -> None:
    with answering(GOOD + b"<next>" + GOOD, GOOD) as (url, came):
        plain = PlainHttp(url, timeout_s=10)
        for _ in range(3):
            assert send(plain, url).body == b"body"
    assert len(came) == 3


@pytest.mark.parametrize("size", range(0, len(GOOD), 7))
def test_an_answer_that_is_cut_is_a_closed_connection(size: int) -> None:
    with (
        answering(GOOD[:size]) as (url, _),
        pytest.raises(boto.ConnectionClosedError),
    ):
        send(PlainHttp(url, timeout_s=10), url)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 20\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"x" * 2**18,
    ],
)
def test_an_answer_of_another_form_is_left_to_whoever_knows_all_of_http(answer: bytes) -> None:
    with answering(answer) as (url, _), pytest.raises(OtherHttpError):
        send(PlainHttp(url, timeout_s=10), url)


def test_silence_ends_and_nobody_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(boto.ReadTimeoutError):
            send(PlainHttp(url, timeout_s=1), url)
    with pytest.raises(boto.EndpointConnectionError):
        send(PlainHttp(url, timeout_s=1), url)
