"""Disks for snapshots, the cloud that takes them, and the command as a process of its own."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imgforge.cloud_access import reached_ec2
from imgforge.ec2 import BLOCK_BYTES, Cloud, CloudWish, Credentials
from tests.serving import ACCOUNT, Serving

MIB = 2**20


def write_disk(path: Path, blocks: Mapping[int, bytes], *, size_bytes: int) -> Path:
    """Write a sparse disk that has these contents at the start of its blocks."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for number, data in blocks.items():
            file.seek(number * BLOCK_BYTES)
            file.write(data)
    return path


def change_disk(path: Path, number: int, data: bytes) -> None:
    """Write at the start of a block."""
    with path.open("r+b") as file:
        file.seek(number * BLOCK_BYTES)
        file.write(data)


def noise(seed: int, size_bytes: int = BLOCK_BYTES) -> bytes:
    """Return bytes that nothing else has."""
    return random.Random(seed).randbytes(size_bytes)


@contextmanager
def cloud_of(
    serving: Serving, *, region: str = "us-east-1", account: str = ACCOUNT
) -> Iterator[Cloud]:
    """Give the cloud that a command would have with this endpoint's URL."""
    keys = Credentials(account, "secret")
    wish = CloudWish(region=region, url=serving.url, credentials=keys)
    with reached_ec2(wish, attempts=2) as cloud:
        yield cloud


def content_of(serving: Serving, snapshot_id: str) -> dict[int, bytes]:
    """Return what a snapshot has, block by block, as boto3 reads it."""
    ebs = serving.client("ebs")
    found: dict[int, bytes] = {}
    asked: dict[str, Any] = {"SnapshotId": snapshot_id}
    while True:
        page = ebs.list_snapshot_blocks(**asked)
        for one in page["Blocks"]:
            got = ebs.get_snapshot_block(
                SnapshotId=snapshot_id, BlockIndex=one["BlockIndex"], BlockToken=one["BlockToken"]
            )
            found[one["BlockIndex"]] = got["BlockData"].read()
        if "NextToken" not in page:
            return found
        asked["NextToken"] = page["NextToken"]


def blocks_of(path: Path) -> dict[int, bytes]:
    """Return a disk's blocks, the last padded with zeros."""
    content = path.read_bytes()
    return {
        start // BLOCK_BYTES: content[start : start + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0")
        for start in range(0, len(content), BLOCK_BYTES)
    }


class Command:
    """`imgforge snapshots …` in a process of its own, against an endpoint."""

    def __init__(self, data: Path, url: str, *words: str | Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "imgforge", "snapshots", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "XDG_DATA_HOME": str(data),
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": ACCOUNT,
                "AWS_SECRET_ACCESS_KEY": "very-secret-word",
                "AWS_EC2_METADATA_DISABLED": "true",
                **environment,
            },
        )

    def end(self) -> tuple[int, str, str]:
        """Wait for it; return its exit code and what it said."""
        out, err = self.process.communicate(timeout=120)
        assert "very-secret-word" not in out + err
        return self.process.returncode, out, err

    def kill(self) -> None:
        """End it with no time for anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)
