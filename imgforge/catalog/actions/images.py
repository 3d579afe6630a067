"""RegisterImage and DeregisterImage."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from imgforge.catalog.actions.action import action
from imgforge.catalog.actions.facts import image_facts
from imgforge.catalog.actions.image_row import own_image
from imgforge.catalog.actions.recycle_rules import kept_until_s
from imgforge.catalog.actions.snapshot_row import delete_snapshot_row, usable_snapshot
from imgforge.catalog.image import BlockDeviceMapping, RootDeviceType
from imgforge.catalog.life_rules import check_deregister, check_name_is_free
from imgforge.catalog.records import insert_devices, insert_tags
from imgforge.catalog.refusal import RefusedError, missing
from imgforge.catalog.registration import ImageRegistration
from imgforge.catalog.rule_table import Finding
from imgforge.catalog.rules import check_registration, refuse_as_ec2
from imgforge.catalog.session import (
    OWNER_ALIASES,
    Parameters,
    Result,
    Session,
    iso,
    new_id,
    requested_tags,
)
from imgforge.image_choice import Architecture, VirtualizationType


@action("RegisterImage")
def register_image(session: Session, parameters: Parameters) -> Result:
    """Register an image from the snapshots that its mapping names, or from a bundle in S3."""
    tags = requested_tags(parameters, "image", "snapshot")
    if parameters.get("ImageLocation") and session.bundle is None:
        raise RefusedError("InvalidManifest", "There is no S3 to read the manifest from.")
    if session.bundle is None and not parameters.get("BlockDeviceMappings"):
        raise missing("BlockDeviceMapping")
    registration = _registration(session, parameters, tags["image"])
    known = _snapshots(session, registration.block_devices)
    findings = check_registration(registration, disk=None, snapshots=known, region=session.region)
    taken = check_name_is_free(registration.name, taken_by(session, registration.name))
    refuse_as_ec2([*findings, *_no_snapshot(registration, known), *taken])
    filled = tuple(_filled(device, known) for device in registration.block_devices)
    image_id = new_id("ami")
    location = parameters.get("ImageLocation") or f"{session.owner_id}/{registration.name}"
    session.insert(
        "images",
        {
            **_columns(session, registration),
            "image_id": image_id,
            "image_location": location,
            "uefi_data": registration.uefi_data,
            "creation_date": iso(session.now),
        },
    )
    insert_devices(session.connection, image_id, filled)
    insert_tags(session.connection, image_id, tags["image"])
    for code in session.bundle.product_codes if session.bundle else ():
        session.run(
            "INSERT OR IGNORE INTO product_codes VALUES (?, ?, 'marketplace')", image_id, code
        )
    return {"ImageId": image_id}


def _columns(session: Session, registration: ImageRegistration) -> dict[str, Any]:
    return {
        "region": session.region,
        "owner_id": session.owner_id,
        "owner_alias": OWNER_ALIASES.get(session.owner_id),
        "name": registration.name,
        "description": registration.description,
        "architecture": registration.architecture,
        "virtualization_type": registration.virtualization_type,
        "boot_mode": registration.boot_mode,
        "root_device_name": registration.root_device_name,
        "root_device_type": registration.root_device_type,
        "kernel_id": registration.kernel_id,
        "ramdisk_id": registration.ramdisk_id,
        "ena_support": registration.ena_support,
        "sriov_net_support": registration.sriov_net_support,
        "tpm_support": registration.tpm_support,
        "imds_support": registration.imds_support,
        "public": False,
        "state": "available",
        "ready_at_s": session.ready_at_s,
    }


def _registration(
    session: Session, parameters: Parameters, tags: Mapping[str, str]
) -> ImageRegistration:
    """Return what is asked; the defaults are EC2's: i386 and paravirtual, or the bundle's."""
    base = ImageRegistration(
        name=parameters["Name"],
        architecture=Architecture.I386,
        virtualization_type=VirtualizationType.PARAVIRTUAL,
        root_device_name="",
        block_devices=(),
        tags=tags,
    )
    if parameters.get("BillingProducts"):
        raise RefusedError(
            "AuthFailure", "The account is not authorized to specify billing product codes."
        )
    if session.bundle is not None:
        return base.of_bundle(session.bundle, parameters)
    return base.asked(parameters)


def _snapshots(session: Session, devices: Sequence[BlockDeviceMapping]) -> dict[str, int]:
    """Return the sizes of the snapshots that are named; refuse one that cannot be used."""
    found = {}
    for device in devices:
        if device.ebs is not None and device.ebs.snapshot_id is not None:
            row = usable_snapshot(session, device.ebs.snapshot_id)
            found[row["snapshot_id"]] = row["volume_size_gib"]
    return found


def _no_snapshot(registration: ImageRegistration, known: Mapping[str, int]) -> list[Finding]:
    if known or registration.root_device_type is RootDeviceType.INSTANCE_STORE:
        return []
    needed = "at least the root is made from a snapshot"
    return [Finding("root-device", "no snapshot in the mapping", needed)]


def _filled(device: BlockDeviceMapping, known: Mapping[str, int]) -> BlockDeviceMapping:
    ebs = device.ebs
    if ebs is None or ebs.volume_size_gib is not None:
        return device
    return replace(device, ebs=replace(ebs, volume_size_gib=known.get(ebs.snapshot_id or "")))


def taken_by(session: Session, name: str) -> str:
    """Return the caller's image in the region that has a name, "" where none has."""
    taken = session.row(
        "SELECT image_id FROM images WHERE owner_id = ? AND region = ? AND name = ?"
        " AND image_type = 'machine' AND state <> 'deregistered'",
        session.owner_id,
        session.region,
        name,
    )
    return taken["image_id"] if taken else ""


@action("DeregisterImage")
def deregister_image(session: Session, parameters: Parameters) -> Result:
    """Deregister an image; its snapshots stay, unless they are asked to go with it."""
    row = own_image(session, parameters["ImageId"])
    image_id = row["image_id"]
    refuse_as_ec2(check_deregister(image_facts(session, row)))
    until_s = kept_until_s(session, "EC2_IMAGE", image_id)
    if until_s is None:
        session.run("DELETE FROM launch_permissions WHERE image_id = ?", image_id)
    session.run(
        "UPDATE images SET state = 'deregistered', public = 0, deregistration_date = ?,"
        " recycled_at_s = ?, recycled_until_s = ? WHERE image_id = ?",
        iso(session.now),
        None if until_s is None else session.now_s,
        until_s,
        image_id,
    )
    result: Result = {"Return": True}
    if parameters.get("DeleteAssociatedSnapshots"):
        named = session.rows(
            "SELECT DISTINCT snapshot_id FROM block_devices WHERE image_id = ?"
            " AND snapshot_id IS NOT NULL ORDER BY position",
            image_id,
        )
        result["DeleteSnapshotResults"] = [
            {"SnapshotId": one["snapshot_id"], "ReturnCode": _delete(session, one["snapshot_id"])}
            for one in named
        ]
    return result


def _delete(session: Session, snapshot_id: str) -> str:
    """Delete a snapshot that went with its image; tell what came of it, in EC2's words."""
    try:
        delete_snapshot_row(session, snapshot_id)
    except RefusedError as error:
        return "skipped" if error.code == "InvalidSnapshot.InUse" else "client-error"
    return "success"
