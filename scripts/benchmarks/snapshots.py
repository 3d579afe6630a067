"""Snapshots: a disk goes to `imgforge serve`, against a boto3 loop, SHA-256 and an HTTP PUT."""

import base64
import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import boto3

from benchmarks.figure import Figure, seconds
from benchmarks.product import imgforge

BLOCK_BYTES = 512 * 1024
_SIZE_BYTES, _DATA_BYTES = 4 * 2**30, 2**30
_CHANGED_BLOCKS = 64
_CORES = 2
_END_LIMIT_S = 60
_KEYS = {"AWS_ACCESS_KEY_ID": "123456789012", "AWS_SECRET_ACCESS_KEY": "secret"}


def measure_snapshots(*, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure `imgforge snapshots upload` of 4 GiB with 1 GiB of data, all blocks sent.

    Each run has a new catalog, as blocks that are there cost less. All stay until the end: ext4
    makes files more slowly when thousands were just deleted. What the commands are measured
    against reads, sends and writes the same 4 GiB; the server of the bare PUT writes what is no
    zeros to a file and syncs it, as a catalog does.
    """
    disk = scratch / "disk.raw"
    _make_disk(disk)
    ours, loop, sha, put, child = [], [], [], [], []
    for _ in range(runs):
        with _served(scratch) as url:
            loop.append(seconds(lambda url=url: _boto3_loop(disk, url)))  # type: ignore[misc]
        sha.append(seconds(lambda: _sha256(disk)))
        put.append(_put(disk, scratch / "put"))
        with _served(scratch) as url:
            ours.append(_upload(disk, url, scratch))
            child.append(_child(disk, url, scratch))
    words = "`imgforge snapshots upload` / one boto3 call after the other"
    yield Figure("snapshot: upload", 1 / 5, tuple(ours), tuple(loop), words)
    slower = max((sha, put), key=median)
    words = "`imgforge snapshots upload` / the slower of SHA-256 and a bare HTTP PUT, on two cores"
    details = {"sha256": median(sha), "put": median(put)}
    yield Figure("snapshot: the wire", 1 / 0.8, tuple(ours), tuple(slower), words, details)
    words = f"a child with {_CHANGED_BLOCKS} changed blocks / all {_SIZE_BYTES // BLOCK_BYTES}"
    yield Figure("snapshot: a child", 0.5, tuple(child), tuple(ours), words)


def _make_disk(path: Path) -> None:
    """Make a disk whose data comes in pieces of 16 MiB, with three times as much hole between."""
    piece_bytes = 16 * 2**20
    with path.open("wb") as file:
        file.truncate(_SIZE_BYTES)
        for start in range(0, _SIZE_BYTES, piece_bytes * _SIZE_BYTES // _DATA_BYTES):
            file.seek(start)
            file.write(os.urandom(piece_bytes))


@contextmanager
def _served(scratch: Path) -> Iterator[str]:
    """Give the URL of `imgforge serve` over a new catalog."""
    catalog = tempfile.mkdtemp(prefix="catalog-", dir=scratch)
    words = ("serve", "--latency", "0s", "--catalog", catalog)
    command = [sys.executable, "-m", "imgforge", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 (our own)
    try:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.terminate()
        process.wait(_END_LIMIT_S)


def _upload(disk: Path, url: str, scratch: Path, *words: str) -> float:
    environment = {"AWS_ENDPOINT_URL": url, **_KEYS}
    return imgforge("snapshots", "upload", disk, *words, scratch=scratch, environment=environment)


def _child(disk: Path, url: str, scratch: Path) -> float:
    """Change some blocks, and measure the upload of those."""
    ec2 = boto3.client("ec2", endpoint_url=url, region_name="us-east-1", **_client_keys())
    [parent] = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    with disk.open("r+b") as file:
        for number in range(_CHANGED_BLOCKS):
            file.seek(number * BLOCK_BYTES * 100)
            file.write(os.urandom(4096))
    return _upload(disk, url, scratch, "--parent", parent["SnapshotId"])


def _client_keys() -> dict[str, str]:
    return {name.lower(): value for name, value in _KEYS.items()}


def _boto3_loop(disk: Path, url: str) -> None:
    ebs = boto3.client("ebs", endpoint_url=url, region_name="us-east-1", **_client_keys())
    snapshot_id = ebs.start_snapshot(VolumeSize=_SIZE_BYTES // 2**30)["SnapshotId"]
    with disk.open("rb") as file:
        number = 0
        while data := file.read(BLOCK_BYTES):
            ebs.put_snapshot_block(
                SnapshotId=snapshot_id,
                BlockIndex=number,
                BlockData=data,
                DataLength=len(data),
                Checksum=base64.b64encode(hashlib.sha256(data).digest()).decode(),
                ChecksumAlgorithm="SHA256",
            )
            number += 1
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=number)


def _halves(work: Callable[[int, int], None]) -> None:
    """Do both halves of the disk at once."""
    half = _SIZE_BYTES // _CORES
    with ThreadPoolExecutor(_CORES) as pool:
        list(pool.map(lambda start: work(start, half), range(0, _SIZE_BYTES, half)))


def _sha256(disk: Path) -> None:
    def digest(start: int, size_bytes: int) -> None:
        found = hashlib.sha256()
        with disk.open("rb", buffering=0) as file:
            file.seek(start)
            for _ in range(size_bytes // BLOCK_BYTES):
                found.update(file.read(BLOCK_BYTES))

    _halves(digest)


def _put(disk: Path, target: Path) -> float:
    """Measure two PUTs of half the disk each, into a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.snapshots", str(target)]
    folder = Path(__file__).parents[1]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder)  # noqa: S603 (our own)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        return seconds(lambda: _halves(lambda start, size: _put_part(disk, port, start, size)))
    finally:
        process.terminate()
        process.wait(_END_LIMIT_S)
        target.unlink(missing_ok=True)


def _put_part(disk: Path, port: int, start: int, size_bytes: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("PUT", f"/{start}")
    connection.putheader("Content-Length", str(size_bytes))
    connection.endheaders()
    with disk.open("rb", buffering=0) as file:
        connection.sock.sendfile(file, start, size_bytes)
    assert connection.getresponse().status == 200


class _Taking(BaseHTTPRequestHandler):
    """Writes what comes to a file, but for zeros, and syncs it."""

    target = Path()

    def do_PUT(self) -> None:
        """Take a part of a file."""
        left, zeros = int(self.headers["Content-Length"]), bytes(BLOCK_BYTES)
        position = int(self.path[1:])
        descriptor = os.open(self.target, os.O_RDWR | os.O_CREAT)
        while left:
            data = self.rfile.read(min(left, BLOCK_BYTES))
            if data != zeros:
                os.pwrite(descriptor, data, position)
            position, left = position + len(data), left - len(data)
        os.fsync(descriptor)
        os.close(descriptor)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _take() -> None:
    _Taking.target = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taking)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever).run()


if __name__ == "__main__":
    _take()
