"""`imgforge serve` in a process of its own, and boto3's clients of it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
OTHER_ACCOUNT = "111122223333"
_LIMIT_S = 30


class Serving:
    """The endpoint over a catalog's folder; a context manager that ends it by SIGTERM."""

    def __init__(self, catalog: Path, *options: str, under: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "imgforge", "serve", "--catalog", catalog, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.url: str = json.loads(line)["url"]

    def client(
        self, service: str = "ec2", *, region: str = "us-east-1", account: str = ACCOUNT
    ) -> Any:
        """Return a client of an account, which tries once and checks nothing itself."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=account,
            aws_secret_access_key="secret",
            config=Config(
                retries={"total_max_attempts": 1},
                max_pool_connections=16,
                parameter_validation=False,
            ),
        )

    def end(self) -> str:
        """End it by a signal; return what it said on stderr."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=_LIMIT_S)
        assert self.process.returncode == 0, said
        return str(said)

    def kill(self) -> None:
        """End it with no time for anything."""
        self.process.kill()
        self.process.communicate(timeout=_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            said = self.end()
            assert "Traceback" not in said


def code_of(call: Any, **parameters: Any) -> str:
    """Return the error code of a call, "" where it is answered."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def make_snapshot(ec2: Any, *, size_gib: int = 1, **volume: Any) -> str:
    """Return a snapshot of a blank volume."""
    zone = f"{ec2.meta.region_name}a"
    made = ec2.create_volume(AvailabilityZone=zone, Size=size_gib, **volume)
    return str(ec2.create_snapshot(VolumeId=made["VolumeId"])["SnapshotId"])


def register(ec2: Any, name: str, snapshot_id: str, **more: Any) -> str:
    """Return an hvm image of a snapshot."""
    asked = {
        "Name": name,
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    }
    return str(ec2.register_image(**{**asked, **more})["ImageId"])
