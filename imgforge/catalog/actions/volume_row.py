"""A volume as EC2 shows it; and finding one of the caller's."""

import sqlite3
from collections.abc import Sequence

from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Result, Session, check_id

STATE = (
    "CASE WHEN v.state = 'available' AND v.ready_at_s > {now} THEN 'creating'"
    " WHEN v.state = 'available' AND v.state_message IS NOT NULL THEN 'error' ELSE v.state END"
)


def check_volume_id(volume_id: str) -> None:
    """Refuse what cannot be a volume's id."""
    check_id(volume_id, prefix="vol", code="InvalidVolumeID.Malformed")


def own_volume(session: Session, volume_id: str) -> sqlite3.Row:
    """Return the row of a volume of the caller's; raise RefusedError where it is not one."""
    check_volume_id(volume_id)
    row = session.row(
        "SELECT * FROM volumes WHERE volume_id = ? AND region = ? AND owner_id = ?"
        " AND state <> 'deleted'",
        volume_id,
        session.region,
        session.owner_id,
    )
    if row is None:
        raise RefusedError("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")
    return row


def show_volumes(session: Session, rows: Sequence[sqlite3.Row]) -> list[Result]:
    """Return volumes as DescribeVolumes shows them."""
    tags = session.tags_of([row["volume_id"] for row in rows])
    return [_show(session, row, tags[row["volume_id"]]) for row in rows]


def state_of(session: Session, row: sqlite3.Row) -> str:
    """Return the state a volume is in now; "error" where its key could not be used."""
    if row["state"] == "available" and row["ready_at_s"] > session.now_s:
        return "creating"
    return "error" if row["state_message"] is not None else str(row["state"])


def _show(session: Session, row: sqlite3.Row, tags: list[dict[str, str]]) -> Result:
    shown = {
        "Attachments": [],
        "AvailabilityZone": row["availability_zone"],
        "CreateTime": row["create_time"],
        "Encrypted": bool(row["encrypted"]),
        "KmsKeyId": row["kms_key_id"],
        "Size": row["size_gib"],
        "SnapshotId": row["snapshot_id"] or "",
        "State": state_of(session, row),
        "VolumeId": row["volume_id"],
        "Iops": row["iops"],
        "Tags": tags,
        "VolumeType": row["volume_type"],
        "MultiAttachEnabled": bool(row["multi_attach"]),
        "Throughput": row["throughput"],
    }
    return {name: value for name, value in shown.items() if value is not None}
