"""DescribeImages over many images and over few, asked by boto3 as a client asks."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from benchmarks.figure import Figure, by_turns, seconds
from imgforge.catalog import Account

_REGION = "us-east-1"
_MANY, _FEW = 10_000, 100
_MATCHES = 20
_TIMES = 20
_FILTERS = {
    "tag, state": (("tag:team", "ours"), ("state", "available")),
    "name *, architecture": (("name", "image of ours *"), ("architecture", "x86_64")),
    "volume size, tag *": (("block-device-mapping.volume-size", "1"), ("tag:team", "o?rs")),
}


def measure_describe(*, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure the same 20 images found by two filters among 10 000, against among 100."""
    with ExitStack() as stack:
        many, few = (_client(_fill(scratch / str(n), n), stack) for n in (_MANY, _FEW))
        for name, filters in _FILTERS.items():
            taken = by_turns(_asking(many, filters), _asking(few, filters), runs=runs)
            words = f"{_TIMES} times {_MATCHES} images by two filters: of {_MANY} / of {_FEW}"
            yield Figure(f"describe: {name}", 3.0, *taken, words)


def _fill(catalog: Path, count: int) -> Path:
    """Return a catalog of so many images, of which 20 are ours."""
    with Account(catalog, regions=(_REGION,), pending_s=0) as account:
        ask = partial(account.perform, region=_REGION)
        volume = ask("CreateVolume", {"AvailabilityZone": f"{_REGION}a", "Size": 1})
        snapshot = ask("CreateSnapshot", {"VolumeId": volume["VolumeId"]})
        root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot["SnapshotId"]}}
        for number in range(count):
            whose = "others" if number % (count // _MATCHES) else "ours"
            tags = [{"Key": "team", "Value": whose}, {"Key": "number", "Value": str(number)}]
            wish = {
                "Name": f"image of {whose} {number}",
                "Architecture": "x86_64",
                "VirtualizationType": "hvm",
                "RootDeviceName": "/dev/xvda",
                "BlockDeviceMappings": [root],
                "TagSpecifications": [{"ResourceType": "image", "Tags": tags}],
            }
            ask("RegisterImage", wish)
    return catalog


def _client(catalog: Path, stack: ExitStack) -> Any:
    server = stack.enter_context(
        subprocess.Popen(  # noqa: S603  (our own program)
            [sys.executable, "-m", "imgforge", "serve", "--catalog", catalog],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    )
    stack.callback(server.terminate)
    assert server.stdout is not None
    return boto3.client(
        "ec2",
        region_name=_REGION,
        endpoint_url=json.loads(server.stdout.readline())["url"],
        aws_access_key_id="any",
        aws_secret_access_key="any",  # noqa: S106  (no secret)
    )


def _asking(ec2: Any, filters: tuple[tuple[str, str], ...]) -> Callable[[], float]:
    wish = [{"Name": name, "Values": [value]} for name, value in filters]

    def ask() -> None:
        found = ec2.describe_images(Filters=wish)["Images"]
        assert len(found) == _MATCHES, f"{len(found)} images were found"

    ask()
    return lambda: sum(seconds(ask) for _ in range(_TIMES))
