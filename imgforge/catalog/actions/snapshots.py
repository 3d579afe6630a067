"""CreateSnapshot, CopySnapshot, DescribeSnapshots and DeleteSnapshot."""

import re
from typing import Any

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.facts import snapshot_facts
from imgforge.catalog.actions.snapshot_row import (
    STATE,
    ChosenKey,
    check_snapshot_id,
    delete_snapshot_row,
    find_key,
    no_snapshot,
    read_key,
    show_snapshot,
    show_snapshots,
    usable_snapshot,
    visible,
)
from imgforge.catalog.actions.volume_row import own_volume
from imgforge.catalog.filters import Condition, Filterable, conditions, read_page
from imgforge.catalog.life_rules import check_key, check_stays_encrypted
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError, invalid_value
from imgforge.catalog.rules import refuse_as_ec2
from imgforge.catalog.session import (
    Parameters,
    Result,
    Session,
    iso,
    iso_of_s,
    new_id,
    requested_tags,
)

_ACCOUNT = re.compile(r"[0-9]{12}")


@action("CreateSnapshot")
def create_snapshot(session: Session, parameters: Parameters) -> Result:
    """Make a snapshot of a volume's content."""
    if parameters.get("OutpostArn") or parameters.get("Location") == "local":
        raise RefusedError(
            "UnsupportedOperation", "This endpoint knows no Outposts or local zones."
        )
    tags = requested_tags(parameters, "snapshot")["snapshot"]
    volume = own_volume(session, parameters["VolumeId"])
    description = parameters.get("Description", "")
    _check_description(description)
    of = volume["snapshot_id"]
    source = session.row("SELECT * FROM snapshots WHERE snapshot_id = ?", of) if of else None
    snapshot_id = new_id("snap")
    session.insert(
        "snapshots",
        {
            "snapshot_id": snapshot_id,
            "region": session.region,
            "owner_id": session.owner_id,
            "volume_size_gib": volume["size_gib"],
            "state": "completed",
            "start_time": iso(session.now),
            "completion_time": iso_of_s(session.ready_at_s),
            "description": description,
            "encrypted": volume["encrypted"],
            "kms_key_id": volume["kms_key_id"],
            "blob_sha256": source["blob_sha256"] if source else "",
            "blob_size_bytes": source["blob_size_bytes"] if source else 0,
            "content_id": source["content_id"] if source else snapshot_id,
            "volume_id": volume["volume_id"],
            "ready_at_s": session.ready_at_s,
        },
    )
    insert_tags(session.connection, snapshot_id, tags)
    row = usable_or_pending(session, snapshot_id)
    shown = show_snapshot(session, row, session.tags_of([snapshot_id])[snapshot_id])
    allowed = ("Tags", "SnapshotId", "VolumeId", "State", "StartTime", "Progress", "OwnerId")
    more = ("Description", "VolumeSize", "Encrypted", "KmsKeyId")
    return {name: value for name, value in shown.items() if name in {*allowed, *more}}


def usable_or_pending(session: Session, snapshot_id: str) -> Any:
    """Return the row of a snapshot that was just made."""
    return session.row("SELECT * FROM snapshots WHERE snapshot_id = ?", snapshot_id)


@action("CopySnapshot")
def copy_snapshot(session: Session, parameters: Parameters) -> Result:
    """Copy a snapshot of another region, or of this one; encrypted on wish."""
    tags = requested_tags(parameters, "snapshot")["snapshot"]
    region = parameters["SourceRegion"]
    if region not in session.regions:
        raise RefusedError("InvalidParameterValue", f"Invalid region name: {region[:100]}")
    destination = parameters.get("DestinationRegion")
    if destination not in {None, session.region}:
        raise invalid_value(
            destination, "DestinationRegion", why="It must be the region that is asked."
        )
    wanted = parameters.get("Encrypted", session.encrypts or None)
    given = parameters.get("KmsKeyId")
    known = find_key(session, given)
    refuse_as_ec2(check_key(wanted, given, known, region=session.region))
    source = usable_snapshot(session, parameters["SourceSnapshotId"], region=region)
    if wanted is False:
        refuse_as_ec2(check_stays_encrypted([snapshot_facts(session, source)]))
    key = read_key(session, given) if wanted else None
    described = f"[Copied {source['snapshot_id']} from {region}]"
    description = parameters.get("Description", "")
    _check_description(description)
    given = (
        f"{described} {description}".strip()[:255]
        if "Description" not in parameters
        else description
    )
    copy_id = copy_snapshot_row(session, source["snapshot_id"], key=key, description=given)
    insert_tags(session.connection, copy_id, tags)
    return {"SnapshotId": copy_id, "Tags": session.tags_of([copy_id])[copy_id]}


def copy_snapshot_row(
    session: Session, source_id: str, *, key: ChosenKey | None, description: str
) -> str:
    """Write a copy of a snapshot into the caller's region; its content is shared with the source.

    Encrypted ones stay so, with `key` or the account's own for EBS. Returns the copy's id.
    """
    source = session.row("SELECT * FROM snapshots WHERE snapshot_id = ?", source_id)
    if source is None:
        raise no_snapshot(source_id)
    if source["encrypted"] and key is None:
        key = read_key(session, None)
    copy_id = new_id("snap")
    session.insert(
        "snapshots",
        {
            "snapshot_id": copy_id,
            "region": session.region,
            "owner_id": session.owner_id,
            "volume_size_gib": source["volume_size_gib"],
            "state": "completed",
            "start_time": iso(session.now),
            "completion_time": iso_of_s(session.ready_at_s),
            "description": description[:255],
            "encrypted": key is not None,
            "kms_key_id": None if key is None else key.arn,
            "state_message": None if key is None else key.problem or None,
            "blob_sha256": source["blob_sha256"],
            "blob_size_bytes": source["blob_size_bytes"],
            "content_id": source["content_id"],
            "ready_at_s": session.ready_at_s,
        },
    )
    return copy_id


def _check_description(description: str) -> None:
    if len(description) > 255:
        raise invalid_value(description[:40] + "…", "description", why="At most 255 characters.")


@action("DeleteSnapshot")
def delete_snapshot(session: Session, parameters: Parameters) -> Result:
    """Delete a snapshot that no image needs."""
    delete_snapshot_row(session, parameters["SnapshotId"])
    return {}


def _filterable(now_s: float) -> Filterable:
    state = STATE.format(now=repr(now_s))
    return {
        "description": "s.description",
        "encrypted": "CASE WHEN s.encrypted THEN 'true' ELSE 'false' END",
        "owner-alias": "CAST(NULL AS TEXT)",
        "owner-id": "s.owner_id",
        "progress": f"CASE WHEN {state} = 'completed' THEN '100%' ELSE '0%' END",
        "snapshot-id": "s.snapshot_id",
        "start-time": "s.start_time",
        "status": state,
        "storage-tier": "'standard'",
        "transfer-type": "'standard'",
        "volume-id": "s.volume_id",
        "volume-size": "CAST(s.volume_size_gib AS TEXT)",
    }


@action("DescribeSnapshots", Access.READ)
def describe_snapshots(session: Session, parameters: Parameters) -> Result:
    """Return the snapshots that a caller may see and asks for, the oldest first."""
    page = read_page(parameters, least=5, most=1000, ids="SnapshotIds")
    found = [
        Condition(*visible(session)),
        *_by_id(session, parameters),
        *_by_owner(session, parameters),
        *_by_restorer(session, parameters),
        *conditions(parameters, _filterable(session.now_s), resource_id="s.snapshot_id"),
        Condition("s.rowid > ?", (page.after,)),
    ]
    where = " AND ".join(condition.text for condition in found)
    values = [value for condition in found for value in condition.values]
    limit = "" if page.size is None else f" LIMIT {page.size + 1}"
    statement = f"SELECT s.rowid AS number, s.* FROM snapshots s WHERE {where}"  # noqa: S608 (this room's names)
    rows = session.rows(f"{statement} ORDER BY s.rowid{limit}", *values)
    result: Result = {}
    if page.size is not None and len(rows) > page.size:
        rows = rows[: page.size]
        result["NextToken"] = page.token(rows[-1]["number"])
    return {"Snapshots": show_snapshots(session, rows), **result}


def _by_id(session: Session, parameters: Parameters) -> list[Condition]:
    ids = list(dict.fromkeys(parameters.get("SnapshotIds", [])))
    if not ids:
        return []
    condition, values = visible(session)
    for snapshot_id in ids:
        check_snapshot_id(snapshot_id)
        row = session.row(
            f"SELECT 1 FROM snapshots s WHERE {condition} AND s.snapshot_id = ?",  # noqa: S608 (this room's names)
            *values,
            snapshot_id,
        )
        if row is None:
            raise no_snapshot(snapshot_id)
    return [Condition(f"s.snapshot_id IN ({', '.join('?' * len(ids))})", tuple(ids))]


def _by_owner(session: Session, parameters: Parameters) -> list[Condition]:
    owners = parameters.get("OwnerIds", [])
    if not owners:
        return []
    values = []
    for owner in owners:
        if owner != "self" and owner != "amazon" and not _ACCOUNT.fullmatch(owner):
            raise RefusedError("InvalidUserID.Malformed", f'Invalid user id: "{owner[:100]}"')
        values.append(session.owner_id if owner == "self" else owner)
    return [Condition(f"s.owner_id IN ({', '.join('?' * len(values))})", tuple(values))]


def _by_restorer(session: Session, parameters: Parameters) -> list[Condition]:
    users = parameters.get("RestorableByUserIds", [])
    if not users:
        return []
    parts = []
    values: list[str] = []
    rows = "SELECT 1 FROM volume_permissions p WHERE p.snapshot_id = s.snapshot_id"
    for user in users:
        if user == "all":
            parts.append(f"EXISTS ({rows} AND p.kind = 'Group')")
        elif user == "self" or _ACCOUNT.fullmatch(user):
            account = session.owner_id if user == "self" else user
            parts.append(f"(s.owner_id = ? OR EXISTS ({rows} AND p.value = ?))")
            values += [account, account]
        else:
            raise RefusedError("InvalidUserID.Malformed", f'Invalid user id: "{user[:100]}"')
    return [Condition(f"({' OR '.join(parts)})", tuple(values))]
