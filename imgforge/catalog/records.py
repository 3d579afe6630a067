"""Block devices and tags as rows of the catalog's database, and devices back."""

import sqlite3
from collections.abc import Iterable, Mapping

from imgforge.catalog.image import BlockDeviceMapping, EbsDevice
from imgforge.image_choice import VolumeType

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


def insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Value]) -> None:
    """Write a row; table and columns are this room's own names."""
    # Table and columns are names of this room; only values come from outside.
    marks = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608 (this room's names)
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
