"""Catalogs as earlier versions left them: with an image, and one whose name it took."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from imgforge.catalog.schema_steps import STEPS

SHA = "ab" * 32
IMAGE_ID = "ami-00000000000000002"
SUPERSEDED_ID = "ami-00000000000000001"
SNAPSHOT_ID = "snap-0123456789abcdef0"
_DAY = "2026-01-01T00:00:00.000Z"
_DEVICE: Mapping[str, str | int] = {
    "position": 0,
    "device_name": "/dev/xvda",
    "has_ebs": 1,
    "snapshot_id": SNAPSHOT_ID,
    "volume_size_gib": 8,
    "volume_type": "gp3",
    "delete_on_termination": 1,
    "no_device": 0,
}


def make_old_catalog(
    folder: Path, *, version: int = 1, sha256: str = SHA, size_bytes: int = 100
) -> None:
    """Make a catalog of the first version, and take it to `version` as each of them did.

    The image's snapshot is of a blob of `size_bytes`, which is the caller's to put there.
    """
    folder.mkdir()
    database = sqlite3.connect(folder / "catalog.sqlite3")
    for statement in STEPS[0]:
        database.execute(statement)
    snapshot: dict[str, str | int] = {
        "snapshot_id": SNAPSHOT_ID,
        "owner_id": "123456789012",
        "volume_size_gib": 8,
        "state": "completed",
        "start_time": _DAY,
        "description": "d",
        "encrypted": 0,
        "blob_sha256": sha256,
        "blob_size_bytes": size_bytes,
    }
    _insert(database, "snapshots", snapshot)
    gone: dict[str, str | int] = {
        "state": "deregistered",
        "deregistration_date": _DAY,
        "superseded_by": IMAGE_ID,
    }
    there: dict[str, str | int] = {"state": "available"}
    for image_id, state in ((SUPERSEDED_ID, gone), (IMAGE_ID, there)):
        _insert(database, "images", {**_image(image_id, sha256), **state})
        _insert(database, "block_devices", {"image_id": image_id, **_DEVICE})
        _insert(database, "tags", {"resource_id": image_id, "key": "k", "value": "v"})
    for step in STEPS[1:version]:
        for statement in step:
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {version}")
    database.execute(f"PRAGMA application_id = {0x696D6766}")
    database.commit()
    database.close()


def _image(image_id: str, sha256: str) -> dict[str, str | int]:
    return {
        "image_id": image_id,
        "owner_id": "123456789012",
        "name": "the name",
        "description": "d",
        "architecture": "x86_64",
        "virtualization_type": "hvm",
        "boot_mode": "legacy-bios",
        "root_device_name": "/dev/xvda",
        "ena_support": 1,
        "public": 0,
        "creation_date": _DAY,
        "layout": "hvm-mbr",
        "disk_sha256": sha256,
        "recipe_sha256": "",
        "lock_sha256": "",
        "verified": 0,
        "registration_sha256": SHA,
    }


def _insert(database: sqlite3.Connection, table: str, row: Mapping[str, str | int]) -> None:
    marks = ", ".join("?" * len(row))
    names = ", ".join(row)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
