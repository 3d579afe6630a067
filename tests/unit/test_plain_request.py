"""Which heads of requests are plain enough to be read in one go."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgforge.ec2.local.plain_request import read_plain_head

PUT = b"PUT /snapshots/snap-1/blocks/7 HTTP/1.1\r\n"
HOST = b"Host: 127.0.0.1:80\r\n"


def test_a_plain_head_is_taken_apart() -> None:
    head = read_plain_head(PUT + HOST + b"x-amz-Checksum: a=\r\nContent-Length:\t12 \r\n\r\n")
    assert head is not None
    assert (head.method, head.target) == ("PUT", "/snapshots/snap-1/blocks/7")
    assert head.headers == {
        "host": "127.0.0.1:80",
        "x-amz-checksum": "a=",
        "content-length": "12",
    }
    assert head.size_bytes == 12


def test_a_query_stays_as_it_was_sent() -> None:
    head = read_plain_head(
        b"GET /snapshots/s/blocks/1?blockToken=a%2Bb== HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert head is not None
    assert head.target == "/snapshots/s/blocks/1?blockToken=a%2Bb=="
    assert head.size_bytes == 0


@pytest.mark.parametrize(
    "head",
    [
        b"",
        PUT,
        PUT + b"\r\n",
        PUT + HOST,
        PUT + HOST + b"\r\nmore",
        PUT + b"Content-Length: 1\r\n\r\n",
        PUT.replace(b"/1.1", b"/1.0") + HOST + b"\r\n",
        PUT.replace(b"PUT", b"put") + HOST + b"\r\n",
        PUT.replace(b"PUT", b"POST") + HOST + b"\r\n",
        PUT.replace(b"/snapshots", b"/bucket") + HOST + b"\r\n",
        PUT.replace(b"/snapshots", b"http://x/snapshots") + HOST + b"\r\n",
        PUT.replace(b"snap-1", b"snap 1") + HOST + b"\r\n",
        PUT.replace(b"snap-1", b"snap\xff") + HOST + b"\r\n",
        PUT.replace(b"\r", b"") + HOST + b"\r\n",
        PUT + HOST + HOST + b"\r\n",
        PUT + HOST + b"Content-Length: 1\r\ncontent-length: 2\r\n\r\n",
        *(
            PUT + HOST + b"Content-Length: " + length + b"\r\n\r\n"
            for length in (b"", b"-1", b"+1", b"0x1", b"1,1", b"1 1", b"9" * 10, b"9" * 5000)
        ),
        PUT + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        PUT + HOST + b"Expect: 100-continue\r\n\r\n",
        PUT + HOST + b"Connection: close\r\n\r\n",
        PUT + HOST + b"a\r\n\r\n",
        PUT + HOST + b"a : b\r\n\r\n",
        PUT + HOST + b"a: b\r\n c\r\n\r\n",
        PUT + HOST + b"a: b\nc: d\r\n\r\n",
        PUT + HOST + b"a: b\rc: d\r\n\r\n",
        PUT + HOST + b"a: \x00\r\n\r\n",
        PUT + HOST + b"a: \xe4\r\n\r\n",
        PUT + HOST + b"\xe4: a\r\n\r\n",
    ],
    ids=lambda head: repr(head)[:60],
)
def test_any_other_head_is_left_to_the_server(head: bytes) -> None:
    assert read_plain_head(head) is None


@given(st.binary(max_size=300))
@example(PUT + HOST + b"a:" * 5000)
def test_no_head_is_too_odd(rest: bytes) -> None:
    for head in (rest, PUT + rest, PUT + HOST + rest + b"\r\n\r\n"):
        found = read_plain_head(head)
        assert found is None or found.size_bytes >= 0
