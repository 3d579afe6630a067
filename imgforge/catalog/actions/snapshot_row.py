"""A snapshot as EC2 shows it; and finding one that a caller may see, use or change."""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imgforge.catalog.actions.recycle_rules import kept_until_s
from imgforge.catalog.life_facts import KeyFacts, is_default_key
from imgforge.catalog.life_rules import check_delete_snapshot
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.rules import refuse_as_ec2
from imgforge.catalog.session import Result, Session, check_id

KEY_ARN = re.compile(
    r"arn:aws[a-z-]*:kms:([a-z0-9-]+):([0-9]{12}):(key|alias)/[\w/-]{1,256}", re.ASCII
)
_KEY = re.compile(r"(mrk-)?[0-9a-f-]{32,36}|alias/[\w/-]{1,250}", re.ASCII)
_NO_KEY = "Given key ID is not accessible"
_ASYMMETRIC = "Given key ID is not that of a symmetric encryption key"
STATE = (
    "CASE WHEN s.state = 'completed' AND s.ready_at_s > {now} THEN 'pending'"
    " WHEN s.state_message IS NOT NULL THEN 'error'"
    " WHEN s.state = 'pending' AND s.timeout_at_s < {now} THEN 'error' ELSE s.state END"
)


def no_snapshot(snapshot_id: str) -> RefusedError:
    """Return EC2's answer to the id of a snapshot that there is not."""
    return RefusedError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")


def check_snapshot_id(snapshot_id: str) -> None:
    """Refuse what cannot be a snapshot's id."""
    check_id(snapshot_id, prefix="snap", code="InvalidSnapshotID.Malformed")


def visible(session: Session) -> tuple[str, tuple[Any, ...]]:
    """Return the condition under which a caller sees a snapshot s: own, public or shared."""
    condition = (
        "s.region = ? AND s.state <> 'deleted' AND (s.owner_id = ? OR EXISTS"
        " (SELECT 1 FROM volume_permissions p WHERE p.snapshot_id = s.snapshot_id"
        " AND (p.kind = 'Group' OR p.value = ?)))"
    )
    return condition, (session.region, session.owner_id, session.owner_id)


def seen_snapshot(session: Session, snapshot_id: str, *, region: str | None = None) -> sqlite3.Row:
    """Return the row of a snapshot that the caller may see; raise RefusedError where it is none."""
    check_snapshot_id(snapshot_id)
    condition, values = visible(session)
    row = session.row(
        f"SELECT s.* FROM snapshots s WHERE {condition} AND s.snapshot_id = ?",  # noqa: S608 (this module's text)
        region or session.region,
        *values[1:],
        snapshot_id,
    )
    if row is None:
        raise no_snapshot(snapshot_id)
    return row


def own_snapshot(session: Session, snapshot_id: str) -> sqlite3.Row:
    """Return the row of a snapshot of the caller's; raise RefusedError where it is not one."""
    row = seen_snapshot(session, snapshot_id)
    if row["owner_id"] != session.owner_id:
        raise RefusedError(
            "UnauthorizedOperation", f"Not authorized for snapshot:{snapshot_id}", status=403
        )
    return row


def state_of(session: Session, row: sqlite3.Row) -> str:
    """Return the state a snapshot is in now."""
    if row["state"] == "completed" and row["ready_at_s"] > session.now_s:
        return "pending"
    if row["state_message"] is not None:
        return "error"
    timeout_at_s = row["timeout_at_s"]
    if row["state"] == "pending" and timeout_at_s is not None and timeout_at_s < session.now_s:
        return "error"
    return str(row["state"])


def usable_snapshot(
    session: Session, snapshot_id: str, *, region: str | None = None
) -> sqlite3.Row:
    """Return the row of a completed snapshot that a volume or an image can be made from."""
    row = seen_snapshot(session, snapshot_id, region=region)
    state = state_of(session, row)
    if state != "completed":
        raise RefusedError("IncorrectState", f"The snapshot '{snapshot_id}' is {state}.")
    return row


def delete_snapshot_row(session: Session, snapshot_id: str) -> None:
    """Mark a snapshot of the caller's as deleted. Raises RefusedError where an image needs it."""
    row = own_snapshot(session, snapshot_id)
    users = session.rows(
        "SELECT DISTINCT i.image_id FROM block_devices b JOIN images i USING (image_id)"
        " WHERE b.snapshot_id = ? AND i.state <> 'deregistered' ORDER BY i.rowid",
        snapshot_id,
    )
    refuse_as_ec2(check_delete_snapshot(snapshot_id, [one["image_id"] for one in users]))
    until_s = kept_until_s(session, "EBS_SNAPSHOT", snapshot_id)
    if until_s is not None and row["state"] == "completed":
        session.run(
            "UPDATE snapshots SET state = 'deleted', recycled_at_s = ?, recycled_until_s = ?"
            " WHERE snapshot_id = ?",
            session.now_s,
            until_s,
            snapshot_id,
        )
        return
    session.run("DELETE FROM volume_permissions WHERE snapshot_id = ?", snapshot_id)
    session.run("DELETE FROM tags WHERE resource_id = ?", snapshot_id)
    session.run("UPDATE snapshots SET state = 'deleted' WHERE snapshot_id = ?", snapshot_id)


def show_snapshots(session: Session, rows: Sequence[sqlite3.Row]) -> list[Result]:
    """Return snapshots as DescribeSnapshots shows them."""
    tags = session.tags_of([row["snapshot_id"] for row in rows])
    return [show_snapshot(session, row, tags[row["snapshot_id"]]) for row in rows]


def show_snapshot(session: Session, row: sqlite3.Row, tags: list[dict[str, str]]) -> Result:
    """Return a snapshot as EC2 shows it."""
    state = state_of(session, row)
    shown = {
        "Tags": tags,
        "StorageTier": "standard",
        "TransferType": "standard" if state == "completed" else None,
        "CompletionTime": row["completion_time"] if state == "completed" else None,
        "SnapshotId": row["snapshot_id"],
        "VolumeId": row["volume_id"],
        "State": state,
        "StateMessage": row["state_message"] if state == "error" else None,
        "StartTime": row["start_time"],
        "Progress": progress(session, row),
        "OwnerId": row["owner_id"],
        "Description": row["description"],
        "VolumeSize": row["volume_size_gib"],
        "Encrypted": bool(row["encrypted"]),
        "KmsKeyId": row["kms_key_id"],
    }
    return {name: value for name, value in shown.items() if value is not None}


def progress(session: Session, row: sqlite3.Row) -> str:
    """Return how far a snapshot is."""
    if state_of(session, row) == "completed":
        return "100%"
    if row["state"] != "completed" or session.pending_s <= 0:
        return "0%"
    left = (row["ready_at_s"] - session.now_s) / session.pending_s
    return f"{min(99, max(0, int(100 * (1 - left))))}%"


def default_key(region: str, owner_id: str) -> str:
    """Return the ARN of the account's key for EBS, which is used where none is named."""
    return KeyFacts.of_ebs(region, owner_id).arn


@dataclass(frozen=True, slots=True)
class ChosenKey:
    """A key to encrypt with; `problem` says why it cannot be used, "" where it can.

    EBS looks at a key after it has answered (EC2 API, CopyImage: KmsKeyId): what is made with one
    that cannot be used fails later.
    """

    arn: str
    problem: str = ""


def read_key(session: Session, given: str | None) -> ChosenKey:
    """Return the key that a request names, or the account's own for EBS.

    Raises RefusedError for what cannot be a key's name, or a key of another region.
    """
    given = given or session.default_key
    if is_default_key(given) or given == "alias/aws/ebs":
        return ChosenKey(default_key(session.region, session.owner_id))
    arn = KEY_ARN.fullmatch(given)
    if arn is not None and arn[1] != session.region:
        raise RefusedError(
            "InvalidParameterValue", f"The key {given} is not of the region {session.region}."
        )
    if arn is None and not _KEY.fullmatch(given):
        raise RefusedError("InvalidParameterValue", f"The key {given[:100]} is no KMS key.")
    kind = "" if given.startswith("alias/") else "key/"
    named = given if arn else f"arn:aws:kms:{session.region}:{session.owner_id}:{kind}{given}"
    if session.find_key is None:
        return ChosenKey(named)
    found = find_key(session, given)
    if found is None or found.state != "Enabled":
        return ChosenKey(named, _NO_KEY)
    return ChosenKey(found.arn, "" if found.spec == "SYMMETRIC_DEFAULT" else _ASYMMETRIC)


def find_key(session: Session, given: str | None) -> KeyFacts | None:
    """Return what KMS knows of a key that a request names; None where that is nothing."""
    if session.find_key is None or not given:
        return None
    if KEY_ARN.fullmatch(given) is None and not _KEY.fullmatch(given):
        return None
    return session.find_key(given, session.region, session.owner_id)
