"""An older catalog is opened: nothing of it is lost."""

import sqlite3
from pathlib import Path

from imgforge.catalog import Account, Catalog, ImageState, schema

SHA = "ab" * 32
FIRST = schema._STEPS[0]


def make_first_catalog(folder: Path) -> None:
    """Make a catalog as the first version did, with two images, one of them superseded."""
    folder.mkdir()
    database = sqlite3.connect(folder / "catalog.sqlite3")
    for statement in FIRST:
        database.execute(statement)
    database.execute(
        "INSERT INTO snapshots VALUES ('snap-0123456789abcdef0', '123456789012', 8, 'completed',"
        " '2026-01-01T00:00:00.000Z', 'd', 0, ?, 100)",
        (SHA,),
    )
    for number, state, gone, after in (
        (1, "deregistered", "2026-01-02T00:00:00.000Z", "ami-00000000000000002"),
        (2, "available", None, None),
    ):
        image_id = f"ami-{number:017x}"
        database.execute(
            "INSERT INTO images VALUES (?, '123456789012', 'the name', 'd', 'x86_64', 'hvm',"
            " 'legacy-bios', '/dev/xvda', NULL, 1, 0, ?, '2026-01-01T00:00:00.000Z', 'hvm-mbr',"
            " ?, '', '', 0, NULL, ?, ?, ?)",
            (image_id, state, SHA, gone, after, SHA),
        )
        database.execute(
            "INSERT INTO block_devices VALUES (?, 0, '/dev/xvda', 1, 'snap-0123456789abcdef0', 8,"
            " 'gp3', NULL, 1, NULL, NULL, 0)",
            (image_id,),
        )
        database.execute("INSERT INTO tags VALUES (?, 'k', 'v')", (image_id,))
    database.execute("PRAGMA user_version = 1")
    database.execute(f"PRAGMA application_id = {0x696D6766}")
    database.commit()
    database.close()


def test_a_catalog_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    make_first_catalog(folder)
    with Catalog(folder) as catalog:
        [image] = catalog.images()
        assert image.image_id == "ami-00000000000000002"
        assert (image.tags["k"], image.tags["imgforge:sha256"]) == ("v", "ab" * 32)
        [device] = image.block_devices
        assert device.ebs is not None
        assert device.ebs.snapshot_id == "snap-0123456789abcdef0"
        old = catalog.image("ami-00000000000000001")
        assert (old.state, old.superseded_by) == (ImageState.DEREGISTERED, image.image_id)
        assert catalog.snapshot("snap-0123456789abcdef0").blob_sha256 == SHA
    database = sqlite3.connect(folder / "catalog.sqlite3")
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    assert database.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    references = database.execute("PRAGMA foreign_key_list(block_devices)").fetchall()
    assert {row[2] for row in references} == {"images", "snapshots"}


def test_what_an_older_version_registered_ec2_shows(tmp_path: Path) -> None:
    make_first_catalog(tmp_path / "catalog")
    with Account(tmp_path / "catalog", regions=["us-east-1"]) as account:
        [image] = account.perform("DescribeImages", {"Owners": ["self"]}, region="us-east-1")[
            "Images"
        ]
    assert image["ImageId"] == "ami-00000000000000002"
    assert image["ImageLocation"] == "123456789012/the name"
    assert {"Key": "k", "Value": "v"} in image["Tags"]
    assert {"Key": "imgforge:verdict", "Value": "unverified"} in image["Tags"]
    assert image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == "snap-0123456789abcdef0"


def test_a_catalog_without_images_is_brought_up(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        assert catalog.images() == []
