"""The disk that a registered image is launched from: its snapshot, in the cache, as it was."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge import host
from imgforge.catalog import ImageRegistration
from imgforge.cloud_access import reached_ec2
from imgforge.disk import disk_sha256
from imgforge.ec2 import Cloud, CloudWish
from imgforge.errors import BadInputError, HostError
from imgforge.image_disk import disk_of
from imgforge.inventory import CacheKind, take_inventory
from imgforge.layout import Layout
from imgforge.recipe import ImagePart
from imgforge.registering import DiskWish, register_disk
from tests.registering import make_disk

HVM = ImageRegistration.of_recipe(ImagePart(name="my image"), layout=Layout.HVM_MBR)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("IMGFORGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def cloud(home: None) -> Iterator[Cloud]:
    with reached_ec2(CloudWish(url="local")) as opened:
        yield opened


def test_it_is_the_disk_that_was_registered_sparse_and_kept_while_in_use(
    cloud: Cloud, tmp_path: Path
) -> None:
    disk = make_disk(tmp_path / "d.raw")
    image = register_disk(cloud, DiskWish(disk, HVM, None))
    with disk_of(cloud, image) as found:
        assert (found.sha256, found.layout) == (disk.sha256, Layout.HVM_MBR)
        assert disk_sha256(found.path) == disk.sha256
        assert found.path.stat().st_size == disk.size_bytes
        assert found.path.stat().st_blocks * 512 < 8 * 2**20
        [item] = take_inventory(host.cache_dir(), kinds=[CacheKind.SNAPSHOTS])
        assert item.in_use
        assert image.image_id in item.what
    [item] = take_inventory(host.cache_dir(), kinds=[CacheKind.SNAPSHOTS])
    assert not item.in_use
    before = found.path.stat().st_ino
    with disk_of(cloud, image) as again:
        assert again.path.stat().st_ino == before


def test_a_tag_that_names_another_disk_is_told(cloud: Cloud, tmp_path: Path) -> None:
    image = register_disk(cloud, DiskWish(make_disk(tmp_path / "d.raw"), HVM, None))
    cloud.compute.tag([image.image_id], {"imgforge:sha256": "0" * 64})
    changed = cloud.compute.image(image.image_id)
    with pytest.raises(HostError, match="its tag imgforge:sha256 says"), disk_of(cloud, changed):
        pass
    assert not list(host.cache_dir().glob("snapshots/*/disk.raw"))


def test_an_image_without_our_tags_has_its_whole_volume_and_its_own_bytes_tell(
    cloud: Cloud, tmp_path: Path
) -> None:
    image = register_disk(cloud, DiskWish(make_disk(tmp_path / "d.raw"), HVM, None))
    cloud.compute.untag([image.image_id], list(image.tags))
    with disk_of(cloud, cloud.compute.image(image.image_id)) as found:
        assert (found.size_bytes, found.layout) == (2**30, Layout.HVM_MBR)


def test_a_volume_that_goes_on_behind_the_size_of_its_tag_is_not_cut(
    cloud: Cloud, tmp_path: Path
) -> None:
    disk = make_disk(tmp_path / "d.raw")
    image = register_disk(cloud, DiskWish(disk, HVM, None))
    cloud.compute.untag([image.image_id], ["imgforge:sha256"])
    cloud.compute.tag([image.image_id], {"imgforge:size-bytes": "1048576"})
    with disk_of(cloud, cloud.compute.image(image.image_id)) as found:
        assert found.size_bytes == 2**30


def test_an_image_of_instance_store_has_no_disk(cloud: Cloud, tmp_path: Path) -> None:
    image = register_disk(cloud, DiskWish(make_disk(tmp_path / "d.raw"), HVM, None))
    told = {**image.told, "RootDeviceType": "instance-store", "BlockDeviceMappings": []}
    with pytest.raises(BadInputError, match="instance-store"), disk_of(cloud, image.of(told)):
        pass


def test_images_that_were_registered_before_there_were_tags_are_known_by_them(
    tmp_path: Path,
) -> None:
    """The columns of older catalogs become tags, once, when the catalog is opened."""
    with reached_ec2(CloudWish(url="local")) as cloud:
        disk = make_disk(tmp_path / "d.raw")
        image = register_disk(cloud, DiskWish(disk, HVM, None))
    path = host.catalog_dir() / "catalog.sqlite3"
    database = sqlite3.connect(path)
    with database:
        database.execute("DELETE FROM tags")
        database.execute(
            "UPDATE images SET disk_sha256 = ?, registration_sha256 = ?, verified = 1,"
            " verdict_json = '{}', layout = 'hvm-mbr'",
            (disk.sha256, HVM.digest(disk.sha256)),
        )
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version - 1}")
    database.close()
    with reached_ec2(CloudWish(url="local")) as cloud:
        old = cloud.compute.image(image.image_id)
        assert old.tags["imgforge:sha256"] == disk.sha256
        assert old.tags["imgforge:verdict"] == "accepted"
        assert old.tags["imgforge:layout"] == "hvm-mbr"
        assert register_disk(cloud, DiskWish(disk, HVM, None)).image_id == image.image_id
