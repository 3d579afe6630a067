"""ImportSnapshot, DescribeImportSnapshotTasks and CancelImportTask (VM Import/Export User Guide).

The action writes a task down; who does it (`Account.imports`) is told by the endpoint.
"""

import re
import sqlite3

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.snapshot_row import read_key
from imgforge.catalog.filters import Condition, conditions, read_page
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError, combination, missing
from imgforge.catalog.session import Parameters, Result, Session, new_id, requested_tags

_ID = re.compile(r"import-snap-[0-9a-f]{8,17}")
_FORMATS = ("RAW", "VMDK", "VHD")
_MOST_ACTIVE = 20


@action("ImportSnapshot")
def import_snapshot(session: Session, parameters: Parameters) -> Result:
    """Begin to make a snapshot of a disk image in S3."""
    tags = requested_tags(parameters, "import-snapshot-task")["import-snapshot-task"]
    container = parameters.get("DiskContainer") or {}
    if container.get("UserBucket") and container.get("Url"):
        raise combination("UserBucket and Url exclude each other.")
    if session.source is None:
        raise missing("DiskContainer.UserBucket or DiskContainer.Url")
    kind = container.get("Format", "").upper()
    if kind not in _FORMATS:
        raise RefusedError(
            "InvalidParameter",
            f"The format {container.get('Format', '')[:40]!r} is none of {', '.join(_FORMATS)}.",
        )
    if parameters.get("KmsKeyId") and not parameters.get("Encrypted", session.encrypts):
        raise RefusedError(
            "InvalidParameterDependency",
            "The parameter KmsKeyId requires the parameter Encrypted to be set.",
        )
    (active,) = session.rows(
        "SELECT count(*) FROM import_tasks WHERE owner_id = ? AND region = ? AND status = 'active'",
        session.owner_id,
        session.region,
    )
    if active[0] >= _MOST_ACTIVE:
        raise RefusedError(
            "ResourceCountLimitExceeded", f"{_MOST_ACTIVE} imports are active already."
        )
    wanted = parameters.get("Encrypted", session.encrypts)
    key = read_key(session, parameters.get("KmsKeyId")) if wanted else None
    task_id = new_id("import-snap")
    session.insert(
        "import_tasks",
        {
            "import_task_id": task_id,
            "owner_id": session.owner_id,
            "region": session.region,
            "description": parameters.get("Description", container.get("Description", "")),
            "format": kind,
            "bucket": session.source.bucket,
            "key": session.source.key,
            "url": container.get("Url"),
            "etag": session.source.etag,
            "size_bytes": session.source.size_bytes,
            "kms_key_id": None if key is None else key.arn,
            "status": "deleted" if key is not None and key.problem else "active",
            "status_message": f"ClientError: {key.problem}" if key and key.problem else "pending",
            "progress": 0,
        },
    )
    insert_tags(session.connection, task_id, tags)
    shown = _show(session, _row(session, task_id))
    return {name: value for name, value in shown.items() if value != []}


def _row(session: Session, task_id: str) -> sqlite3.Row:
    if not _ID.fullmatch(task_id):
        raise RefusedError("InvalidConversionTaskId.Malformed", f'Invalid id: "{task_id[:100]}"')
    row = session.row(
        "SELECT * FROM import_tasks WHERE import_task_id = ? AND owner_id = ? AND region = ?",
        task_id,
        session.owner_id,
        session.region,
    )
    if row is None:
        raise RefusedError(
            "InvalidConversionTaskId", f"The import task '{task_id}' does not exist."
        )
    return row


def _show(session: Session, row: sqlite3.Row) -> Result:
    detail: Result = {
        "Description": row["description"],
        "DiskImageSize": float(row["size_bytes"]),
        "Encrypted": row["kms_key_id"] is not None,
        "Format": row["format"],
        "KmsKeyId": row["kms_key_id"],
        "Progress": str(row["progress"]) if row["status"] == "active" else None,
        "SnapshotId": row["snapshot_id"],
        "Status": row["status"],
        "StatusMessage": row["status_message"],
        "Url": row["url"],
    }
    if row["url"] is None:
        detail["UserBucket"] = {"S3Bucket": row["bucket"], "S3Key": row["key"]}
    return {
        "ImportTaskId": row["import_task_id"],
        "Description": row["description"],
        "SnapshotTaskDetail": {name: one for name, one in detail.items() if one is not None},
        "Tags": session.tags_of([row["import_task_id"]])[row["import_task_id"]],
    }


@action("DescribeImportSnapshotTasks", Access.READ)
def describe_import_snapshot_tasks(session: Session, parameters: Parameters) -> Result:
    """Return the caller's imports."""
    page = read_page(parameters, least=1, most=1000, ids="ImportTaskIds")
    ids = list(dict.fromkeys(parameters.get("ImportTaskIds", [])))
    for task_id in ids:
        _row(session, task_id)
    found = [
        Condition("i.owner_id = ? AND i.region = ?", (session.owner_id, session.region)),
        *conditions(parameters, {"task-state": "i.status"}, resource_id="i.import_task_id"),
        Condition("i.rowid > ?", (page.after,)),
    ]
    if ids:
        found.append(Condition(f"i.import_task_id IN ({', '.join('?' * len(ids))})", tuple(ids)))
    where = " AND ".join(condition.text for condition in found)
    values = [value for condition in found for value in condition.values]
    rows = session.rows(
        f"SELECT i.rowid AS number, i.* FROM import_tasks i WHERE {where}"  # noqa: S608 (this room's names)
        f" ORDER BY i.rowid{page.limit}",
        *values,
    )
    rows, result = page.cut(rows)
    return {"ImportSnapshotTasks": [_show(session, row) for row in rows], **result}


@action("CancelImportTask")
def cancel_import_task(session: Session, parameters: Parameters) -> Result:
    """Give an import up, as long as it is not done."""
    task_id = parameters.get("ImportTaskId", "")
    if not task_id:
        raise missing("ImportTaskId")
    row = _row(session, task_id)
    if row["status"] != "active":
        raise RefusedError(
            "IncorrectState", f"The import task '{task_id}' is {row['status']} already."
        )
    session.run(
        "UPDATE import_tasks SET status = 'deleted', status_message = ? WHERE import_task_id = ?",
        parameters.get("CancelReason") or "cancelled",
        task_id,
    )
    return {"ImportTaskId": task_id, "PreviousState": "active", "State": "deleted"}
