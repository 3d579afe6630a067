"""What is of another region, or not allowed: told with EC2's code, and nothing is half done."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ami_desk import HOME, AmiDesk, credentials
from tests.registering import make_disk
from tests.serving import ACCOUNT, OTHER_ACCOUNT, Serving

WEST = "eu-west-1"
_KEY = f"arn:aws:kms:{HOME}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@dataclass(frozen=True)
class Place:
    """A catalog with an image, and a disk to register."""

    catalog: Path
    disk: Path
    image_id: str
    snapshot_id: str

    def words(self, line: str) -> list[str]:
        known = {"IMAGE": self.image_id, "SNAP": self.snapshot_id, "DISK": str(self.disk)}
        return [known.get(word, word) for word in line.split()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    with Serving(folder / "catalog", "--latency", "0s") as serving:
        desk = AmiDesk(serving, ACCOUNT)
        image_id = desk.image("the image")
        [snapshot_id] = desk.snapshots()
    disk = make_disk(folder / "d.raw", size_mib=2)
    return Place(folder / "catalog", disk.path, image_id, snapshot_id)


@pytest.fixture
def desk(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AmiDesk]:
    for name, value in credentials(tmp_path, ACCOUNT).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with Serving(place.catalog, "--latency", "0s") as serving:
        yield AmiDesk(serving, ACCOUNT)


def test_the_region_is_the_command_lines_then_aws_region(
    place: Place, desk: AmiDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 does not read AWS_REGION, which the AWS CLI and all other SDKs do."""
    config = tmp_path / "config"
    config.write_text(f"[default]\nregion = {HOME}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    def is_seen(*words: str) -> bool:
        return place.image_id in desk.run("images", *words, "--json").out

    assert is_seen()
    monkeypatch.setenv("AWS_REGION", WEST)
    assert not is_seen()
    assert is_seen("--region", HOME)
    monkeypatch.delenv("AWS_REGION")
    assert is_seen()
    monkeypatch.setenv("AWS_DEFAULT_REGION", WEST)
    assert not is_seen()


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        (f"images show IMAGE --region {WEST}", 4, "InvalidAMIID.NotFound"),
        (f"images deregister IMAGE --region {WEST}", 4, "InvalidAMIID.NotFound"),
        (f"publish IMAGE --unverified --region {WEST}", 4, "InvalidAMIID.NotFound"),
        (f"launch IMAGE --region {WEST}", 4, "InvalidAMIID.NotFound"),
        (f"snapshots show SNAP --region {WEST}", 4, "InvalidSnapshot.NotFound"),
        (f"snapshots download SNAP -o x.raw --region {WEST}", 4, "ResourceNotFoundException"),
        (
            f"register --snapshot SNAP --name abc --unverified --region {WEST} "
            "--virtualization-type hvm --architecture x86_64",
            4,
            "InvalidSnapshot.NotFound",
        ),
        (f"snapshots upload DISK --parent SNAP --region {WEST}", 4, "InvalidSnapshot.NotFound"),
        (
            "register --snapshot SNAP --name abc --unverified --kernel-id aki-dc9ed9af "
            "--virtualization-type paravirtual --architecture x86_64",
            2,
            "kernel-region",
        ),
        (f"images copy IMAGE --to {WEST}={_KEY}", 2, "copy-key-region"),
        (f"snapshots copy SNAP --to {WEST} --kms-key {_KEY}", 2, ""),
        ("images share IMAGE --org arn:aws:organizations::1:organization/o-x", 2, "ARN"),
        ("images copy IMAGE --to nowhere-9", 4, ""),
        ("images --region Not_A_Region", 2, "Not_A_Region"),
    ],
)  # fmt: skip
def test_what_is_of_another_region_is_refused_and_makes_nothing(
    place: Place, desk: AmiDesk, line: str, code: int, told: str
) -> None:
    before = desk.state((HOME, WEST))
    ran = desk.run(*place.words(line))
    assert ran.code in ({code} if told else {2, 4}), ran.err
    assert told in ran.err
    assert desk.state((HOME, WEST)) == before


ACTIONS = {
    "DescribeImages": "images show IMAGE",
    "DescribeImageAttribute": "images show IMAGE",
    "DescribeSnapshots": "snapshots show SNAP",
    "RegisterImage": "register DISK --name abc --unverified",
    "StartSnapshot": "register DISK --name abc --unverified",
    "PutSnapshotBlock": "register DISK --name abc --unverified",
    "CompleteSnapshot": "register DISK --name abc --unverified",
    "CopyImage": f"images copy IMAGE --to {WEST}",
    "CopySnapshot": f"snapshots copy SNAP --to {WEST}",
    "CreateTags": "images tag IMAGE a=b",
    "DeleteTags": "images tag IMAGE --remove imgforge",
    "ModifyImageAttribute": f"images share IMAGE --account {OTHER_ACCOUNT}",
    "ModifySnapshotAttribute": f"snapshots share SNAP --account {OTHER_ACCOUNT}",
    "DeregisterImage": "images deregister IMAGE",
    "EnableImageDeregistrationProtection": "images protect IMAGE",
    "EnableImageDeprecation": "images deprecate IMAGE --at 2030-01-01T00:00:00Z",
    "ListSnapshotBlocks": "snapshots download SNAP -o x.raw",
}


@pytest.mark.parametrize("kind", ["denied", pytest.param("expired", marks=pytest.mark.slow)])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_that_is_not_allowed_ends_the_command_with_ec2s_code(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    kind: str,
) -> None:
    for name, value in credentials(tmp_path, ACCOUNT).items():
        monkeypatch.setenv(name, value)
    here = tmp_path / "here"  # not beside XDG_DATA_HOME's own folder imgforge
    here.mkdir()
    monkeypatch.chdir(here)
    words = place.words(ACTIONS[action])
    with Serving(place.catalog, "--latency", "0s", "--fault", f"{kind}:{action}") as serving:
        desk = AmiDesk(serving, ACCOUNT)
        if action == "DeleteTags":
            tag = [{"Key": "imgforge", "Value": "x"}]
            desk.ec2().create_tags(Resources=[place.image_id], Tags=tag)
        ran = desk.run(*words)
    assert ran.code == 4, ran.err
    codes = {
        "denied": ("UnauthorizedOperation", "AccessDeniedException"),
        "expired": ("RequestExpired", "ExpiredToken"),
    }
    assert any(code in ran.err for code in codes[kind]), ran.err
    with Serving(place.catalog) as serving:
        desk = AmiDesk(serving, ACCOUNT)
        assert [one["ImageId"] for one in desk.images()] == [place.image_id]
        assert desk.images(WEST) == []
        state = [desk.ec2(region).describe_snapshots(OwnerIds=["self"]) for region in (HOME, WEST)]
        done = [one for told in state for one in told["Snapshots"] if one["State"] == "completed"]
        assert [one["SnapshotId"] for one in done] == [place.snapshot_id]
