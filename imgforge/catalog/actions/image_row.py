"""An image as EC2 shows it; and finding one that a caller may see, or change."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from imgforge.catalog.records import read_device
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Result, Session, check_id, iso_of_s, rows_of_ids

STATE = (
    "CASE WHEN i.state = 'available' AND i.ready_at_s > {now} THEN 'pending'"
    " WHEN i.state = 'available' AND i.state_reason_code IS NOT NULL THEN 'failed'"
    " ELSE i.state END"
)
_IDS = "ami|aki|ari"


def check_image_id(image_id: str) -> None:
    """Refuse what cannot be an image's id."""
    check_id(image_id, prefix=_IDS, code="InvalidAMIID.Malformed")


def no_image(*ids: str) -> RefusedError:
    """Return EC2's answer to the id of an image that there is not, or that is not to be seen."""
    listed = ", ".join(ids)
    what = f"image id '[{listed}]' does" if len(ids) == 1 else f"image ids '[{listed}]' do"
    return RefusedError("InvalidAMIID.NotFound", f"The {what} not exist")


def visible(session: Session) -> tuple[str, tuple[Any, ...]]:
    """Return the condition under which a caller sees an image i: own, public or shared."""
    condition = (
        "+i.region = ? AND i.state <> 'deregistered' AND (i.owner_id = ? OR i.public = 1"
        " OR EXISTS (SELECT 1 FROM launch_permissions p WHERE p.image_id = i.image_id"
        " AND p.kind = 'UserId' AND p.value = ?))"
    )
    return condition, (session.region, session.owner_id, session.owner_id)


def own_image(session: Session, image_id: str) -> sqlite3.Row:
    """Return the row of an image of the caller's; raise RefusedError where it is not one."""
    check_image_id(image_id)
    row = session.row("SELECT * FROM images WHERE image_id = ?", image_id)
    if row is None or row["region"] != session.region or row["state"] == "deregistered":
        raise no_image(image_id)
    if row["owner_id"] != session.owner_id:
        if row["public"] or is_shared(session, image_id):
            raise RefusedError("AuthFailure", f"Not authorized for image:{image_id}", status=403)
        raise no_image(image_id)
    return row


def is_shared(session: Session, image_id: str) -> bool:
    """Tell whether an image is shared with the caller by name."""
    return (
        session.row(
            "SELECT 1 FROM launch_permissions WHERE image_id = ? AND kind = 'UserId' AND value = ?",
            image_id,
            session.owner_id,
        )
        is not None
    )


def shown_state(session: Session, row: sqlite3.Row) -> str:
    """Return the state that an image is in now."""
    if row["state"] == "available" and row["ready_at_s"] > session.now_s:
        return "pending"
    if row["state"] == "available" and row["state_reason_code"] is not None:
        return "failed"
    return str(row["state"])


def show_images(session: Session, rows: Sequence[sqlite3.Row]) -> list[Result]:
    """Return images as DescribeImages shows them."""
    ids = [row["image_id"] for row in rows]
    devices: dict[str, list[Result]] = {one: [] for one in ids}
    statement = (
        "SELECT b.*, s.encrypted AS of_snapshot FROM block_devices b"
        " LEFT JOIN snapshots s USING (snapshot_id)"
        " WHERE b.image_id IN ({}) ORDER BY b.image_id, b.position"
    )
    for device in rows_of_ids(session, statement, ids):
        shown = read_device(device).to_ec2()
        if "Ebs" in shown and device["of_snapshot"] is not None:
            shown["Ebs"]["Encrypted"] = bool(device["of_snapshot"])
        devices[device["image_id"]].append(shown)
    codes: dict[str, list[Result]] = {one: [] for one in ids}
    statement = "SELECT * FROM product_codes WHERE image_id IN ({}) ORDER BY code"
    for code in rows_of_ids(session, statement, ids):
        shown = {"ProductCodeId": code["code"], "ProductCodeType": code["type"]}
        codes[code["image_id"]].append(shown)
    tags = session.tags_of(ids)
    return [
        _show(session, row, devices[row["image_id"]], codes[row["image_id"]], tags[row["image_id"]])
        for row in rows
    ]


def _show(
    session: Session,
    row: sqlite3.Row,
    devices: list[Result],
    codes: list[Result],
    tags: list[dict[str, str]],
) -> Result:
    is_machine = row["image_type"] == "machine"
    reason = {"Code": row["state_reason_code"], "Message": row["state_reason_message"]}
    shown: Result = {
        "PlatformDetails": "Linux/UNIX" if is_machine else None,
        "UsageOperation": "RunInstances" if is_machine else None,
        "BlockDeviceMappings": devices,
        "Description": row["description"] or None,
        "EnaSupport": bool(row["ena_support"]) if is_machine else None,
        "Hypervisor": "xen",
        "ImageOwnerAlias": row["owner_alias"],
        "Name": row["name"],
        "RootDeviceName": row["root_device_name"] or None,
        "RootDeviceType": row["root_device_type"],
        "SriovNetSupport": row["sriov_net_support"],
        "StateReason": reason if shown_state(session, row) == "failed" else None,
        "Tags": tags,
        "VirtualizationType": row["virtualization_type"],
        "BootMode": row["boot_mode"],
        "TpmSupport": row["tpm_support"],
        "DeprecationTime": row["deprecation_time"],
        "ImdsSupport": row["imds_support"],
        "SourceInstanceId": row["source_instance_id"],
        "DeregistrationProtection": protection(session, row) if is_machine else None,
        "SourceImageId": row["source_image_id"],
        "SourceImageRegion": row["source_image_region"],
        "ImageId": row["image_id"],
        "ImageLocation": row["image_location"] or f"{row['owner_id']}/{row['name']}",
        "State": shown_state(session, row),
        "OwnerId": row["owner_id"],
        "CreationDate": row["creation_date"],
        "Public": bool(row["public"]),
        "ProductCodes": codes,
        "Architecture": row["architecture"],
        "ImageType": row["image_type"],
        "KernelId": row["kernel_id"],
        "RamdiskId": row["ramdisk_id"],
        "Platform": row["platform"],
    }
    return {name: value for name, value in shown.items() if value is not None}


def protection(session: Session, row: sqlite3.Row) -> str:
    """Return how an image is protected against deregistration, as EC2 says it."""
    if row["protection"] == "disabled" and row["protected_until_s"] > session.now_s:
        return f"disabled-with-cooldown-until {iso_of_s(row['protected_until_s'])}"
    return str(row["protection"])
