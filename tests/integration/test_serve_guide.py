"""The guide's own commands for images, snapshots and volumes, by the real AWS CLI.

Each row is a line of the guide to Linux AMIs by its number, with ids in the place of its examples.
What the guide itself has wrong is corrected as the row says.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bundle_material import ACCOUNT, make_material
from tests.serving import OTHER_ACCOUNT, Serving, make_snapshot, register

# Runs each line of its input by the AWS CLI, in one process: importing it takes a second.
SHELL = """
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = create_clidriver().main(json.loads(line))
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


class Shell:
    """The AWS CLI, told by its environment to ask our endpoint."""

    def __init__(self, url: str, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": ACCOUNT,
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-west-2",
                "AWS_PAGER": "",
            },
        )

    def aws(self, *words: str) -> str:
        """Run a command; return what it printed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        code, out, err = json.loads(self.process.stdout.readline())
        assert code in {0, None}, f"{words}: {err}"
        return str(out)


@dataclass(frozen=True)
class World:
    """What the guide's examples are about."""

    shell: Shell
    ec2: Any
    image_id: str
    public_id: str
    snapshot_id: str
    location: str

    def run(self, line: str) -> Any:
        """Run a line of the guide; return its JSON, or its text."""
        names = {
            "IMAGE": self.image_id,
            "SNAPSHOT": self.snapshot_id,
            "LOCATION": self.location,
            "OTHER": OTHER_ACCOUNT,
        }
        words = [names.get(word, word) for word in line.split(" ")]
        words = [word.replace("OTHER", OTHER_ACCOUNT).replace("SPACE", " ") for word in words]
        out = self.shell.aws(*words)
        try:
            return json.loads(out) if out.strip() else None
        except ValueError:
            return out

    def permissions(self) -> Any:
        """Return the image's launch permissions."""
        asked = {"ImageId": self.image_id, "Attribute": "launchPermission"}
        return self.ec2.describe_image_attribute(**asked)["LaunchPermissions"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("guide")
    (folder / "image").write_bytes(b"x" * 4096)
    material = make_material(folder, folder / "image")
    with Serving(folder / "catalog", "--latency", "0s") as serving:
        s3 = serving.client("s3", region="us-west-2", account=ACCOUNT)
        s3.create_bucket(
            Bucket="my-s3-bucket",
            ObjectOwnership="ObjectWriter",
            CreateBucketConfiguration={"LocationConstraint": "us-west-2"},
        )
        for path in material.bundle.folder.iterdir():
            key = f"bundle_folder/bundle_name/{path.name}"
            put = {"Bucket": "my-s3-bucket", "Key": key, "ACL": "aws-exec-read"}
            s3.put_object(**put, Body=path.read_bytes())
        ec2 = serving.client(region="us-west-2", account=ACCOUNT)
        other = serving.client(region="us-west-2", account=OTHER_ACCOUNT)
        public = register(other, "public", make_snapshot(other))
        everybody = {"Add": [{"Group": "all"}]}
        other.modify_image_attribute(ImageId=public, LaunchPermission=everybody)
        snapshot_id = make_snapshot(ec2)
        shell = Shell(serving.url, folder)
        manifest = material.bundle.manifest_path.name
        try:
            yield World(
                shell=shell,
                ec2=ec2,
                image_id=register(ec2, "mine", snapshot_id),
                public_id=public,
                snapshot_id=snapshot_id,
                location=f"my-s3-bucket/bundle_folder/bundle_name/{manifest}",
            )
        finally:
            shell.process.kill()
            shell.process.communicate()


def ids(found: Any) -> set[str]:
    return {image["ImageId"] for image in found["Images"]}


def owners(found: Any) -> set[str]:
    return {image.get("ImageOwnerAlias", image["OwnerId"]) for image in found["Images"]}


MODIFY = "ec2 modify-image-attribute --image-id IMAGE --launch-permission"
SHARE = "ec2 modify-snapshot-attribute --snapshot-id SNAPSHOT --attribute createVolumePermission"
Row = tuple[int, str, Callable[[World, Any], bool]]
# In the guide's order: some lines undo what others did.
ROWS: list[Row] = [
    (
        228,
        "ec2 describe-images --owners self amazon",
        lambda _, said: owners(said) == {ACCOUNT, "amazon"},
    ),
    (
        286,
        "ec2 describe-images --executable-users all",
        lambda world, said: world.public_id in ids(said) and world.image_id not in ids(said),
    ),
    (292, "ec2 describe-images --executable-users self", lambda _, said: ids(said) == set()),
    (298, "ec2 describe-images --owners amazon", lambda _, said: owners(said) == {"amazon"}),
    (
        304,
        "ec2 describe-images --owners OTHER",
        lambda world, said: ids(said) == {world.public_id},
    ),
    (
        377,
        f'{MODIFY} {{"Add":[{{"Group":"all"}}]}}',
        lambda world, _: world.permissions() == [{"Group": "all"}],
    ),
    (
        381,
        "ec2 describe-image-attribute --image-id IMAGE --attribute launchPermission",
        lambda _, said: said["LaunchPermissions"] == [{"Group": "all"}],
    ),
    (385, f'{MODIFY} {{"Remove":[{{"Group":"all"}}]}}', lambda world, _: world.permissions() == []),
    (
        422,
        f'{MODIFY} {{"Add":[{{"UserId":"OTHER"}}]}}',
        lambda world, _: world.permissions() == [{"UserId": OTHER_ACCOUNT}],
    ),
    (426, f"{SHARE} --operation-type add --user-ids OTHER", lambda world, _: shared(world)),
    (
        432,
        f'{MODIFY} {{"Remove":[{{"UserId":"OTHER"}}]}}',
        lambda world, _: world.permissions() == [],
    ),
    (
        436,
        f"{SHARE} --operation-type remove --user-ids OTHER",
        lambda world, _: not shared(world),
    ),
    (
        442,
        "ec2 reset-image-attribute --image-id IMAGE --attribute launchPermission",
        lambda world, _: world.permissions() == [],
    ),
    (670, "ec2 describe-images --owners aws-marketplace", lambda _, said: ids(said) == set()),
    (
        719,
        "ec2 modify-image-attribute --image-id IMAGE --product-codes 774F4FF8",
        lambda world, _: codes(world) == ["774F4FF8"],
    ),
    (
        1131,
        "ec2 register-image --image-location LOCATION --name AMI_name --virtualization-type hvm",
        lambda world, said: type_of(world, said) == "instance-store",
    ),
    (  # the guide forgets --image-location here
        1305,
        "ec2 register-image --image-location LOCATION --name AMI_name_2 --virtualization-type hvm",
        lambda world, said: type_of(world, said) == "instance-store",
    ),
    (
        1343,
        "ec2 create-volume --size 10 --region us-west-2 --availability-zone us-west-2b",
        lambda _, said: (said["Size"], said["AvailabilityZone"]) == (10, "us-west-2b"),
    ),
    (
        1417,
        "ec2 describe-snapshots --region us-west-2 --snapshot-id SNAPSHOT",
        lambda _, said: said["Snapshots"][0]["State"] == "completed",
    ),
    (
        1421,
        "ec2 describe-images --region us-west-2 --image-id IMAGE --output text",
        lambda world, said: world.image_id in said,
    ),
    (  # the guide gives hvm a kernel, and the mapping no device
        1428,
        "ec2 register-image --region us-west-2 --name your_new_ami_name --block-device-mappings"
        " DeviceName=/dev/sda1,Ebs={SnapshotId=SNAPSHOT_ID} --virtualization-type hvm"
        " --architecture x86_64 --root-device-name /dev/sda1",
        lambda world, said: type_of(world, said) == "ebs",
    ),
    (
        1750,
        "ec2 deregister-image --image-id IMAGE",
        lambda world, _: world.image_id not in ids(world.ec2.describe_images(Owners=["self"])),
    ),
    (
        2099,
        "ec2 describe-images --filters Name=image-id,Values=aki-70cb0e10",
        lambda _, said: said["Images"][0]["Name"].startswith("pv-grub"),
    ),
    (
        2161,
        "ec2 describe-images --owners amazon --filters Name=name,Values=pv-grub-*.gz",
        lambda _, said: ids(said) == {"aki-7a69931a", "aki-70cb0e10"},
    ),
    (
        2238,
        "ec2 describe-images --image-ids aki-70cb0e10 --region us-west-2",
        lambda _, said: said["Images"][0]["Description"] == "PV-GRUB release 1.05, 64-bit",
    ),
]


def shared(world: World) -> bool:
    asked = {"SnapshotId": world.snapshot_id, "Attribute": "createVolumePermission"}
    found = world.ec2.describe_snapshot_attribute(**asked)["CreateVolumePermissions"]
    return {"UserId": OTHER_ACCOUNT} in found


def codes(world: World) -> list[str]:
    [image] = world.ec2.describe_images(ImageIds=[world.image_id])["Images"]
    return [one["ProductCodeId"] for one in image["ProductCodes"]]


def type_of(world: World, said: Any) -> str:
    [image] = world.ec2.describe_images(ImageIds=[said["ImageId"]])["Images"]
    return str(image["RootDeviceType"])


def test_every_line_does_what_the_text_around_it_says(world: World) -> None:
    for number, line, holds in ROWS:
        said = world.run(line.replace("SNAPSHOT_ID", world.snapshot_id))
        assert holds(world, said), f"line {number}: aws {line}: {said}"


def test_a_volume_becomes_a_snapshot_and_goes(world: World) -> None:
    """Lines 1343, 1413 and 1432, which need the ids of what they made."""
    made = world.run("ec2 create-volume --size 10 --availability-zone us-west-2b")
    volume_id = made["VolumeId"]
    words = f"ec2 create-snapshot --region us-west-2 --description yours --volume-id {volume_id}"
    snapshot = world.run(words)
    assert (snapshot["VolumeSize"], snapshot["Description"]) == (10, "yours")
    world.run(f"ec2 delete-volume --volume-id {volume_id}")
    assert (
        world.ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume_id]}])[
            "Volumes"
        ]
        == []
    )


def test_what_the_guide_has_wrong_is_refused(world: World) -> None:
    """Line 1428 as it stands: a kernel for hvm, and a mapping without a device."""
    line = (
        "ec2 register-image --region us-west-2 --name as_it_stands --block-device-mappings"
        f" Ebs={{SnapshotId={world.snapshot_id}}} --virtualization-type hvm"
        " --architecture x86_64 --kernel-id aki-fc8f11cc"
    )
    with pytest.raises(AssertionError, match="InvalidParameterCombination"):
        world.run(line)
