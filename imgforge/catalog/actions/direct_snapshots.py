"""EBS direct's actions on whole snapshots: they are started, and completed.

Source: EBS direct API reference.
"""

import sqlite3

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.direct_row import (
    content_of,
    invalid,
    pending_snapshot,
    readable_snapshot,
)
from imgforge.catalog.actions.snapshot_row import KEY_ARN, read_key
from imgforge.catalog.contents import linear_checksum
from imgforge.catalog.packs import BLOCK_BYTES
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session, iso, iso_of_s, new_id, read_tags

_MOST_GIB = 65_536
_DEFAULT_TIMEOUT_MINUTES = 60
_MOST_PENDING = 100


@action("StartSnapshot")
def start_snapshot(session: Session, parameters: Parameters) -> Result:
    """Begin a snapshot, empty or on the blocks of a parent."""
    size_gib = parameters["VolumeSize"]
    if not 1 <= size_gib <= _MOST_GIB:
        raise invalid(f"VolumeSize must be 1 to {_MOST_GIB} GiB.", "INVALID_VOLUME_SIZE")
    try:
        tags = read_tags(parameters.get("Tags", []))
    except RefusedError as error:
        raise invalid(str(error), "INVALID_TAG") from None
    _check_quota(session)
    parent = _parent(session, parameters)
    key = _key(session, parameters, parent)
    snapshot_id = new_id("snap")
    timeout_s = 60.0 * parameters.get("Timeout", _DEFAULT_TIMEOUT_MINUTES)
    started = iso(session.now)
    session.insert(
        "snapshots",
        {
            "snapshot_id": snapshot_id,
            "region": session.region,
            "owner_id": session.owner_id,
            "volume_size_gib": size_gib,
            "state": "pending",
            "start_time": started,
            "description": parameters.get("Description", ""),
            "encrypted": key is not None,
            "kms_key_id": key,
            "content_id": snapshot_id,
            "parent_snapshot_id": parent["snapshot_id"] if parent else None,
            "timeout_s": timeout_s,
            "timeout_at_s": session.now_s + timeout_s,
        },
    )
    insert_tags(session.connection, snapshot_id, tags)
    result = {
        "Description": parameters.get("Description"),
        "SnapshotId": snapshot_id,
        "OwnerId": session.owner_id,
        "Status": "pending",
        "StartTime": started,
        "VolumeSize": size_gib,
        "BlockSize": BLOCK_BYTES,
        "Tags": [{"Key": name, "Value": value} for name, value in tags.items()],
        "ParentSnapshotId": parent["snapshot_id"] if parent else None,
        "KmsKeyArn": key,
        "SseType": "sse-kms" if key else "none",
    }
    return {name: value for name, value in result.items() if value is not None}


def _check_quota(session: Session) -> None:
    (pending,) = session.rows(
        "SELECT count(*) FROM snapshots WHERE owner_id = ? AND region = ? AND state = 'pending'"
        " AND timeout_at_s > ?",
        session.owner_id,
        session.region,
        session.now_s,
    )
    if pending[0] >= _MOST_PENDING:
        raise RefusedError(
            "ConcurrentLimitExceededException", f"{_MOST_PENDING} snapshots are pending already."
        )


def _parent(session: Session, parameters: Parameters) -> sqlite3.Row | None:
    parent_id = parameters.get("ParentSnapshotId")
    if parent_id is None:
        return None
    if "Encrypted" in parameters or "KmsKeyArn" in parameters:
        raise invalid(
            "Encrypted and KmsKeyArn cannot be given with ParentSnapshotId: a child is as its"
            " parent is."
        )
    row = readable_snapshot(session, parent_id)
    if row["owner_id"] != session.owner_id:
        raise RefusedError(
            "AccessDeniedException",
            f"The snapshot '{parent_id}' is another account's.",
            status=403,
            reason="UNAUTHORIZED_ACCOUNT",
        )
    if parameters["VolumeSize"] < row["volume_size_gib"]:
        raise invalid(
            f"VolumeSize must be at least the parent's, {row['volume_size_gib']} GiB.",
            "INVALID_VOLUME_SIZE",
        )
    return row


def _key(session: Session, parameters: Parameters, parent: sqlite3.Row | None) -> str | None:
    if parent is not None:
        return str(parent["kms_key_id"]) if parent["encrypted"] else None
    given = parameters.get("KmsKeyArn")
    if given is None:
        is_encrypted = parameters.get("Encrypted", session.encrypts)
        return read_key(session, None).arn if is_encrypted else None
    arn = KEY_ARN.fullmatch(given)
    if not parameters.get("Encrypted") or arn is None or arn[1] != session.region:
        raise invalid(
            "KmsKeyArn needs Encrypted, and is the ARN of a key of the region.",
            "INVALID_CUSTOMER_KEY",
        )
    found = read_key(session, given)
    if found.problem:
        raise invalid(f"{found.problem}.", "INVALID_CUSTOMER_KEY")
    return found.arn


@action("CompleteSnapshot", Access.OWN)
def complete_snapshot(session: Session, parameters: Parameters) -> Result:
    """End a snapshot: nothing more is written, and it becomes readable."""
    snapshot_id = parameters["SnapshotId"]
    content_id = pending_snapshot(session, snapshot_id)["content_id"]
    with session.contents.completing(content_id):
        row = pending_snapshot(session, snapshot_id)  # another may have completed it meanwhile
        _check_written(session, row, parameters)
        parent_id = row["parent_snapshot_id"]
        parent = session.row("SELECT * FROM snapshots WHERE snapshot_id = ?", parent_id)
        session.contents.complete(content_id, content_of(parent) if parent else None)
        session.run(
            "UPDATE snapshots SET state = 'completed', completion_time = ?, ready_at_s = ?"
            " WHERE snapshot_id = ?",
            iso_of_s(session.ready_at_s),
            session.ready_at_s,
            snapshot_id,
        )
    return {"Status": "pending" if session.pending_s else "completed"}


def _check_written(session: Session, row: sqlite3.Row, parameters: Parameters) -> None:
    """Refuse to complete a snapshot that is not what its writer believes."""
    count, checksum = linear_checksum(session.contents.written(row["content_id"]))
    if count != parameters["ChangedBlocksCount"]:
        raise invalid(
            f"ChangedBlocksCount says {parameters['ChangedBlocksCount']}; {count} were written."
        )
    given = parameters.get("Checksum")
    methods = ("ChecksumAlgorithm", "ChecksumAggregationMethod")
    named = [parameters.get(name) is not None for name in methods]
    if given is not None and not all(named):
        raise invalid("Checksum needs ChecksumAlgorithm and ChecksumAggregationMethod.")
    if given not in {None, checksum}:
        raise invalid("The Checksum is not that of the blocks that were written.")
