"""CopyImage: an image of another region, or of this one, with its snapshots; encrypted on wish."""

import sqlite3

from imgforge.aki import Aki, find_akis, identify
from imgforge.catalog.actions.action import action
from imgforge.catalog.actions.facts import image_facts
from imgforge.catalog.actions.image_row import check_image_id, no_image, visible
from imgforge.catalog.actions.images import taken_by
from imgforge.catalog.actions.snapshot_row import ChosenKey, find_key, read_key
from imgforge.catalog.actions.snapshots import copy_snapshot_row
from imgforge.catalog.life_facts import CopyWish
from imgforge.catalog.life_rules import check_copy
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.rules import refuse_as_ec2
from imgforge.catalog.session import (
    OWNER_ALIASES,
    Parameters,
    Result,
    Session,
    iso,
    new_id,
    requested_tags,
)
from imgforge.errors import BadInputError

_FAILED, _FAILURE = "Server.InternalError", "Copy image failed with an internal error."
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
    refuse_as_ec2(check_copy(image_facts(session, source), _wish(session, parameters, source)))
    key = _key(session, parameters)
    mapped = session.rows(
        "SELECT * FROM block_devices WHERE image_id = ? ORDER BY position", source["image_id"]
    )
    image_id = new_id("ami")
    session.insert(
        "images",
        {
            **{column: source[column] for column in _COPIED},
            "image_id": image_id,
            "region": session.region,
            "owner_id": session.owner_id,
            "owner_alias": OWNER_ALIASES.get(session.owner_id),
            "name": parameters["Name"],
            "description": description,
            "image_location": f"{session.owner_id}/{parameters['Name']}",
            "kernel_id": _kernel(session, source),
            "ramdisk_id": source["ramdisk_id"],
            "public": False,
            "state": "available",
            "ready_at_s": session.ready_at_s,
            "creation_date": iso(session.now),
            "state_reason_code": _FAILED if key is not None and key.problem else None,
            "state_reason_message": _FAILURE if key is not None and key.problem else None,
            "source_image_id": source["image_id"],
            "source_image_region": source["region"],
        },
    )
    for device in mapped:
        row = {**dict(device), "image_id": image_id}
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
    return row


def _wish(session: Session, parameters: Parameters, source: sqlite3.Row) -> CopyWish:
    """Return what is asked, beside the copies that are being made."""
    pending = (
        "SELECT count(*) AS number FROM images WHERE ready_at_s > ? AND state = 'available'"
        " AND source_image_id IS NOT NULL AND region = ? AND owner_id = ?"
    )
    values = (session.now_s, session.region, session.owner_id)
    [into] = session.rows(pending, *values)
    [of_source] = session.rows(f"{pending} AND source_image_region = ?", *values, source["region"])
    return CopyWish(
        name=parameters["Name"],
        description=parameters.get("Description", source["description"]),
        region=session.region,
        owner_id=session.owner_id,
        encrypted=parameters.get("Encrypted"),
        kms_key_id=parameters.get("KmsKeyId"),
        key=find_key(session, parameters.get("KmsKeyId")),
        taken_by=taken_by(session, parameters["Name"]),
        pending_into=into["number"],
        pending_from=of_source["number"],
    )


def _key(session: Session, parameters: Parameters) -> ChosenKey | None:
    """Return the key that all snapshots are encrypted with; None where they stay as they are."""
    if not parameters.get("Encrypted", session.encrypts):
        return None
    return read_key(session, parameters.get("KmsKeyId"))


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
