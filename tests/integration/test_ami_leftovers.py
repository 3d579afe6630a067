"""Bundles that go with their images, and endpoints that die in the middle of a command."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ami_desk import HOME, AmiDesk, credentials
from tests.bundle_material import ACCOUNT, Material, make_material, noise
from tests.serving import OTHER_ACCOUNT, Serving

WEST, CENTRAL = "eu-west-1", "eu-central-1"
BUCKET = "bundles-of-ours"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    (folder / "image").write_bytes(noise(2 * 2**20))
    return make_material(folder, folder / "image")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "catalog"


@pytest.fixture(scope="module")
def serving(catalog: Path) -> Iterator[Serving]:
    with Serving(catalog, "--latency", "0s") as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> AmiDesk:
    for name, value in credentials(tmp_path / "data", ACCOUNT).items():
        monkeypatch.setenv(name, value)
    return AmiDesk(serving, ACCOUNT)


def test_a_bundle_goes_after_the_last_image_that_is_registered_from_it(
    desk: AmiDesk, material: Material
) -> None:
    s3 = desk.serving.client("s3", account=ACCOUNT)
    s3.create_bucket(Bucket=BUCKET, ObjectOwnership="ObjectWriter")
    paths = sorted(material.bundle.folder.iterdir())
    for path in paths:
        key = f"web/{path.name}"
        s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes(), ACL="aws-exec-read")
    s3.put_object(Bucket=BUCKET, Key="web/other.txt", Body=b"stays")
    location = f"{BUCKET}/web/{material.bundle.manifest_path.name}"
    asked: dict[str, Any] = {"ImageLocation": location, "VirtualizationType": "hvm"}
    first = desk.ec2().register_image(Name="first of a bundle", **asked)["ImageId"]
    second = desk.ec2().register_image(Name="second of a bundle", **asked)["ImageId"]
    gc = ("images", "gc", "--dry-run", "--older-than", "0s")
    assert location not in {one["id"] for one in desk.good(*gc)["leftovers"]}
    kept = desk.good("images", "deregister", first, "--with-bundle")
    assert kept["objects_deleted"] == []
    desk.ec2().deregister_image(ImageId=second)
    [left] = [one for one in desk.good(*gc)["leftovers"] if one["kind"] == "bundle"]
    assert left["id"] == location
    third = desk.ec2().register_image(Name="third of a bundle", **asked)["ImageId"]
    assert desk.run("images", "deregister", desk.image("ebs"), "--with-bundle").code == 2
    gone = desk.good("images", "deregister", third, "--with-bundle")
    assert sorted(gone["objects_deleted"]) == sorted(f"web/{path.name}" for path in paths)
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [
        "web/other.txt"
    ]


COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "publish": (
        ("publish", "ID", "--to", f"{WEST},{CENTRAL}", "--account", OTHER_ACCOUNT, "--tag", "v=1"),
        ("CopyImage@2+", "CreateTags", "ModifyImageAttribute", "DeleteTags"),
    ),
    "copy": (("images", "copy", "ID", "--to", f"{WEST},{CENTRAL}", "--wait"), ("CopyImage@2+",)),
    "deregister": (("images", "deregister", "ID", "--with-snapshots"), ("DeleteSnapshot",)),
}


@pytest.mark.parametrize(
    ("command", "action"),
    [(name, action) for name, (_, actions) in COMMANDS.items() for action in actions],
)
def test_an_endpoint_that_dies_is_told_and_the_next_run_finishes(
    catalog: Path, desk: AmiDesk, command: str, action: str
) -> None:
    image_id = desk.image(f"dies {command} {action.partition('@')[0]}")
    words = tuple(image_id if word == "ID" else word for word in COMMANDS[command][0])
    before = desk.state((WEST, CENTRAL))
    name, _, when = action.partition("@")
    more = f"@{when}" if when else ""
    with Serving(catalog, "--latency", "0s", "--fault", f"cut:{name}{more}") as serving:
        ran = AmiDesk(serving, desk.account).run(*words)
    assert (ran.code, "does not answer" in ran.err) == (3, True), ran.err
    desk.good(*words)
    images, snapshots = desk.state((WEST, CENTRAL))
    expected = 0 if command == "deregister" else 2
    assert (images - before[0], snapshots - before[1]) == (expected, expected)
    if command == "deregister":
        assert image_id not in {one["ImageId"] for one in desk.images(HOME)}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("denied:DescribeImages", "AccessDenied"),
        ("expired:DescribeImages", "new credentials"),
        ("throttle:DescribeImages@1/3", ""),
        ("unavailable:DescribeImages@1/3", ""),
    ],
)
def test_refusals_are_told_and_what_passes_is_tried_again(
    catalog: Path, desk: AmiDesk, fault: str, told: str
) -> None:
    with Serving(catalog, "--latency", "0s", "--fault", fault) as serving:
        ran = AmiDesk(serving, desk.account).run("images", "--json")
    assert ran.code == (4 if told else 0), ran.err
    assert told in ran.err or "UnauthorizedOperation" in ran.err
