"""ModifySnapshotAttribute, DescribeSnapshotAttribute and ResetSnapshotAttribute."""

import re
import sqlite3

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.snapshot_row import is_default_key, own_snapshot, state_of
from imgforge.catalog.refusal import RefusedError, combination
from imgforge.catalog.session import Parameters, Result, Session

_ACCOUNT = re.compile(r"[0-9]{12}")
Permission = tuple[str, str]


@action("ModifySnapshotAttribute")
def modify_snapshot_attribute(session: Session, parameters: Parameters) -> Result:
    """Let accounts make volumes of a snapshot, or no longer."""
    row = own_snapshot(session, parameters["SnapshotId"])
    if parameters.get("Attribute", "createVolumePermission") != "createVolumePermission":
        raise combination("Only createVolumePermission can be modified.")
    add, remove = _changes(parameters)
    for kind, value in (*add, *remove):
        _check(kind, value)
    if add:
        _check_may_share(session, row, add)
    for kind, value in add:
        session.run(
            "INSERT OR IGNORE INTO volume_permissions VALUES (?, ?, ?)",
            row["snapshot_id"],
            kind,
            value,
        )
    for kind, value in remove:
        session.run(
            "DELETE FROM volume_permissions WHERE snapshot_id = ? AND kind = ? AND value = ?",
            row["snapshot_id"],
            kind,
            value,
        )
    return {}


def _changes(parameters: Parameters) -> tuple[list[Permission], list[Permission]]:
    """Return whom to add and whom to remove; never both (EC2 API)."""
    given = parameters.get("CreateVolumePermission", {})
    add = [pair for one in given.get("Add", []) for pair in one.items()]
    remove = [pair for one in given.get("Remove", []) for pair in one.items()]
    plain = [
        *(("Group", name) for name in parameters.get("GroupNames", [])),
        *(("UserId", user) for user in parameters.get("UserIds", [])),
    ]
    operation = parameters.get("OperationType")
    if plain or operation is not None:
        if add or remove:
            raise combination("CreateVolumePermission cannot be used with OperationType.")
        if operation is None or not plain:
            raise combination("OperationType needs users or groups, and they it.")
        add, remove = (plain, []) if operation == "add" else ([], plain)
    if add and remove:
        raise combination("Permissions cannot be added and removed in one request.")
    if not add and not remove:
        raise RefusedError("MissingParameter", "No permission to add or remove is given.")
    return add, remove


def _check(kind: str, value: str) -> None:
    if not (value == "all" if kind == "Group" else _ACCOUNT.fullmatch(value)):
        raise RefusedError(
            "InvalidParameterValue",
            f'Invalid attribute item value "{value[:100]}" for {kind} item type.',
        )


def _check_may_share(session: Session, row: sqlite3.Row, add: list[Permission]) -> None:
    """Refuse to share what cannot be (EBS User Guide, "Share a snapshot")."""
    snapshot_id = row["snapshot_id"]
    if state_of(session, row) == "error":
        raise RefusedError("IncorrectState", f"The snapshot '{snapshot_id}' is in error.")
    if row["encrypted"] and any(kind == "Group" for kind, _ in add):
        raise RefusedError(
            "OperationNotPermitted", f"The snapshot {snapshot_id} is encrypted: not public."
        )
    if is_default_key(row["kms_key_id"]):
        raise RefusedError(
            "OperationNotPermitted",
            f"The snapshot {snapshot_id} is encrypted with the account's own key for EBS, which"
            " cannot be shared.",
        )


@action("ResetSnapshotAttribute")
def reset_snapshot_attribute(session: Session, parameters: Parameters) -> Result:
    """Take back all permissions."""
    row = own_snapshot(session, parameters["SnapshotId"])
    if parameters["Attribute"] != "createVolumePermission":
        raise combination("Only createVolumePermission can be reset.")
    session.run("DELETE FROM volume_permissions WHERE snapshot_id = ?", row["snapshot_id"])
    return {}


@action("DescribeSnapshotAttribute", Access.READ)
def describe_snapshot_attribute(session: Session, parameters: Parameters) -> Result:
    """Return whom a snapshot is shared with, or its product codes, of which none has any."""
    row = own_snapshot(session, parameters["SnapshotId"])
    result: Result = {"SnapshotId": row["snapshot_id"]}
    if parameters["Attribute"] == "productCodes":
        return {**result, "ProductCodes": []}
    found = session.rows(
        "SELECT kind, value FROM volume_permissions WHERE snapshot_id = ? ORDER BY rowid",
        row["snapshot_id"],
    )
    return {**result, "CreateVolumePermissions": [{one["kind"]: one["value"]} for one in found]}
