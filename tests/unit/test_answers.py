"""What an endpoint answers: its form, its limits, and what stands in its place."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore import exceptions as boto
from hypothesis import given, settings
from hypothesis import strategies as st

from imgforge.ec2 import CloudWish, Credentials, open_cloud
from imgforge.ec2.answer_form import find_deformity
from imgforge.ec2.answer_limits import Head, StrangeAnswerError, check_answer
from imgforge.ec2.paging import MOST_EMPTY_PAGES, Patience
from imgforge.ec2.problem import explain
from imgforge.errors import CloudError, HostError

GOOD_XML = b'<?xml version="1.0"?>\n<DescribeImagesResponse xmlns="u"><imagesSet/>'
LOGIN = b"<!DOCTYPE html><html><body>Log in</body></html>"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def shape(service: str, action: str) -> Any:
    model = botocore.session.Session().get_service_model(service)
    return model.operation_model(action).output_shape


LIST = shape("ebs", "ListSnapshotBlocks")
IMAGES = shape("ec2", "DescribeImages")


def test_an_answer_of_its_form_is_taken() -> None:
    told = {"Blocks": [{"BlockIndex": 1, "BlockToken": "t"}], "VolumeSize": 1, "Unknown": object()}
    assert find_deformity(told, LIST) == ""
    assert find_deformity({**told, "ExpiryTime": datetime.now(UTC)}, LIST) == ""
    assert find_deformity({}, LIST) == ""


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"VolumeSize": float("nan")}, "VolumeSize"),
        ({"VolumeSize": "1"}, "VolumeSize"),
        ({"VolumeSize": True}, "VolumeSize"),
        ({"VolumeSize": 10**30}, "VolumeSize"),
        ({"BlockSize": 2**31}, "BlockSize"),
        ({"Blocks": {}}, "Blocks"),
        ({"Blocks": [None]}, "Blocks[0]"),
        ({"Blocks": [{}, {"BlockIndex": "abc"}]}, "Blocks[1].BlockIndex"),
        ({"NextToken": ["a"]}, "NextToken"),
        ({"ExpiryTime": datetime.min}, "ExpiryTime"),
        ([], "what it is"),
    ],
)
def test_a_member_of_another_type_is_named(told: Any, wrong: str) -> None:
    assert find_deformity(told, LIST) == wrong


@settings(max_examples=30, deadline=None)
@given(JSON)
def test_whatever_is_told_is_looked_at(told: Any) -> None:
    for one in (LIST, IMAGES):
        find_deformity(told, one)
        find_deformity({"Blocks": told, "Images": told}, one)


@pytest.mark.parametrize(
    ("status", "content", "service"),
    [
        (200, GOOD_XML, "ec2"),
        (200, b"<!-- c --><ns:DescribeImagesResponse>", "ec2"),
        (400, b"<Response><Errors>", "ec2"),
        (503, LOGIN, "ec2"),
        (200, b' {"Blocks": []}', "ebs"),
        (201, b"", "ebs"),
        (500, b"", "ebs"),
    ],
)
def test_an_answer_of_the_service_is_let_through(status: int, content: bytes, service: str) -> None:
    check_answer(Head(status, {}), content, service=service, action="DescribeImages")


@pytest.mark.parametrize(
    ("status", "content", "service", "found"),
    [
        (200, LOGIN, "ec2", "status 200 and text/html"),
        (200, b"", "ec2", "status 200 and text/html"),
        (200, b"<DescribeSnapshotsResponse/>", "ec2", "status 200"),
        (400, LOGIN, "ec2", "status 400"),
        (302, LOGIN, "ec2", "a redirection to http://x.example/[31m"),
        (100, b"", "ec2", "status 100"),
        (200, LOGIN, "ebs", "status 200 and text/html"),
        (200, b"[1]", "ebs", "status 200"),
        (407, LOGIN, "ebs", "status 407 and text/html"),
        (301, b"", "ebs", "a redirection to http://x.example/[31m"),
    ],
)
def test_what_the_service_does_not_answer_is_an_error(
    status: int, content: bytes, service: str, found: str
) -> None:
    headers = {"content-type": "text/html; charset=x", "location": "http://x.example/\x1b[31m"}
    with pytest.raises(StrangeAnswerError) as caught:
        check_answer(Head(status, headers), content, service=service, action="DescribeImages")
    assert found in str(caught.value)


@given(st.binary(max_size=200), st.integers(100, 999), st.sampled_from(["ec2", "ebs"]))
def test_no_answer_breaks_the_look_at_it(content: bytes, status: int, service: str) -> None:
    try:
        check_answer(Head(status, {}), content, service=service, action="X")
    except StrangeAnswerError as error:
        assert str(status) in str(error)  # noqa: PT017 (others pass)


def test_empty_pages_come_to_an_end() -> None:
    patience = Patience("Snapshot snap-1: the rest of its blocks", service="EBS")
    for number in range(3 * MOST_EMPTY_PAGES):
        patience.spend(is_empty=number % MOST_EMPTY_PAGES != 0)
    patience.spend(is_empty=False)
    for _ in range(MOST_EMPTY_PAGES):
        patience.spend(is_empty=True)
    with pytest.raises(CloudError, match=r"the rest of its blocks: .* empty pages in a row"):
        patience.spend(is_empty=True)


@contextmanager
def dripping(first: bytes, then: bytes) -> Iterator[str]:
    """Give the URL of who answers with `first`, and then with `then` a piece at a time, for ever.

    It does so until the other side hangs up.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    end, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=drip, args=(end,), daemon=True).start()

        def drip(end: socket.socket) -> None:
            with end:
                end.recv(2**16)
                try:
                    end.sendall(first)
                    end.settimeout(0.05)
                    while True:
                        end.sendall(then)
                        try:
                            if not end.recv(2**16):
                                return
                        except TimeoutError:
                            continue
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
@pytest.mark.parametrize("what", ["EC2", "EBS", "a block"])
def test_an_answer_that_drips_ends(
    first: bytes, then: bytes, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for module in ("answer_limits", "plain_http"):
        monkeypatch.setattr(f"imgforge.ec2.{module}.WHOLE_LIMIT_S", 0.3)
    monkeypatch.setattr("imgforge.ec2.cloud._SILENCE_LIMIT_S", 1)
    with dripping(first, then) as url:
        wish = CloudWish(url=url, credentials=Credentials("a", "b"))
        with open_cloud(wish, folder=tmp_path, attempts=1) as cloud:
            asking: dict[str, Callable[[], object]] = {
                "EC2": lambda: cloud.compute.images(),
                "EBS": lambda: list(cloud.blocks.list("snap-1")),
                "a block": lambda: cloud.blocks.put("snap-1", 0, b"x", sha256=bytes(32)),
            }
            with pytest.raises(HostError, match=r"waited for, and did not end within 0\.3 s"):
                asking[what]()


def hint_of(error: Exception, service: str = "EC2") -> tuple[str, str]:
    told = explain("Images", error, service=service)
    return str(told), told.hint


def test_a_region_that_is_none_is_named_where_its_host_is_not_there() -> None:
    error = boto.EndpointConnectionError(endpoint_url="https://ec2.eu-wset-1.amazonaws.com/")
    assert "knows no region eu-wset-1: look at --region" in hint_of(error)[1]
    for url in ("https://ec2.eu-west-1.amazonaws.com/", "http://127.0.0.1:1"):
        assert "when it answers" in hint_of(boto.EndpointConnectionError(endpoint_url=url))[1]


def test_a_proxy_that_does_not_answer_is_named() -> None:
    error = boto.ProxyConnectionError(proxy_url="http://proxy.example:3128", error="refused")
    told, hint = hint_of(error)
    assert "the proxy on the way" in told
    assert "proxy.example:3128" in told
    assert "HTTPS_PROXY" in hint


def test_a_redirection_of_ebs_tells_of_no_bucket() -> None:
    told = explain("Snapshot snap-1", StrangeAnswerError("status 301"), service="EBS")
    assert "bucket" not in str(told) + told.hint
    refused = {"Error": {"Code": "301"}, "ResponseMetadata": {"HTTPStatusCode": 301}}
    told = explain("Snapshot snap-1", boto.ClientError(refused, "X"), service="EBS")
    assert "bucket" not in str(told) + told.hint


def test_a_code_that_commands_a_terminal_is_plain() -> None:
    refused = {"Error": {"Code": "\x1b[31mX\n" + "x" * 9999, "Message": "\x9b"}}
    told = str(explain("Images", boto.ClientError(refused, "X"), service="EC2"))
    assert told.isprintable()
    assert len(told) < 1000
