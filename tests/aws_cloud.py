"""AWS, or `imgforge serve` in its place: who is asked in a test, and what is to go at its end.

What AWS makes is not there at once for everybody, and goes no faster: `settled` asks again.
"""

import os
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from tests.serving import ACCOUNT, Serving

Client = Callable[[str, str], Any]
"""Gives boto3's client of a service in a region."""
# https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
NOT_YET = {"InvalidAMIID.NotFound", "InvalidSnapshot.NotFound", "ResourceNotFoundException"}
STILL = {"InvalidSnapshot.InUse", "InvalidAMIID.Unavailable", "IncorrectState"}
_SETTLED_LIMIT_S = 120.0


@dataclass(frozen=True)
class Cloud:
    """Who is asked, and what is to go at the end; `environment` is for programs that ask, too.

    All that is made has a name or a tag Name that begins with `prefix`. `waits` is for boto3's
    waiters, `pause_s` is between two questions of `settled`.
    """

    client: Client
    region: str
    other_region: str
    prefix: str
    environment: dict[str, str]
    waits: dict[str, int]
    pause_s: float
    is_aws: bool
    leftovers: ExitStack = field(default_factory=ExitStack)
    disks: list[str] = field(default_factory=list)
    """The SHA-256 of each disk that imgforge uploads: copies' snapshots have no other mark."""

    @property
    def regions(self) -> tuple[str, str]:
        """Where things are made."""
        return (self.region, self.other_region)

    def tags(self, *kinds: str) -> list[dict[str, Any]]:
        """Return TagSpecifications by which resources of these kinds are known."""
        tags = [{"Key": "Name", "Value": self.prefix}]
        return [{"ResourceType": kind, "Tags": tags} for kind in kinds]

    def sweep_at_the_end(self) -> None:
        """Let all images and snapshots of this run go at the end, however the tests end."""
        for region in self.regions:
            self.leftovers.callback(self._sweep, region)

    def wait(self, what: str, region: str, **asked: Any) -> None:
        """Wait until an image or a snapshot is done."""
        waiter = self.client("ec2", region).get_waiter(what)
        self.settled(waiter.wait, NOT_YET, **asked, WaiterConfig=self.waits)

    def settled(self, call: Callable[..., Any], codes: set[str], **asked: Any) -> Any:
        """Return a call's answer; where it is refused with one of these codes, ask again."""
        deadline = time.monotonic() + (_SETTLED_LIMIT_S if self.is_aws else self.pause_s)
        while True:
            try:
                return call(**asked)
            except (ClientError, WaiterError) as error:
                if time.monotonic() >= deadline or not any(code in str(error) for code in codes):
                    raise
            time.sleep(self.pause_s)  # there is nothing to wait for but another answer

    def images(self, region: str) -> list[Any]:
        """Return the images that this run made and nobody deregistered."""
        named = [{"Name": "name", "Values": [f"{self.prefix}*"]}]
        ec2 = self.client("ec2", region)
        asked = {"Owners": ["self"], "Filters": named, "IncludeDeprecated": True}
        return list(ec2.describe_images(**asked, IncludeDisabled=True)["Images"])

    def snapshots(self, region: str) -> list[str]:
        """Return the snapshots that this run made and nobody deleted."""
        ec2 = self.client("ec2", region)
        found = set()
        for name, value in (
            ("tag:Name", self.prefix),
            ("description", f"{self.prefix}*"),
            ("description", f"imgforge: {self.prefix}*"),
            *(("tag:imgforge:sha256", digest) for digest in self.disks),
        ):
            wanted = [{"Name": name, "Values": [value]}]
            told = ec2.describe_snapshots(OwnerIds=["self"], Filters=wanted)["Snapshots"]
            found |= {one["SnapshotId"] for one in told}
        return sorted(found)

    def left_behind(self) -> list[str]:
        """Return what this run made and nothing removed."""
        found = []
        for region in self.regions:
            found += [image["ImageId"] for image in self.images(region)]
            found += self.snapshots(region)
        return found

    def _sweep(self, region: str) -> None:
        for image in self.images(region):
            self._remove(region, image["ImageId"])
        for snapshot_id in self.snapshots(region):
            self._delete(region, snapshot_id)

    def _remove(self, region: str, image_id: str) -> None:
        """Deregister an image and delete its snapshots; one that is pending is waited for.

        What a copy that is deregistered too early goes on with, nobody would know of.
        """
        ec2 = self.client("ec2", region)
        with suppress(ClientError, WaiterError):
            self.wait("image_available", region, ImageIds=[image_id])
        with suppress(ClientError):
            ec2.disable_image_deregistration_protection(ImageId=image_id)
        asked = {"ImageIds": [image_id], "IncludeDisabled": True}
        try:
            [image] = ec2.describe_images(**asked)["Images"]
            self.settled(ec2.deregister_image, STILL, ImageId=image_id)
        except ClientError as error:
            if "InvalidAMIID" not in str(error):  # a test has deregistered it itself
                raise
            return
        for snapshot_id in snapshots_of(image):
            self._delete(region, snapshot_id)

    def _delete(self, region: str, snapshot_id: str) -> None:
        ec2 = self.client("ec2", region)
        try:
            self.settled(ec2.delete_snapshot, STILL, SnapshotId=snapshot_id)
        except ClientError as error:
            if "InvalidSnapshot.NotFound" not in str(error):
                raise


def aws_itself() -> Cloud:
    """Return AWS, with boto3's own credentials."""
    # boto3 alone of AWS's SDKs does not read AWS_REGION.
    session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
    if session.get_credentials() is None:
        pytest.skip("--aws: boto3 finds no credentials")
    if session.region_name is None:
        pytest.skip("--aws: nothing names a region (AWS_REGION, or the profile's)")
    retried = Config(retries={"mode": "standard", "total_max_attempts": 10})
    region = session.region_name
    return Cloud(
        client=lambda service, of: session.client(service, region_name=of, config=retried),
        region=region,
        other_region="us-west-2" if region == "us-east-1" else "us-east-1",
        prefix=_new_prefix(),
        environment={**os.environ, "AWS_REGION": region, "AWS_DEFAULT_REGION": region},
        waits={"Delay": 10, "MaxAttempts": 120},
        pause_s=3,
        is_aws=True,
    )


def served(serving: Serving, home: Path) -> Cloud:
    """Return an endpoint of imgforge's own."""
    region = "us-east-1"
    return Cloud(
        client=lambda service, of: serving.client(service, region=of),
        region=region,
        other_region="us-west-2",
        prefix=_new_prefix(),
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ENDPOINT_URL": serving.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": region,
        },
        waits={"Delay": 1, "MaxAttempts": 60},
        pause_s=1,
        is_aws=False,
    )


def snapshots_of(image: Any) -> list[str]:
    """Return the snapshots that an image's mapping names."""
    mapped = (device.get("Ebs", {}) for device in image["BlockDeviceMappings"])
    return [ebs["SnapshotId"] for ebs in mapped if "SnapshotId" in ebs]


def _new_prefix() -> str:
    return f"imgforge-test-{uuid.uuid4().hex[:12]}"
