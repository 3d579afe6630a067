"""Uploads and downloads where the endpoint, the way to it or the host goes wrong."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.bundle import BundleError
from imgforge.ec2 import Cloud, CloudWish, Credentials, open_cloud
from imgforge.errors import BadInputError, CloudError, HostError
from imgforge.transfer import (
    BundlePlace,
    UploadWish,
    download_bundle,
    plan_deletion,
    upload_bundle,
)
from tests.bundle_material import Material, make_material, noise
from tests.s3_serving import Fault, Served, served_s3

MIB = 2**20
PLACE = BundlePlace("my-bucket", "a/b")
KEYS = Credentials("test", "never shown")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A bundle of three parts."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "image").write_bytes(noise(21 * MIB))
    return make_material(folder, folder / "image")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An endpoint that can go wrong."""
    with served_s3(tmp_path / "s3") as one:
        yield one


@pytest.fixture
def cloud(served: Served, tmp_path: Path) -> Iterator[Cloud]:
    """The endpoint, as commands reach it."""
    wish = CloudWish(url=served.url, credentials=KEYS)
    with open_cloud(wish, folder=tmp_path, attempts=3) as opened:
        yield opened


def upload(cloud: Cloud, material: Material) -> tuple[int, int]:
    folder = material.bundle.folder
    done = upload_bundle(cloud, material.bundle.manifest_path, PLACE, folder=folder)
    return done.sent, done.kept


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["slow-down", "spoil"])
def test_what_passes_is_tried_again(
    kind: str, served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    served.app.faults = [Fault("PUT", ".part.1", kind, last=2), Fault("PUT", ".xml", kind, last=1)]
    assert upload(cloud, material) == (3, 0)
    assert served.app.count("PUT", ".part.1") == 3
    download_bundle(cloud, PLACE, destination=tmp_path / "back")
    assert digests(tmp_path / "back") == digests(material.bundle.folder)


@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_what_is_damaged_on_its_way_here_is_healed(
    kind: str, served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    served.app.faults = [
        Fault("GET", ".part.0", kind, last=1),
        Fault("GET", ".part.2", kind, last=1),
    ]
    download_bundle(cloud, PLACE, destination=tmp_path / "back")
    assert digests(tmp_path / "back") == digests(material.bundle.folder)


def test_a_refusal_is_told_at_once(served: Served, cloud: Cloud, material: Material) -> None:
    upload(cloud, material)
    served.app.asked.clear()
    served.app.faults = [Fault("GET", "a/b/image.manifest.xml", "denied")]
    with pytest.raises(CloudError, match="AccessDenied") as caught:
        download_bundle(cloud, PLACE, "image.manifest.xml", destination=Path("never"))
    assert served.app.count("GET", ".xml") == 1
    assert caught.value.exit_code == 4
    assert "never shown" not in f"{caught.value!r} {caught.value.hint} {cloud!r} {KEYS!r}"


@pytest.mark.parametrize("part", [".xml", ".part.1"])
@pytest.mark.parametrize(
    ("kind", "told"), [("portal", "no ETag"), ("no-etag", "no ETag"), ("no-length", "no length")]
)
def test_an_answer_that_no_s3_gives_is_told_as_one(
    kind: str,
    told: str,
    part: str,
    served: Served,
    cloud: Cloud,
    material: Material,
    tmp_path: Path,
) -> None:
    upload(cloud, material)
    served.app.faults = [Fault("GET", part, kind)]
    with pytest.raises(CloudError, match=f"answered with {told}") as caught:
        download_bundle(cloud, PLACE, "image.manifest.xml", destination=tmp_path / "back")
    assert caught.value.code == "NoS3"
    assert "endpoint's URL" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "told"), [("portal", "no list of objects"), ("broken", "refused, 500")]
)
def test_a_list_that_is_none_is_told(
    kind: str, told: str, served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    served.app.faults = [Fault("GET", "list-type=2", kind)]
    with pytest.raises(CloudError, match=told):
        download_bundle(cloud, PLACE, destination=tmp_path / "back")


def test_what_only_says_that_it_took_a_part_is_not_believed(
    served: Served, cloud: Cloud, material: Material
) -> None:
    served.app.faults = [Fault("PUT", ".part.1", "portal")]
    with pytest.raises(CloudError, match="no ETag"):
        upload(cloud, material)
    assert served.app.count("PUT", ".xml") == 0


@pytest.mark.parametrize(
    ("kind", "told", "hint"),
    [
        ("elsewhere", "the bucket is in eu-west-1", "Give --region eu-west-1."),
        ("somewhere", "another region than the one that was asked", "own region with --region"),
    ],
)
def test_a_bucket_of_another_region_is_told_in_plain_words(
    kind: str, told: str, hint: str, served: Served, cloud: Cloud, material: Material
) -> None:
    upload(cloud, material)
    served.app.faults = [Fault("GET", "/my-bucket", kind)]
    for work in (
        lambda: download_bundle(cloud, PLACE, "image.manifest.xml", destination=Path("never")),
        lambda: download_bundle(cloud, PLACE, destination=Path("never")),
        lambda: plan_deletion(cloud, PLACE, name="image"),
    ):
        with pytest.raises(CloudError, match=told) as caught:
            work()
        assert hint in caught.value.hint
        assert caught.value.exit_code == 4


def test_an_endpoint_that_redirects_for_ever_is_told(
    served: Served, cloud: Cloud, material: Material
) -> None:
    upload(cloud, material)
    served.app.faults = [Fault(method, "/my-bucket", "somewhere") for method in ("GET", "HEAD")]
    with pytest.raises(CloudError, match="redirection that names no region"):
        plan_deletion(cloud, PLACE, name="image")


def test_an_endpoint_that_knows_no_ranges_is_asked_again_from_the_start(
    served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    served.app.faults = [
        Fault("GET", ".part.0", "cut", last=1),
        Fault("GET", ".part.0", "no-range"),
    ]
    served.app.asked.clear()
    download_bundle(cloud, PLACE, destination=tmp_path / "back")
    assert digests(tmp_path / "back") == digests(material.bundle.folder)
    assert served.app.count("GET", ".part.0") == 2


def test_an_endpoint_that_stays_busy_is_told_and_the_rest_is_done_later(
    served: Served, cloud: Cloud, material: Material
) -> None:
    served.app.faults = [Fault("PUT", ".part.2", "slow-down")]
    with pytest.raises(CloudError, match=r"image\.part\.2: refused, SlowDown"):
        upload(cloud, material)
    assert served.app.count("PUT", ".xml") == 0
    served.app.faults = []
    sent, kept = upload(cloud, material)
    assert sent + kept == 3
    assert sent >= 1


def test_a_part_that_is_wrong_there_never_gets_its_name(
    served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    served.app.faults = [Fault("GET", ".part.1", "flip")]
    back = tmp_path / "back"
    with pytest.raises(BundleError, match=r"image\.part\.1: has the SHA-1"):
        download_bundle(cloud, PLACE, destination=back)
    assert not {"image.part.1", "image.manifest.xml"} & set(digests(back))
    assert not [path for path in back.iterdir() if path.is_dir()]
    served.app.faults = []
    served.app.asked.clear()
    done = download_bundle(cloud, PLACE, destination=back)
    assert digests(back) == digests(material.bundle.folder)
    assert done.fetched + done.kept == 3


def test_an_endpoint_that_dies_in_the_middle_is_told_and_the_rest_done_when_it_is_back(
    material: Material, tmp_path: Path
) -> None:
    with served_s3(tmp_path / "s3") as served:
        wish = CloudWish(url=served.url, credentials=KEYS)
        with open_cloud(wish, folder=tmp_path, attempts=1) as cloud:
            cloud.storage.make_bucket("my-bucket", region=cloud.region)
    with (
        open_cloud(wish, folder=tmp_path, attempts=1) as cloud,
        pytest.raises(HostError, match="does not answer"),
    ):
        upload(cloud, material)
    with (
        served_s3(tmp_path / "s3") as served,
        open_cloud(CloudWish(url=served.url, credentials=KEYS), folder=tmp_path) as cloud,
    ):
        assert upload(cloud, material) == (3, 0)


def test_a_manifest_there_that_is_hostile_is_refused_before_anything_is_written(
    served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    good = material.bundle.manifest_path.read_bytes()
    for bad, check in (
        (good.replace(b"image.part.0", b"../../evil.0"), "name"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + good, "xml"),
        (good[:-40], "xml"),
        (b"\0" * 9 * MIB, "at most"),
    ):
        cloud.storage._client.put_object(
            Bucket=PLACE.bucket, Key=PLACE.key("image.manifest.xml"), Body=bad
        )
        back = tmp_path / "back"
        with pytest.raises((BundleError, CloudError)) as caught:
            download_bundle(cloud, PLACE, destination=back)
        assert not back.exists()
        assert check in f"{getattr(caught.value, 'check', '')} {caught.value}"


def test_a_foreign_signature_is_refused_before_any_part_is_fetched(
    served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    served.app.asked.clear()
    with pytest.raises(BundleError, match="signature"):
        download_bundle(
            cloud, PLACE, destination=tmp_path / "back", signer=material.ec2.key.public_key
        )
    assert served.app.count("GET", ".part.") == 0


def test_parts_that_are_said_to_be_there_have_to_be(cloud: Cloud, material: Material) -> None:
    folder = material.bundle.folder
    path = material.bundle.manifest_path
    wish = UploadWish(first_part=2)
    with pytest.raises(BadInputError, match=r"is not in s3://my-bucket/a/b as it is here"):
        upload_bundle(cloud, path, PLACE, folder=folder, wish=wish)
    upload(cloud, material)
    assert upload_bundle(cloud, path, PLACE, folder=folder, wish=wish).kept == 3


def test_another_bundle_in_its_place_is_never_half_of_both(
    served: Served, cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(noise(15 * MIB, seed=2))
    other = make_material(tmp_path, tmp_path / "image")
    upload(cloud, material)
    served.app.faults = [Fault("PUT", ".part.1", "denied")]
    with pytest.raises(CloudError, match="AccessDenied"):
        upload(cloud, other)
    keys = {one.key for one in cloud.storage.list_objects(PLACE.bucket, "")}
    assert PLACE.key("image.manifest.xml") not in keys
    served.app.faults = []
    upload(cloud, other)
    download_bundle(cloud, PLACE, destination=tmp_path / "back")
    assert digests(tmp_path / "back") == digests(other.bundle.folder)


def test_who_may_not_list_may_upload(served: Served, cloud: Cloud, material: Material) -> None:
    cloud.storage.make_bucket(PLACE.bucket, region=cloud.region)
    served.app.faults = [Fault("GET", "list-type=2", "denied")]
    assert upload(cloud, material) == (3, 0)
    assert upload(cloud, material) == (0, 3)


def test_a_bucket_without_acls_is_told_with_what_to_do(cloud: Cloud, material: Material) -> None:
    cloud.storage._client.create_bucket(Bucket=PLACE.bucket)
    with pytest.raises(CloudError, match="does not allow ACLs") as caught:
        upload(cloud, material)
    assert "put-bucket-ownership-controls" in caught.value.hint


def test_what_only_talks_to_s3_does_not_wait_for_the_catalog() -> None:
    script = "import sys, imgforge.transfer; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert b"imgforge.ec2.cloud" in loaded.stdout
    assert b"imgforge.catalog" not in loaded.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_told_and_leaves_what_is_right(
    cloud: Cloud, material: Material, tmp_path: Path
) -> None:
    upload(cloud, material)
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (small / "ballast").write_bytes(bytes(6 * MIB))
        with pytest.raises(HostError, match="room for"):
            download_bundle(cloud, PLACE, destination=small / "made" / "here")
        assert [path.name for path in small.iterdir()] == ["ballast"]
        os.truncate(small / "ballast", 0)
        download_bundle(cloud, PLACE, destination=small)
        assert {"image.part.0", "image.manifest.xml"} <= set(digests(small))
    finally:
        subprocess.run(["umount", str(small)], check=True)
