"""A person at `imgforge images|snapshots|publish`, with an endpoint of `imgforge serve`."""

import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgforge.cli.command_line import run_command_line
from imgforge.made_tags import MADE, SHA256, VERDICT, VERDICT_SHA256
from tests.serving import Serving, make_snapshot, register

DISK_SHA256 = "ab" * 32
MADE_TAGS = {
    MADE: "register",
    SHA256: DISK_SHA256,
    VERDICT: "accepted",
    VERDICT_SHA256: "cd" * 32,
}
HOME = "us-east-1"


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.out)


class AmiDesk:
    """Commands against an endpoint, and boto3's clients of it to look for oneself."""

    def __init__(self, serving: Serving, account: str) -> None:
        self.serving = serving
        self.account = account
        self._clients: dict[str, Any] = {}

    def ec2(self, region: str = HOME) -> Any:
        """Return EC2 of a region."""
        if region not in self._clients:
            self._clients[region] = self.serving.client(region=region, account=self.account)
        return self._clients[region]

    def key(self, region: str) -> str:
        """Return the ARN of a new KMS key."""
        kms = self.serving.client("kms", region=region, account=self.account)
        return str(kms.create_key()["KeyMetadata"]["Arn"])

    def run(self, *arguments: str) -> Ran:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command_line([*arguments, "--url", self.serving.url])
        assert "Traceback" not in err.getvalue()
        return Ran(code, out.getvalue(), err.getvalue())

    def good(self, *arguments: str) -> Any:
        """Run a command that ends well; return its JSON."""
        ran = self.run(*arguments, "--json")
        assert ran.code == 0, ran.err
        return ran.result

    def started(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a command in a process of its own, to be killed."""
        return subprocess.Popen(
            [sys.executable, "-m", "imgforge", *arguments, "--url", self.serving.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def image(self, name: str = "web 1", *, tags: Mapping[str, str] = MADE_TAGS) -> str:
        """Return an image of a blank snapshot, as `imgforge register` would have made it."""
        ec2 = self.ec2()
        snapshot_id = make_snapshot(ec2)
        ec2.get_waiter("snapshot_completed").wait(
            SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1}
        )
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        if listed:
            ec2.create_tags(Resources=[snapshot_id], Tags=listed)
        image_id = register(
            ec2,
            name,
            snapshot_id,
            TagSpecifications=[{"ResourceType": "image", "Tags": listed}] if listed else [],
        )
        ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={"Delay": 1})
        return image_id

    def images(self, region: str = HOME) -> list[dict[str, Any]]:
        """Return all images of one's own in a region."""
        found = self.ec2(region).describe_images(
            Owners=["self"], IncludeDeprecated=True, IncludeDisabled=True
        )
        return list(found["Images"])

    def snapshots(self, region: str = HOME) -> list[str]:
        """Return the ids of all snapshots of one's own in a region."""
        found = self.ec2(region).describe_snapshots(OwnerIds=["self"])
        return [one["SnapshotId"] for one in found["Snapshots"]]

    def permissions(self, image_id: str, region: str = HOME) -> list[dict[str, str]]:
        """Return whom an image is shared with."""
        asked = {"ImageId": image_id, "Attribute": "launchPermission"}
        return list(self.ec2(region).describe_image_attribute(**asked)["LaunchPermissions"])

    def volume_permissions(self, snapshot_id: str) -> list[dict[str, str]]:
        """Return whom a snapshot is shared with."""
        asked = {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission"}
        return list(self.ec2().describe_snapshot_attribute(**asked)["CreateVolumePermissions"])

    def state(self, regions: tuple[str, ...]) -> tuple[int, int]:
        """Return how many images and how many snapshots there are in regions."""
        return (
            sum(len(self.images(one)) for one in regions),
            sum(len(self.snapshots(one)) for one in regions),
        )


def new_account() -> str:
    """Return an account that has nothing yet: tests share an endpoint."""
    return str(secrets.randbelow(9 * 10**11) + 10**11)


def credentials(data: Path, account: str) -> dict[str, str]:
    """Return the environment of whoever asks the endpoint as an account."""
    return {
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "XDG_DATA_HOME": str(data),
        "AWS_REGION": HOME,
    }
