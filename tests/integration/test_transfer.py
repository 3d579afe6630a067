"""Bundles go to the embedded S3 and come back: whole, proved, and never twice."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.bundle import BundleError, Existing
from imgforge.ec2 import CannedAcl, Cloud, CloudWish, open_cloud
from imgforge.errors import BadInputError, CloudError
from imgforge.transfer import (
    BundlePlace,
    Clearing,
    UploadWish,
    delete_bundle,
    download_bundle,
    plan_deletion,
    upload_bundle,
)
from tests.bundle_material import Material, make_material, noise

MIB = 2**20
PLACE = BundlePlace("my-bucket", "bundle_folder/bundle_name")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A bundle of three parts."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "image").write_bytes(noise(21 * MIB))
    return make_material(folder, folder / "image")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """The embedded endpoint, empty."""
    with open_cloud(CloudWish(url="local"), folder=tmp_path / "s3") as opened:
        yield opened


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def upload(cloud: Cloud, material: Material, **wish: object) -> tuple[int, int]:
    done = upload_bundle(
        cloud,
        material.bundle.manifest_path,
        PLACE,
        folder=material.bundle.folder,
        wish=UploadWish(**wish),  # type: ignore[arg-type]
    )
    return done.sent, done.kept


def test_a_bundle_goes_there_and_comes_back(
    cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    assert upload(cloud, material) == (3, 0)
    assert upload(cloud, material) == (0, 3)
    key = material.user.key.public_key
    back = tmp_path / "back"
    done = download_bundle(cloud, PLACE, destination=back, signer=key)
    assert (done.fetched, done.kept) == (3, 0)
    assert digests(back) == digests(material.bundle.folder)
    done = download_bundle(cloud, PLACE, "image.manifest.xml", destination=back)
    assert (done.fetched, done.kept) == (0, 3)
    assert digests(back) == digests(material.bundle.folder)


def test_a_deleted_bundle_can_be_deleted_again(cloud: Cloud, material: Material) -> None:
    upload(cloud, material)
    planned = plan_deletion(cloud, PLACE, name="image")
    assert [key.rpartition("/")[2] for key in planned.keys] == [
        "image.part.0",
        "image.part.1",
        "image.part.2",
        "image.manifest.xml",
    ]
    assert delete_bundle(cloud, planned, clearing=Clearing.REMOVE_EMPTY)
    assert plan_deletion(cloud, PLACE, name="image").keys == ()
    assert cloud.storage.find_bucket("my-bucket") is None


def test_what_is_here_and_something_else_is_refused_or_replaced(
    cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    back = tmp_path / "back"
    back.mkdir()
    (back / "image.part.1").write_bytes(b"mine")
    with pytest.raises(BadInputError, match=r"image\.part\.1: already exists"):
        download_bundle(cloud, PLACE, destination=back)
    assert digests(back) == {"image.part.1": hashlib.sha256(b"mine").hexdigest()}
    download_bundle(cloud, PLACE, destination=back, existing=Existing.REPLACE)
    assert digests(back) == digests(material.bundle.folder)


def test_a_part_that_is_not_the_manifests_is_not_sent(
    cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(material.bundle.folder, bad)
    with (bad / "image.part.1").open("r+b") as file:
        file.write(b"!")
    with pytest.raises(BundleError, match=r"image\.part\.1: has the SHA-1"):
        upload_bundle(cloud, bad / "image.manifest.xml", PLACE, folder=bad)
    there = {one.key for one in cloud.storage.list_objects("my-bucket", "")}
    assert not {key for key in there if key.endswith((".1", ".xml"))}


def test_a_bucket_elsewhere_is_told_with_both_regions(
    cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    wish = CloudWish(url="local", region="eu-west-1")
    with (
        open_cloud(wish, folder=tmp_path / "s3") as elsewhere,
        pytest.raises(CloudError, match=r"is in us-east-1; this upload goes to eu-west-1"),
    ):
        upload(elsewhere, material)


def test_another_acl_is_given_to_what_is_there(cloud: Cloud, material: Material) -> None:
    for acl, grants in ((CannedAcl.PRIVATE, 1), (CannedAcl.AWS_EXEC_READ, 2)):
        upload(cloud, material, acl=acl)
        for name in ("image.part.0", "image.manifest.xml"):
            found = cloud.storage._client.get_object_acl(Bucket=PLACE.bucket, Key=PLACE.key(name))
            assert len(found["Grants"]) == grants
