"""CreateVolume, DescribeVolumes and DeleteVolume; nothing attaches a volume yet."""

import sqlite3

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.regions import zone_names
from imgforge.catalog.actions.snapshot_row import ChosenKey, read_key, usable_snapshot
from imgforge.catalog.actions.volume_row import (
    STATE,
    check_volume_id,
    own_volume,
    show_volumes,
)
from imgforge.catalog.filters import Condition, Filterable, conditions, read_page
from imgforge.catalog.image import EbsDevice
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError, combination, missing
from imgforge.catalog.session import Parameters, Result, Session, iso, new_id, requested_tags
from imgforge.catalog.volume_rules import USUAL_IOPS, USUAL_THROUGHPUT, check_limits
from imgforge.image_choice import VolumeType

_UNKNOWN = ("OutpostArn", "AvailabilityZoneId", "Operator")


@action("CreateVolume")
def create_volume(session: Session, parameters: Parameters) -> Result:
    """Make a volume, blank or of a snapshot."""
    for name in _UNKNOWN:
        if parameters.get(name):
            raise RefusedError("UnsupportedOperation", f"{name} is not known to this endpoint.")
    tags = requested_tags(parameters, "volume")["volume"]
    zone = parameters.get("AvailabilityZone")
    if not zone:
        raise missing("AvailabilityZone")
    if zone not in zone_names(session.region):
        raise RefusedError("InvalidZone.NotFound", f"The zone '{zone[:100]}' does not exist.")
    snapshot_id = parameters.get("SnapshotId") or None
    snapshot = usable_snapshot(session, snapshot_id) if snapshot_id else None
    size_gib = parameters.get("Size", snapshot["volume_size_gib"] if snapshot else None)
    if size_gib is None:
        raise missing("Size/SnapshotId")
    kind = VolumeType(parameters.get("VolumeType", "gp2"))
    check_volume(parameters, kind, size_gib, snapshot)
    key = _key(session, parameters, snapshot)
    volume_id = new_id("vol")
    session.insert(
        "volumes",
        {
            "volume_id": volume_id,
            "region": session.region,
            "owner_id": session.owner_id,
            "availability_zone": zone,
            "size_gib": size_gib,
            "volume_type": kind,
            "iops": parameters.get("Iops", usual_iops(kind, size_gib)),
            "throughput": parameters.get("Throughput", usual_throughput(kind)),
            "snapshot_id": snapshot_id,
            "encrypted": key is not None,
            "kms_key_id": None if key is None else key.arn,
            "state_message": None if key is None else key.problem or None,
            "multi_attach": parameters.get("MultiAttachEnabled", False),
            "state": "available",
            "create_time": iso(session.now),
            "ready_at_s": session.ready_at_s,
        },
    )
    insert_tags(session.connection, volume_id, tags)
    [shown] = show_volumes(session, [own_volume(session, volume_id)])
    shown["State"] = "creating"
    return {name: value for name, value in shown.items() if name != "Attachments"}


def check_volume(
    parameters: Parameters, kind: VolumeType, size_gib: int, snapshot: sqlite3.Row | None
) -> None:
    """Refuse what a volume of this type and size cannot be."""
    if snapshot is not None and size_gib < snapshot["volume_size_gib"]:
        raise RefusedError(
            "InvalidParameterValue",
            f"Volume of size {size_gib}GB is smaller than snapshot '{snapshot['snapshot_id']}',"
            f" expect size >= {snapshot['volume_size_gib']}GB",
        )
    if parameters.get("MultiAttachEnabled") and kind not in {VolumeType.IO1, VolumeType.IO2}:
        raise combination(f"MultiAttach is not supported for {kind} volumes.")
    asked = EbsDevice(
        volume_type=kind, iops=parameters.get("Iops"), throughput=parameters.get("Throughput")
    )
    findings = [str(one) for one in check_limits("the volume", asked, size_gib)]
    if findings:
        raise RefusedError("InvalidParameterValue", "; ".join(findings))


def _key(
    session: Session, parameters: Parameters, snapshot: sqlite3.Row | None
) -> ChosenKey | None:
    """Return the volume's key; None where it is not encrypted."""
    is_source_encrypted = snapshot is not None and bool(snapshot["encrypted"])
    if parameters.get("KmsKeyId") and not parameters.get("Encrypted", session.encrypts):
        raise RefusedError(
            "InvalidParameterDependency",
            "The parameter KmsKeyId requires the parameter Encrypted to be set.",
        )
    if is_source_encrypted and parameters.get("Encrypted") is False:
        raise combination("A volume of an encrypted snapshot is encrypted.")
    is_wanted = parameters.get("Encrypted", session.encrypts)
    if parameters.get("KmsKeyId") or (is_wanted and not is_source_encrypted):
        return read_key(session, parameters.get("KmsKeyId"))
    if snapshot is None or not is_source_encrypted:
        return None
    return ChosenKey(str(snapshot["kms_key_id"]))


def usual_iops(kind: VolumeType, size_gib: int) -> int | None:
    """Return the IOPS of a volume for which none are asked (EBS User Guide, Volume types)."""
    if kind is VolumeType.GP2:
        return min(16_000, max(100, 3 * size_gib))
    return USUAL_IOPS if kind is VolumeType.GP3 else None


def usual_throughput(kind: VolumeType) -> int | None:
    """Return the MiB/s of a volume for which none are asked (EBS User Guide, Volume types)."""
    return USUAL_THROUGHPUT if kind is VolumeType.GP3 else None


@action("DeleteVolume")
def delete_volume(session: Session, parameters: Parameters) -> Result:
    """Delete a volume."""
    row = own_volume(session, parameters["VolumeId"])
    session.run("DELETE FROM tags WHERE resource_id = ?", row["volume_id"])
    session.run("UPDATE volumes SET state = 'deleted' WHERE volume_id = ?", row["volume_id"])
    return {}


def _filterable(now_s: float) -> Filterable:
    nothing = "CAST(NULL AS TEXT)"
    return {
        "attachment.attach-time": nothing,
        "attachment.delete-on-termination": nothing,
        "attachment.device": nothing,
        "attachment.instance-id": nothing,
        "attachment.status": nothing,
        "availability-zone": "v.availability_zone",
        "availability-zone-id": nothing,
        "create-time": "v.create_time",
        "encrypted": "CASE WHEN v.encrypted THEN 'true' ELSE 'false' END",
        "fast-restored": "'false'",
        "multi-attach-enabled": "CASE WHEN v.multi_attach THEN 'true' ELSE 'false' END",
        "operator.managed": "'false'",
        "operator.principal": nothing,
        "size": "CAST(v.size_gib AS TEXT)",
        "snapshot-id": "v.snapshot_id",
        "status": STATE.format(now=repr(now_s)),
        "volume-id": "v.volume_id",
        "volume-type": "v.volume_type",
    }


@action("DescribeVolumes", Access.READ)
def describe_volumes(session: Session, parameters: Parameters) -> Result:
    """Return the caller's volumes that are asked for, the oldest first."""
    page = read_page(parameters, least=5, most=1000, ids="VolumeIds")
    ids = list(dict.fromkeys(parameters.get("VolumeIds", [])))
    for volume_id in ids:
        check_volume_id(volume_id)
        own_volume(session, volume_id)
    own = "v.region = ? AND v.owner_id = ? AND v.state <> 'deleted'"
    found = [
        Condition(own, (session.region, session.owner_id)),
        *conditions(parameters, _filterable(session.now_s), resource_id="v.volume_id"),
        Condition("v.rowid > ?", (page.after,)),
    ]
    if ids:
        found.append(Condition(f"v.volume_id IN ({', '.join('?' * len(ids))})", tuple(ids)))
    where = " AND ".join(condition.text for condition in found)
    values = [value for condition in found for value in condition.values]
    limit = "" if page.size is None else f" LIMIT {page.size + 1}"
    statement = f"SELECT v.rowid AS number, v.* FROM volumes v WHERE {where}"  # noqa: S608 (this room's names)
    rows = session.rows(f"{statement} ORDER BY v.rowid{limit}", *values)
    result: Result = {}
    if page.size is not None and len(rows) > page.size:
        rows = rows[: page.size]
        result["NextToken"] = page.token(rows[-1]["number"])
    return {"Volumes": show_volumes(session, rows), **result}
