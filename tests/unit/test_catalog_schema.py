"""An older catalog is opened: nothing of it is lost. What is none is named and left alone."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from imgforge.catalog import Account, schema
from imgforge.errors import HostError
from tests.old_catalog import IMAGE_ID, SHA, SNAPSHOT_ID, SUPERSEDED_ID, make_old_catalog

REGION = "us-east-1"


def opened(folder: Path) -> Account:
    return Account(folder, regions=[REGION], pending_s=0)


def own_images(account: Account) -> Any:
    return account.perform("DescribeImages", {"Owners": ["self"]}, region=REGION)["Images"]


def rows(folder: Path, statement: str) -> list[Any]:
    database = sqlite3.connect(folder / "catalog.sqlite3")
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


@pytest.mark.parametrize("version", range(1, schema.SCHEMA_VERSION + 1))
def test_a_catalog_of_each_version_is_brought_up(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "catalog"
    make_old_catalog(folder, version=version)
    with opened(folder) as account:
        [image] = own_images(account)
    assert (image["ImageId"], image["Name"]) == (IMAGE_ID, "the name")
    assert image["ImageLocation"] == "123456789012/the name"
    assert image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == SNAPSHOT_ID
    tags = {one["Key"]: one["Value"] for one in image["Tags"]}
    assert (tags["k"], tags["imgforge:sha256"]) == ("v", SHA)
    assert tags["imgforge:verdict"] == "unverified"
    assert rows(folder, "PRAGMA foreign_key_check") == []
    assert rows(folder, "PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]
    references = rows(folder, "PRAGMA foreign_key_list(block_devices)")
    assert {row[2] for row in references} == {"images", "snapshots"}


def test_what_took_a_name_is_still_told_of_whom(tmp_path: Path) -> None:
    make_old_catalog(tmp_path / "catalog")
    with opened(tmp_path / "catalog") as account:
        [image] = own_images(account)
        [snapshot] = account.perform(
            "DescribeSnapshots", {"SnapshotIds": [SNAPSHOT_ID]}, region=REGION
        )["Snapshots"]
    assert (snapshot["State"], snapshot["VolumeSize"]) == ("completed", 8)
    found = rows(
        tmp_path / "catalog",
        f"SELECT state, superseded_by FROM images WHERE image_id = '{SUPERSEDED_ID}'",
    )
    assert found == [("deregistered", image["ImageId"])]


def test_an_old_image_is_shared_tagged_and_deregistered(tmp_path: Path) -> None:
    make_old_catalog(tmp_path / "catalog")
    other = "111122223333"
    with opened(tmp_path / "catalog") as account:

        def ask(name: str, account_id: str | None = None, **parameters: Any) -> Any:
            return account.perform(name, parameters, region=REGION, account_id=account_id)

        ask(
            "ModifyImageAttribute",
            ImageId=IMAGE_ID,
            LaunchPermission={"Add": [{"UserId": other}]},
        )
        [seen] = ask("DescribeImages", other, ExecutableUsers=["self"])["Images"]
        assert seen["ImageId"] == IMAGE_ID
        ask("CreateTags", Resources=[IMAGE_ID], Tags=[{"Key": "k", "Value": "w"}])
        assert {"Key": "k", "Value": "w"} in own_images(account)[0]["Tags"]
        ask("DeregisterImage", ImageId=IMAGE_ID)
        assert own_images(account) == []
        ask("DeleteSnapshot", SnapshotId=SNAPSHOT_ID)


def test_an_empty_folder_becomes_a_catalog(tmp_path: Path) -> None:
    with opened(tmp_path / "catalog") as account:
        assert own_images(account) == []


@pytest.mark.parametrize(
    "content", [b"garbage" * 1000, b"SQLite format 3\0", bytes(range(256)) * 32]
)
def test_a_garbage_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "catalog.sqlite3").write_bytes(content)
    with pytest.raises(HostError, match=r"catalog\.sqlite3: is damaged"), opened(tmp_path):
        pass
    assert (tmp_path / "catalog.sqlite3").read_bytes() == content


def test_a_truncated_database_is_named(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    database = tmp_path / "catalog.sqlite3"
    os.truncate(database, database.stat().st_size // 2)
    with (
        pytest.raises(HostError, match=r"catalog\.sqlite3: is damaged"),
        opened(tmp_path) as account,
    ):
        own_images(account)


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    rows(tmp_path, "PRAGMA user_version = 99")
    with pytest.raises(HostError, match="has schema 99") as caught, opened(tmp_path):
        pass
    assert caught.value.hint == "Update imgforge."
    assert rows(tmp_path, "PRAGMA user_version") == [(99,)]


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    rows(tmp_path, "CREATE TABLE precious (x)")
    with pytest.raises(HostError, match="of another program"), opened(tmp_path):
        pass
    assert rows(tmp_path, "SELECT name FROM sqlite_schema") == [("precious",)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "catalog"
    with pytest.raises(HostError, match="file/catalog: cannot be opened"), opened(folder):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir(mode=0o555)
    with pytest.raises(HostError, match=r"catalog.*cannot be written to"), opened(folder):
        pass
    make_old_catalog(tmp_path / "old")
    (tmp_path / "old" / "catalog.sqlite3").chmod(0o444)
    with pytest.raises(HostError, match="may not bring it up to"), opened(tmp_path / "old"):
        pass
