"""Images and snapshots as rows of the catalog's database, and back."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import fields

from imgforge.catalog.image import (
    LOCAL_REGION,
    Architecture,
    BlockDeviceMapping,
    BootMode,
    EbsDevice,
    Image,
    ImageState,
    Snapshot,
    VirtualizationType,
    VolumeType,
)
from imgforge.recipe import Layout

_IMAGE_COLUMNS = tuple(
    field.name for field in fields(Image) if field.name not in {"block_devices", "tags"}
)
_SNAPSHOT_COLUMNS = tuple(field.name for field in fields(Snapshot))
_DEVICE_COLUMNS = (
    "image_id",
    "position",
    "device_name",
    "has_ebs",
    "snapshot_id",
    "volume_size_gib",
    "volume_type",
    "iops",
    "delete_on_termination",
    "encrypted",
    "virtual_name",
    "no_device",
    "throughput",
    "kms_key_id",
)
Value = str | int | float | None


def insert_image(connection: sqlite3.Connection, image: Image, *, registration_sha256: str) -> None:
    """Write an image with its block devices and tags."""
    values = {column: getattr(image, column) for column in _IMAGE_COLUMNS}
    values["image_location"] = f"{image.owner_id}/{image.name}"
    insert(connection, "images", {**values, "registration_sha256": registration_sha256})
    insert_devices(connection, image.image_id, image.block_devices)
    insert_tags(connection, image.image_id, image.tags)


def insert_devices(
    connection: sqlite3.Connection, image_id: str, devices: Iterable[BlockDeviceMapping]
) -> None:
    """Write an image's block devices, in their order."""
    for position, device in enumerate(devices):
        row = (image_id, position, *_device_values(device))
        insert(connection, "block_devices", dict(zip(_DEVICE_COLUMNS, row, strict=True)))


def insert_tags(connection: sqlite3.Connection, resource_id: str, tags: Mapping[str, str]) -> None:
    """Write a resource's tags; one of a key that is there takes its place."""
    connection.executemany(
        "INSERT OR REPLACE INTO tags (resource_id, key, value) VALUES (?, ?, ?)",
        [(resource_id, key, value) for key, value in tags.items()],
    )


def insert_snapshot(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Write a snapshot."""
    values = {column: getattr(snapshot, column) for column in _SNAPSHOT_COLUMNS}
    values["completion_time"] = snapshot.start_time
    insert(connection, "snapshots", values)


def deregister(
    connection: sqlite3.Connection, image_id: str, *, date: str, superseded_by: str
) -> None:
    """Mark an image as deregistered; it stays as history, and its name is free."""
    connection.execute(
        "UPDATE images SET state = ?, deregistration_date = ?, superseded_by = ?"
        " WHERE image_id = ?",
        (ImageState.DEREGISTERED, date, superseded_by, image_id),
    )


def set_verdict(connection: sqlite3.Connection, image_id: str, verdict_json: str) -> None:
    """Put an accepted verdict to an image that was registered without one."""
    connection.execute(
        "UPDATE images SET verified = 1, verdict_json = ? WHERE image_id = ?",
        (verdict_json, image_id),
    )


def find_by_name(
    connection: sqlite3.Connection, *, owner_id: str, name: str
) -> tuple[Image, str] | None:
    """Return the image that has this name in the local region, and its registration's digest."""
    row = connection.execute(
        "SELECT image_id, registration_sha256 FROM images"
        " WHERE owner_id = ? AND region = ? AND name = ? AND state <> 'deregistered'"
        " AND image_type = 'machine'",
        (owner_id, LOCAL_REGION, name),
    ).fetchone()
    if row is None:
        return None
    image = find_image(connection, row["image_id"])
    return None if image is None else (image, row["registration_sha256"])


def find_image(connection: sqlite3.Connection, image_id: str) -> Image | None:
    """Return an image by its id."""
    found = _load(connection, "WHERE image_id = ?", (image_id,))
    return found[0] if found else None


def list_images(connection: sqlite3.Connection, states: Iterable[ImageState]) -> list[Image]:
    """Return the images in these states, the oldest first."""
    wanted = tuple(states)
    marks = ", ".join("?" * len(wanted))
    where = f"WHERE state IN ({marks}) AND image_type = 'machine' AND root_device_type = 'ebs'"
    return _load(connection, where, wanted)


def find_snapshot(connection: sqlite3.Connection, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot by its id."""
    row = connection.execute(
        "SELECT * FROM snapshots WHERE snapshot_id = ?", (snapshot_id,)
    ).fetchone()
    if row is None:
        return None
    values = {column: row[column] for column in _SNAPSHOT_COLUMNS}
    return Snapshot(**{**values, "encrypted": bool(row["encrypted"])})


def find_snapshot_of(
    connection: sqlite3.Connection, *, blob_sha256: str, description: str
) -> Snapshot | None:
    """Return a snapshot of this content and description in the local region."""
    row = connection.execute(
        "SELECT snapshot_id FROM snapshots WHERE blob_sha256 = ? AND description = ?"
        " AND state = 'completed' AND region = ? ORDER BY start_time LIMIT 1",
        (blob_sha256, description, LOCAL_REGION),
    ).fetchone()
    return None if row is None else find_snapshot(connection, row["snapshot_id"])


def find_content_id(connection: sqlite3.Connection, snapshot_id: str) -> str:
    """Return where the blocks of a snapshot are; "" for one of a blob."""
    row = connection.execute(
        "SELECT content_id FROM snapshots WHERE snapshot_id = ?", (snapshot_id,)
    ).fetchone()
    return str(row["content_id"]) if row else ""


def insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Value]) -> None:
    """Write a row; table and columns are this room's own names."""
    # Table and columns are names of this room; only values come from outside.
    marks = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608 (as said above)
    connection.execute(statement, tuple(values.values()))


def _device_values(device: BlockDeviceMapping) -> tuple[Value, ...]:
    ebs = device.ebs
    rest = (device.virtual_name, device.no_device)
    if ebs is None:
        return (device.device_name, False, *[None] * 6, *rest, None, None)
    return (
        device.device_name,
        True,
        ebs.snapshot_id,
        ebs.volume_size_gib,
        ebs.volume_type,
        ebs.iops,
        ebs.delete_on_termination,
        ebs.encrypted,
        *rest,
        ebs.throughput,
        ebs.kms_key_id,
    )


def _load(connection: sqlite3.Connection, where: str, arguments: tuple[str, ...]) -> list[Image]:
    # `where` is one of this module's: only its arguments come from outside.
    images = f"SELECT * FROM images {where}"  # noqa: S608 (as said above)
    rows = connection.execute(f"{images} ORDER BY creation_date, rowid", arguments).fetchall()
    ids = f"SELECT image_id FROM images {where}"  # noqa: S608 (the same)
    devices: dict[str, list[BlockDeviceMapping]] = defaultdict(list)
    for row in connection.execute(
        f"SELECT * FROM block_devices WHERE image_id IN ({ids}) ORDER BY position",  # noqa: S608 (the same)
        arguments,
    ):
        devices[row["image_id"]].append(read_device(row))
    tags: dict[str, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(
        f"SELECT * FROM tags WHERE resource_id IN ({ids}) ORDER BY key",  # noqa: S608 (the same)
        arguments,
    ):
        tags[row["resource_id"]][row["key"]] = row["value"]
    return [
        _read_image(row, tuple(devices[row["image_id"]]), tags[row["image_id"]]) for row in rows
    ]


def _read_image(
    row: sqlite3.Row, devices: tuple[BlockDeviceMapping, ...], tags: Mapping[str, str]
) -> Image:
    values = {column: row[column] for column in _IMAGE_COLUMNS}
    for column in ("ena_support", "public", "verified"):
        values[column] = bool(values[column])
    try:
        values |= _read_choices(row)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"the record of {row['image_id']} has {error}") from error
    return Image(**values, block_devices=devices, tags=tags)


def _read_choices(row: sqlite3.Row) -> dict[str, object]:
    return {
        "architecture": Architecture(row["architecture"]),
        "virtualization_type": VirtualizationType(row["virtualization_type"]),
        "boot_mode": row["boot_mode"] and BootMode(row["boot_mode"]),
        "state": ImageState(row["state"]),
        "layout": row["layout"] and Layout(row["layout"]),
    }


def read_device(row: sqlite3.Row) -> BlockDeviceMapping:
    """Return a block device of its row."""
    ebs = None
    if row["has_ebs"]:
        ebs = EbsDevice(
            snapshot_id=row["snapshot_id"],
            volume_size_gib=row["volume_size_gib"],
            volume_type=VolumeType(row["volume_type"]),
            iops=row["iops"],
            delete_on_termination=bool(row["delete_on_termination"]),
            encrypted=None if row["encrypted"] is None else bool(row["encrypted"]),
            throughput=row["throughput"],
            kms_key_id=row["kms_key_id"],
        )
    return BlockDeviceMapping(
        row["device_name"],
        ebs=ebs,
        virtual_name=row["virtual_name"],
        no_device=bool(row["no_device"]),
    )
