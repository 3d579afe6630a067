"""Whatever comes over the wire to `imgforge serve`, it goes on answering."""

import base64
import hashlib
import http.client
import random
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import requests
from botocore.exceptions import ClientError

from tests.serving import Serving

ROUNDS = 150
PIECES = (
    b"POST / HTTP/1.1\r\n",
    b"GET /snapshots HTTP/1.1\r\n",
    b"PUT /snapshots/snap-1/blocks/-1 HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"Content-Length: 10\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Type: application/x-www-form-urlencoded\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"Action=DescribeImages",
    b"ffffffff\r\n",
    b"\x00\xff\r\n",
    b"GET /%zz?%zz=%&& HTTP/9.9\r\n\r\n",
)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog") as running:
        yield running


def test_garbage_on_the_wire_ends_nothing(serving: Serving) -> None:
    chance = random.Random(7)
    address = (urlsplit(serving.url).hostname, urlsplit(serving.url).port)
    for _ in range(ROUNDS):
        data = b"".join(chance.choices(PIECES, k=chance.randint(1, 8)))
        if chance.random() < 0.3:
            data = chance.randbytes(chance.randint(1, 300))
        with socket.create_connection(address, timeout=10) as end:
            end.sendall(data)
            if chance.random() < 0.5:
                end.settimeout(5)
                try:
                    end.shutdown(socket.SHUT_WR)
                    answer = end.recv(4096)
                except OSError:  # it was cut, perhaps before it was shut down
                    answer = b""
                assert b" 500 " not in answer.partition(b"\r\n")[0], data
    assert serving.process.poll() is None
    assert serving.client().describe_images(Owners=["amazon"])["Images"]


def signed(service: str) -> dict[str, str]:
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"AKID/{date[:8]}/us-east-1/{service}/aws4_request"
    words = f"Credential={scope}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    return {"Authorization": f"AWS4-HMAC-SHA256 {words}", "X-Amz-Date": date}


@pytest.mark.parametrize("service", ["ec2", "ebs"])
def test_a_body_that_is_too_large_is_refused(serving: Serving, service: str) -> None:
    path = "/" if service == "ec2" else "/snapshots"
    for size_bytes in (3 * 2**20, 20 * 2**20):
        got = requests.post(
            serving.url + path, data=bytes(size_bytes), headers=signed(service), timeout=30
        )
        assert got.status_code == 413, got.text


@pytest.mark.parametrize(
    ("method", "path", "service", "status"),
    [
        ("DELETE", "/", "ec2", 405),
        ("GET", "/?Action=DescribeRegions&Version=2016-11-15", "ec2", 200),
        ("GET", "/?Action=DescribeNothing", "ec2", 400),
        ("GET", "/?Action=DescribeRegions&Version=1", "ec2", 400),
        ("GET", "/?Action=DescribeRegions", "ec2", 400),
        ("GET", "/", "ec2", 400),
        ("GET", "/", "ebs", 404),
        ("GET", "/snapshots/snap-1/blocks", "ebs", 400),
        ("GET", "/snapshots/%2e%2e/blocks", "ebs", 400),
        ("GET", "/", "iam", 404),
        ("GET", "/", "sqs", 501),
    ],
)
def test_each_service_answers_in_its_own_way(
    serving: Serving, method: str, path: str, service: str, status: int
) -> None:
    got = requests.request(method, serving.url + path, headers=signed(service), timeout=30)
    assert got.status_code == status, got.text
    assert "Traceback" not in got.text


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("Action=RunInstances&Version=2016-11-15", "UnsupportedOperation"),
        ("Action=RunInstances&Version=2016-11-15&MinCount=x&None=1", "UnsupportedOperation"),
        ("Action=DescribeImages", "MissingParameter"),
        ("Action=DescribeImages&Version=2016-11-15&None=1", "UnknownParameter"),
    ],
)
def test_action_and_version_are_looked_at_before_parameters(
    serving: Serving, asked: str, code: str
) -> None:
    got = requests.get(f"{serving.url}/?{asked}", headers=signed("ec2"), timeout=30)
    assert f"<Code>{code}</Code>" in got.text


@pytest.mark.parametrize("length", ["-1", "-0", "+1", "1_0", "x", "0x1", ""])
def test_a_length_that_is_no_number_is_refused_while_the_client_waits(
    serving: Serving, length: str
) -> None:
    address = (urlsplit(serving.url).hostname, urlsplit(serving.url).port)
    with socket.create_connection(address, timeout=30) as end:
        end.sendall(
            f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        assert end.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("service", ["ec2", "ebs", "s3", "kms", "iam"])
@pytest.mark.parametrize(
    "said",
    [
        {"Host": "rebound.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_a_page_of_another_host_is_refused(
    serving: Serving, service: str, said: dict[str, str]
) -> None:
    asked = "/?Action=CreateVolume&Version=2016-11-15&AvailabilityZone=us-east-1a&Size=1"
    headers = {**signed(service), **said}
    got = requests.get(serving.url + asked, headers=headers, timeout=30)
    assert got.status_code == 403
    assert "answers its own host alone" in got.text
    is_json = service in {"ebs", "kms"}
    assert ("json" if is_json else "xml") in got.headers["Content-Type"]
    assert serving.client().describe_volumes()["Volumes"] == []


def test_the_own_host_is_let_in_by_all_its_names(serving: Serving) -> None:
    asked = "/?Action=DescribeRegions&Version=2016-11-15"
    port = urlsplit(serving.url).port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]", "bucket.localhost"):
        headers = {**signed("ec2"), "Host": host, "Origin": f"http://{host}"}
        got = requests.get(serving.url + asked, headers=headers, timeout=30)
        assert got.status_code == 200, host


def block_put(snapshot_id: str, number: int, data: bytes, *, signing: bool = True) -> bytes:
    """Return a PutSnapshotBlock as it goes over the wire."""
    sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode()
    headers = {
        "Host": "localhost",
        "Content-Length": str(len(data)),
        "x-amz-Data-Length": str(len(data)),
        "x-amz-Checksum": sha256,
        "x-amz-Checksum-Algorithm": "SHA256",
        **(signed("ebs") if signing else {}),
    }
    lines = [f"PUT /snapshots/{snapshot_id}/blocks/{number} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def answers(end: socket.socket, count: int) -> list[int]:
    """Return the statuses of so many answers."""
    found = []
    for _ in range(count):
        answer = http.client.HTTPResponse(end)
        answer.begin()
        answer.read()
        found.append(answer.status)
    return found


def connected(serving: Serving) -> socket.socket:
    parts = urlsplit(serving.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def test_what_follows_a_refused_block_on_its_connection_is_answered(serving: Serving) -> None:
    snapshot_id = serving.client("ebs").start_snapshot(VolumeSize=1)["SnapshotId"]
    data = bytes(512 * 1024)
    with connected(serving) as end:
        for put, status in [
            (block_put(snapshot_id, 0, data), 201),
            (block_put(snapshot_id, 1, data, signing=False), 403),
            (block_put(snapshot_id, 10**6, data), 400),
            (block_put("snap-0123456789abcdef0", 0, data), 404),
            (block_put(snapshot_id, 1, bytes(3 * 2**20)), 413),
            (block_put(snapshot_id, 1, data), 201),
        ]:
            end.sendall(put)
            assert answers(end, 1) == [status]


def test_requests_that_are_sent_without_waiting_are_answered_in_turn(serving: Serving) -> None:
    snapshot_id = serving.client("ebs").start_snapshot(VolumeSize=1)["SnapshotId"]
    data = bytes(512 * 1024)
    unsigned = b"GET /snapshots/snap-1/blocks HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(serving) as end:
        together = block_put(snapshot_id, 0, data) + unsigned + block_put(snapshot_id, 1, data)
        thread = threading.Thread(target=end.sendall, args=(together,))
        thread.start()
        came = b""
        while len(statuses := re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", came)) < 3:
            piece = end.recv(2**16)
            assert piece, came
            came += piece
        thread.join(30)
    assert statuses == [b"201", b"404", b"201"]  # who is not signed for EBS asks S3


def test_a_block_that_is_cut_short_is_not_written(serving: Serving) -> None:
    ebs = serving.client("ebs")
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with connected(serving) as end:
        end.sendall(block_put(snapshot_id, 0, bytes(512 * 1024))[:-1])
        end.shutdown(socket.SHUT_WR)
        assert answers(end, 1) == [400]
        assert end.recv(1) == b""
    with pytest.raises(ClientError, match="ChangedBlocksCount"):
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)


def test_requests_that_are_half_sent_keep_nobody_waiting(serving: Serving) -> None:
    halves = [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: loc",
        block_put("snap-0123456789abcdef0", 0, bytes(512 * 1024))[:9000],
    ]
    with ExitStack() as stack:
        for number in range(60):
            end = stack.enter_context(connected(serving))
            end.sendall(halves[number % len(halves)])
        # Far less than the 60 s that a half request is waited for.
        asked = "/?Action=DescribeRegions&Version=2016-11-15"
        got = requests.get(serving.url + asked, headers=signed("ec2"), timeout=25)
        assert got.status_code == 200
