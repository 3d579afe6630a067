"""ModifySnapshotAttribute, DescribeSnapshotAttribute and ResetSnapshotAttribute."""

from imgforge.catalog.actions.account_settings import check_snapshots_may_be_public
from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.facts import snapshot_facts
from imgforge.catalog.actions.snapshot_row import own_snapshot
from imgforge.catalog.life_facts import Permission, ShareWish
from imgforge.catalog.life_rules import check_snapshot_share
from imgforge.catalog.refusal import combination
from imgforge.catalog.rules import refuse_as_ec2
from imgforge.catalog.session import Parameters, Result, Session


@action("ModifySnapshotAttribute")
def modify_snapshot_attribute(session: Session, parameters: Parameters) -> Result:
    """Let accounts make volumes of a snapshot, or no longer."""
    row = own_snapshot(session, parameters["SnapshotId"])
    if parameters.get("Attribute", "createVolumePermission") != "createVolumePermission":
        raise combination("Only createVolumePermission can be modified.")
    add, remove = _changes(parameters)
    wish = ShareWish(add=add, remove=remove)
    refuse_as_ec2(check_snapshot_share(snapshot_facts(session, row), wish))
    if any(kind == "Group" for kind, _ in add):
        check_snapshots_may_be_public(session)
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
    """Return whom to add and whom to remove."""
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
    return add, remove


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
