"""CopyImage: an image of another region, or of this one, with its snapshots; encrypted on wish."""

import sqlite3
from collections.abc import Sequence

from imgforge.aki import Aki, find_akis, identify
from imgforge.catalog.actions.action import action
from imgforge.catalog.actions.image_row import check_image_id, check_ready, no_image, visible
from imgforge.catalog.actions.images import check_name_is_free
from imgforge.catalog.actions.snapshot_row import read_key, usable_snapshot
from imgforge.catalog.actions.snapshots import copy_snapshot_row
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError, combination
from imgforge.catalog.rules import check_texts, refuse_as_ec2
from imgforge.catalog.session import Parameters, Result, Session, iso, new_id, requested_tags
from imgforge.errors import BadInputError

_MOST_INTO_REGION = 50
_MOST_FROM_REGION = 25
_COPIED = (
    "architecture",
    "virtualization_type",
    "boot_mode",
    "root_device_name",
    "root_device_type",
    "platform",
    "ena_support",
    "sriov_net_support",
    "tpm_support",
    "imds_support",
    "uefi_data",
)


@action("CopyImage")
def copy_image(session: Session, parameters: Parameters) -> Result:
    """Copy an image into the caller's region: never its launch permissions, its tags on wish."""
    for unknown in ("DestinationOutpostArn", "DestinationAvailabilityZone"):
        if parameters.get(unknown):
            raise RefusedError("UnsupportedOperation", f"{unknown} is not known to this endpoint.")
    tags = requested_tags(parameters, "image", "snapshot")
    source = _source(session, parameters)
    description = parameters.get("Description", source["description"])
    refuse_as_ec2(check_texts(parameters["Name"], description))
    check_name_is_free(session, parameters["Name"])
    _check_room(session, source)
    key = _key(session, parameters)
    mapped = session.rows(
        "SELECT b.*, s.encrypted AS of_snapshot, s.owner_id AS snapshot_owner FROM block_devices b"
        " LEFT JOIN snapshots s USING (snapshot_id) WHERE b.image_id = ? ORDER BY b.position",
        source["image_id"],
    )
    _check_encryption(session, source, mapped, parameters)
    image_id = new_id("ami")
    session.insert(
        "images",
        {
            **{column: source[column] for column in _COPIED},
            "image_id": image_id,
            "region": session.region,
            "owner_id": session.owner_id,
            "name": parameters["Name"],
            "description": description,
            "image_location": f"{session.owner_id}/{parameters['Name']}",
            "kernel_id": _kernel(session, source),
            "ramdisk_id": source["ramdisk_id"],
            "public": False,
            "state": "available",
            "ready_at_s": session.ready_at_s,
            "creation_date": iso(session.now),
            "source_image_id": source["image_id"],
            "source_image_region": source["region"],
        },
    )
    for device in mapped:
        row = {**dict(device), "image_id": image_id}
        del row["of_snapshot"], row["snapshot_owner"]
        if device["snapshot_id"] is not None:
            row["snapshot_id"] = copy_snapshot_row(
                session,
                device["snapshot_id"],
                key=key,
                description=f"Copied for DestinationAmi {image_id} from SourceAmi"
                f" {source['image_id']} for SourceSnapshot {device['snapshot_id']}.",
            )
            insert_tags(session.connection, row["snapshot_id"], tags["snapshot"])
        session.insert("block_devices", row)
    if parameters.get("CopyImageTags") and source["owner_id"] == session.owner_id:
        own = session.tags_of([source["image_id"]])[source["image_id"]]
        insert_tags(session.connection, image_id, {tag["Key"]: tag["Value"] for tag in own})
    insert_tags(session.connection, image_id, tags["image"])
    return {"ImageId": image_id}


def _source(session: Session, parameters: Parameters) -> sqlite3.Row:
    region, image_id = parameters["SourceRegion"], parameters["SourceImageId"]
    if region not in session.regions:
        raise RefusedError("InvalidParameterValue", f"Invalid region name: {region[:100]}")
    check_image_id(image_id)
    condition, values = visible(session)
    row = session.row(
        f"SELECT i.* FROM images i WHERE {condition} AND i.image_id = ?",  # noqa: S608 (this room's text)
        region,
        *values[1:],
        image_id,
    )
    if row is None or row["image_type"] != "machine":
        raise no_image(image_id)
    check_ready(session, row)
    coded = session.row("SELECT 1 FROM product_codes WHERE image_id = ?", image_id)
    if coded is not None and row["owner_id"] != session.owner_id:
        raise RefusedError(
            "OperationNotPermitted",
            f"The image {image_id} has a product code and is another account's: not copied.",
        )
    return row


def _check_room(session: Session, source: sqlite3.Row) -> None:
    """Refuse more copies at once than EC2 makes (EC2 User Guide, "Copy an AMI")."""
    pending = "ready_at_s > ? AND source_image_id IS NOT NULL AND state = 'available'"
    (into,) = session.rows(
        f"SELECT count(*) FROM images WHERE {pending} AND region = ? AND owner_id = ?",  # noqa: S608 (this module's text)
        session.now_s,
        session.region,
        session.owner_id,
    )
    (from_region,) = session.rows(
        f"SELECT count(*) FROM images WHERE {pending} AND region = ? AND owner_id = ?"  # noqa: S608 (this module's text)
        " AND source_image_region = ?",
        session.now_s,
        session.region,
        session.owner_id,
        source["region"],
    )
    if into[0] >= _MOST_INTO_REGION or from_region[0] >= _MOST_FROM_REGION:
        raise RefusedError(
            "ResourceLimitExceeded",
            f"At most {_MOST_INTO_REGION} copies into a region, and {_MOST_FROM_REGION} of them"
            " from one region, are made at once.",
        )


def _key(session: Session, parameters: Parameters) -> str | None:
    """Return the key that all snapshots are encrypted with; None where they stay as they are."""
    if not parameters.get("Encrypted"):
        if parameters.get("KmsKeyId"):
            raise RefusedError(
                "InvalidParameterDependency",
                "The parameter KmsKeyId requires the parameter Encrypted to be set.",
            )
        return None
    return read_key(session, parameters.get("KmsKeyId"))


def _check_encryption(
    session: Session,
    source: sqlite3.Row,
    mapped: Sequence[sqlite3.Row],
    parameters: Parameters,
) -> None:
    encrypted = [device for device in mapped if device["of_snapshot"]]
    if source["root_device_type"] == "instance-store" and parameters.get("Encrypted"):
        raise combination("An image backed by instance store cannot be encrypted.")
    if encrypted and parameters.get("Encrypted") is False:
        raise combination(
            f"The snapshot {encrypted[0]['snapshot_id']} is encrypted; no copy of it is not."
        )
    if source["owner_id"] != session.owner_id:
        _check_storage(session, source, mapped)
    if any(device["snapshot_owner"] != session.owner_id for device in encrypted):
        raise RefusedError(
            "OperationNotPermitted",
            f"The image {source['image_id']} is another account's and encrypted: copy its"
            " snapshots, and register from them.",
        )


def _check_storage(session: Session, source: sqlite3.Row, mapped: Sequence[sqlite3.Row]) -> None:
    """Refuse another's image whose snapshots are not shared (Guide, "Resource Permissions")."""
    for device in mapped:
        if device["snapshot_id"] is None:
            continue
        try:
            usable_snapshot(session, device["snapshot_id"], region=source["region"])
        except RefusedError:
            raise RefusedError(
                "InvalidRequest", "You do not have permission to access the storage of this ami"
            ) from None


def _kernel(session: Session, source: sqlite3.Row) -> str | None:
    """Return the kernel of the copy: the same PV-GRUB's id in this region."""
    kernel_id: str | None = source["kernel_id"]
    if kernel_id is None or source["region"] == session.region:
        return kernel_id
    aki = identify(kernel_id)
    same = _same_aki(aki, session.region) if aki is not None else None
    if same is None:
        raise RefusedError(
            "InvalidRequest",
            f"The kernel {kernel_id} of {source['image_id']} has no counterpart in"
            f" {session.region}.",
        )
    return same.aki_id


def _same_aki(aki: Aki, region: str) -> Aki | None:
    try:
        found = find_akis(
            region=region, architecture=aki.pv_grub.architecture, place=aki.pv_grub.place
        )
    except BadInputError:
        return None
    return found[0] if found else None
