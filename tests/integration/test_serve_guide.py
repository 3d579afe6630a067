"""Every `aws` line of the guide to Linux AMIs, by the real AWS CLI, does what the guide says.

The lines are in tests/guide_lines.py. They run in the guide's order, with ids in the place of its
examples: most in one process of the AWS CLI's code, since its start takes a second, and some as
the program `aws`.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.bundle_material import ACCOUNT, MACHINE, Material, make_material
from tests.guide_lines import INSTANCES, LINES, GuideLine
from tests.serving import OTHER_ACCOUNT, Serving, code_of, make_snapshot, register

REGION = "us-west-2"
MARKETPLACE = "679593333241"
"""The account behind the owner alias "aws-marketplace"."""
BUNDLED = replace(MACHINE, kernel_id="aki-70cb0e10", ramdisk_id="", product_codes=())
SHA256_OF_LINES = "525ce3d9acc046f1dac503b9d6c6739742ccd00b6c55ba3dfdd6ce7cc31b7ff7"
"""What `scripts/guide-lines` tells of the guide's text."""
PROGRAM = {377, 1007, 1421}
"""Lines that the program `aws` runs."""

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
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_PAGER": "",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """Run a command in the one process; return its exit code, output and errors."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        code, out, err = json.loads(self.process.stdout.readline())
        return int(code or 0), str(out), str(err)

    def run_program(self, words: list[str]) -> tuple[int, str, str]:
        """Run a command by the program `aws`."""
        program = Path(sys.executable).with_name("aws")
        done = subprocess.run(
            [program, *words], env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr


@dataclass(frozen=True)
class World:
    """What the guide's examples are about; `names` are values for its placeholders."""

    shell: Shell
    ec2: Any
    iam: Any
    s3: Any
    image_id: str
    public_id: str
    shared_id: str
    paid_id: str
    names: dict[str, str] = field(default_factory=dict)

    def run(self, line: GuideLine) -> Any:
        """Run a line of the guide; return its JSON, or its text."""
        words = line.words(self.names)
        run = self.shell.run_program if line.number in PROGRAM else self.shell.run
        code, out, err = run(words)
        assert code == 0, f"line {line.number}: {words}: {err}"
        try:
            return json.loads(out) if out.strip() else None
        except ValueError:
            return out

    def permissions(self) -> Any:
        """Return the image's launch permissions."""
        asked = {"ImageId": self.image_id, "Attribute": "launchPermission"}
        return self.ec2.describe_image_attribute(**asked)["LaunchPermissions"]

    def shares_volumes(self) -> bool:
        """Tell whether the other account may make volumes of the snapshot."""
        asked = {
            "SnapshotId": self.names["snap-1234567890abcdef0"],
            "Attribute": "createVolumePermission",
        }
        found = self.ec2.describe_snapshot_attribute(**asked)["CreateVolumePermissions"]
        return {"UserId": OTHER_ACCOUNT} in found

    def image(self, said: Any) -> Any:
        """Return what is shown of the image that a line registered."""
        [image] = self.ec2.describe_images(ImageIds=[said["ImageId"]])["Images"]
        return image

    def certificates(self) -> Any:
        """Return the user's certificates."""
        return self.iam.list_signing_certificates(UserName="user-name")["Certificates"]


def put_bundle(s3: Any, material: Material) -> None:
    s3.create_bucket(
        Bucket="my-s3-bucket",
        ObjectOwnership="ObjectWriter",
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    for path in material.bundle.folder.iterdir():
        put = {"Bucket": "my-s3-bucket", "Key": f"bundle_folder/bundle_name/{path.name}"}
        s3.put_object(**put, ACL="aws-exec-read", Body=path.read_bytes())


def registered_by(serving: Serving, account: str, **permission: str) -> str:
    """Return an image of another account, which lets some launch it."""
    ec2 = serving.client(region=REGION, account=account)
    image_id = register(ec2, f"for {next(iter(permission))}", make_snapshot(ec2))
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [permission]})
    return image_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("guide")
    (folder / "image").write_bytes(b"x" * 4096)
    material = make_material(folder, folder / "image", machine=BUNDLED)
    with Serving(folder / "catalog", "--latency", "0s") as serving:
        ec2, s3, iam = (
            serving.client(service, region=REGION, account=ACCOUNT)
            for service in ("ec2", "s3", "iam")
        )
        put_bundle(s3, material)
        snapshot_id = make_snapshot(ec2)
        image_id = register(ec2, "mine", snapshot_id)
        own = {"Add": [{"UserId": ACCOUNT}]}
        own_id = register(ec2, "mine by name", snapshot_id)
        ec2.modify_image_attribute(ImageId=own_id, LaunchPermission=own)
        of_bundle = ec2.register_image(
            Name="amzn-ami-pv",
            ImageLocation="my-s3-bucket/bundle_folder/bundle_name/image.manifest.xml",
        )
        paid_id = registered_by(serving, MARKETPLACE, UserId=ACCOUNT)
        marketplace = serving.client(region=REGION, account=MARKETPLACE)
        marketplace.modify_image_attribute(ImageId=paid_id, ProductCodes=["product_code"])
        shell = Shell(serving.url, folder)
        try:
            yield World(
                shell=shell,
                ec2=ec2,
                iam=iam,
                s3=s3,
                image_id=image_id,
                public_id=registered_by(serving, OTHER_ACCOUNT, Group="all"),
                shared_id=registered_by(serving, OTHER_ACCOUNT, UserId=ACCOUNT),
                paid_id=paid_id,
                names={
                    "region": REGION,
                    "123456789012": OTHER_ACCOUNT,
                    "ami-12345678": image_id,
                    "ami_id": image_id,
                    "ami-id": of_bundle["ImageId"],
                    "snap-1234567890abcdef0": snapshot_id,
                    "file://path/to/certificate.pem": f"file://{material.user.certificate_path}",
                    # PV-GRUBs of other years, or of other regions.
                    "aki-880531cd": "aki-70cb0e10",
                    "aki-fc8f11cc": "aki-70cb0e10",
                },
            )
        finally:
            shell.process.kill()
            shell.process.communicate()


def ids(found: Any) -> set[str]:
    return {image["ImageId"] for image in found["Images"]}


def owners(found: Any) -> set[str]:
    return {image.get("ImageOwnerAlias", image["OwnerId"]) for image in found["Images"]}


def keep(world: World, **names: str) -> bool:
    """Put in what later lines call by a placeholder."""
    world.names.update(names)
    return True


def is_paid(world: World, said: Any) -> bool:
    shown = {image["ImageId"]: image for image in said["Images"]}
    code = {"ProductCodeId": "product_code", "ProductCodeType": "marketplace"}
    return owners(said) == {"aws-marketplace"} and shown[world.paid_id]["ProductCodes"] == [code]


def has_code_for_good(world: World, _: Any) -> bool:
    """Line 719: "After you set the product code attribute, it cannot be changed or removed"."""
    [image] = world.ec2.describe_images(ImageIds=[world.image_id])["Images"]
    modify = world.ec2.modify_image_attribute
    changed = code_of(modify, ImageId=world.image_id, ProductCodes=["another"])
    codes = [one["ProductCodeId"] for one in image["ProductCodes"]]
    return codes == ["product_code"] and changed == "OperationNotPermitted"


def is_certified(world: World, said: Any) -> bool:
    certificate = said["Certificate"]
    keep(world, OFHPLP4ZULTHYPMSYEX7O4BEXAMPLE=certificate["CertificateId"])
    return bool(certificate["Status"] == "Active" and certificate["UserName"] == "user-name")


def is_of_bundle(world: World, said: Any) -> bool:
    image = world.image(said)
    about = (image["RootDeviceType"], image["VirtualizationType"], image["Architecture"])
    return about == ("instance-store", "hvm", "x86_64") and "KernelId" not in image


def is_volume(world: World, said: Any) -> bool:
    keep(world, volume_id=said["VolumeId"])
    return (said["Size"], said["AvailabilityZone"]) == (10, "us-west-2b")


def is_snapshot(world: World, said: Any) -> bool:
    keep(world, snapshot_id=said["SnapshotId"])
    about = (said["VolumeId"], said["VolumeSize"], said["Description"])
    return about == (world.names["volume_id"], 10, "your_snapshot_description")


def tells_of_original(world: World, said: Any) -> bool:
    """Line 1421: its architecture, virtualization type and kernel are seen in the text."""
    [line] = [one for one in said.splitlines() if one.startswith("IMAGES\t")]
    wanted = {"x86_64", world.names["ami-id"], "machine", "aki-70cb0e10", "available"}
    return wanted | {"instance-store", "paravirtual", "xen"} <= set(line.split("\t"))


def is_converted(world: World, said: Any) -> bool:
    image = world.image(said)
    [device] = image["BlockDeviceMappings"]
    about = (image["RootDeviceType"], image["KernelId"], device["DeviceName"])
    is_of = device["Ebs"]["SnapshotId"] == world.names["snapshot_id"]
    return is_of and about == ("ebs", "aki-70cb0e10", "/dev/sda1")


def is_gone_but_its_bundle(world: World, _: Any) -> bool:
    """Line 1750: "it doesn't affect the files that you uploaded to Amazon S3"."""
    shown = ids(world.ec2.describe_images(Owners=["self"]))
    left = world.s3.list_objects_v2(Bucket="my-s3-bucket")["Contents"]
    names = {one["Key"].rpartition("/")[2] for one in left}
    return world.names["ami-id"] not in shown and {"image.manifest.xml", "image.part.0"} <= names


Holds = Callable[[World, Any], bool]
HOLDS: dict[int, Holds] = {
    228: lambda world, said: owners(said) == {ACCOUNT, "amazon"} and world.image_id in ids(said),
    232: lambda world, said: world.image_id in ids(said) and owners(said) == {ACCOUNT},
    286: lambda world, said: (
        world.public_id in ids(said) and not {world.image_id, world.shared_id} & ids(said)
    ),
    292: lambda world, said: ids(said) == {world.shared_id, world.paid_id},
    298: lambda _, said: owners(said) == {"amazon"},
    304: lambda world, said: ids(said) == {world.public_id, world.shared_id},
    310: lambda _, said: {one["RootDeviceType"] for one in said["Images"]} == {"ebs"},
    377: lambda world, _: world.permissions() == [{"Group": "all"}],
    381: lambda _, said: said["LaunchPermissions"] == [{"Group": "all"}],
    385: lambda world, _: world.permissions() == [],
    422: lambda world, _: world.permissions() == [{"UserId": OTHER_ACCOUNT}],
    426: lambda world, _: world.shares_volumes(),
    432: lambda world, _: world.permissions() == [],
    436: lambda world, _: not world.shares_volumes(),
    442: lambda world, _: world.permissions() == [],
    670: is_paid,
    719: has_code_for_good,
    1007: is_certified,
    1011: lambda world, said: (
        [one["CertificateId"] for one in said["Certificates"]]
        == [world.names["OFHPLP4ZULTHYPMSYEX7O4BEXAMPLE"]]
    ),
    1015: lambda world, _: [one["Status"] for one in world.certificates()] == ["Inactive"],
    1019: lambda world, _: world.certificates() == [],
    1131: is_of_bundle,
    1305: is_of_bundle,
    1343: is_volume,
    1413: is_snapshot,
    1417: lambda _, said: [one["State"] for one in said["Snapshots"]] == ["completed"],
    1421: tells_of_original,
    1428: is_converted,
    1432: lambda world, _: (
        world.names["volume_id"]
        not in {one["VolumeId"] for one in world.ec2.describe_volumes()["Volumes"]}
    ),
    1750: is_gone_but_its_bundle,
    2099: lambda _, said: [one["Name"][:7] for one in said["Images"]] == ["pv-grub"],
    2161: lambda _, said: ids(said) == {"aki-7a69931a", "aki-70cb0e10"},
    2238: lambda _, said: (
        [(one["VirtualizationType"], one["Name"], one["Description"]) for one in said["Images"]]
        == [("paravirtual", "pv-grub-hd0_1.05-x86_64.gz", "PV-GRUB release 1.05, 64-bit")]
    ),
}


def before(world: World, number: int) -> None:
    """Do what the guide's text has done by other means before a line."""
    if number == 442:  # there is something to take back
        both = {"Add": [{"Group": "all"}, {"UserId": OTHER_ACCOUNT}]}
        world.ec2.modify_image_attribute(ImageId=world.image_id, LaunchPermission=both)
    elif number == 1007:
        world.iam.create_user(UserName="user-name")
    elif number == 1750:  # an instance store-backed image
        keep(world, ami_id=world.names["ami-id"])


def test_every_line_does_what_the_text_around_it_says(world: World) -> None:
    for line in LINES:
        if not line.later:
            before(world, line.number)
            said = world.run(line)
            assert HOLDS[line.number](world, said), f"line {line.number}: {said}"


@pytest.mark.parametrize("line", [one for one in LINES if one.later], ids=lambda one: one.number)
def test_a_line_that_comes_later_is_refused_in_words(world: World, line: GuideLine) -> None:
    code, _, err = world.shell.run(line.words(world.names))
    assert code, f"line {line.number} runs: its row in tests/guide_lines.py is to say what it does"
    assert "UnsupportedOperation" in err


def test_the_table_has_every_line_of_the_guide() -> None:
    """The guide is not here; its lines' digest is. `scripts/guide-lines` compares the text."""
    listed = "".join(f"{line.number} {line.written}\n" for line in LINES)
    assert hashlib.sha256(listed.encode()).hexdigest() == SHA256_OF_LINES
    assert {line.number for line in LINES if not line.later} == HOLDS.keys()
    assert {line.later for line in LINES} <= {"", INSTANCES}


def test_what_the_guide_has_wrong_is_refused(world: World) -> None:
    """Lines 1305 and 1428 as they stand."""
    [forgets, kernel] = [replace(one, meant="") for one in LINES if one.number in {1305, 1428}]
    assert "Unknown options" in world.shell.run(forgets.words(world.names))[2]
    _, _, err = world.shell.run(
        kernel.words(world.names | {"snapshot_id": world.names["snap-1234567890abcdef0"]})
    )
    assert "InvalidParameterCombination" in err
