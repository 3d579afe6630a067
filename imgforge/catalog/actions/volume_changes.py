"""ModifyVolume and DescribeVolumesModifications (EBS User Guide, "Modify a volume")."""

import sqlite3

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.volume_row import check_volume_id, own_volume, state_of
from imgforge.catalog.actions.volumes import check_volume, usual_iops, usual_throughput
from imgforge.catalog.filters import Condition, conditions, read_page
from imgforge.catalog.refusal import RefusedError, combination, missing
from imgforge.catalog.session import Parameters, Result, Session, iso_of_s
from imgforge.catalog.volume_rules import USUAL_IOPS
from imgforge.image_choice import VolumeType

_PAUSE_S = 6 * 3600.0
_CHANGED = ("Size", "VolumeType", "Iops", "Throughput", "MultiAttachEnabled")
_STATE = (
    "CASE WHEN m.started_at_s + m.pending_s > {now} THEN 'modifying'"
    " WHEN m.started_at_s + 2 * m.pending_s > {now} THEN 'optimizing' ELSE 'completed' END"
)
_COLUMNS = {
    "Size": "size_gib",
    "Iops": "iops",
    "VolumeType": "volume_type",
    "Throughput": "throughput",
    "MultiAttachEnabled": "multi_attach",
}


@action("ModifyVolume")
def modify_volume(session: Session, parameters: Parameters) -> Result:
    """Let a volume grow, or be of another type; once in six hours."""
    volume = own_volume(session, parameters["VolumeId"])
    volume_id = volume["volume_id"]
    if not any(name in parameters for name in _CHANGED):
        raise missing("Size/VolumeType/Iops/Throughput/MultiAttachEnabled")
    if state_of(session, volume) != "available":
        raise RefusedError("IncorrectState", f"The volume '{volume_id}' is not available.")
    _check_pause(session, volume_id)
    target = _target(parameters, volume)
    session.run(
        "UPDATE volumes SET size_gib = ?, iops = ?, volume_type = ?, throughput = ?,"
        " multi_attach = ? WHERE volume_id = ?",
        *(target[column] for column in _COLUMNS.values()),
        volume_id,
    )
    session.insert(
        "volume_changes",
        {
            "volume_id": volume_id,
            "started_at_s": session.now_s,
            "pending_s": session.pending_s,
            **{f"original_{column}": volume[column] for column in _COLUMNS.values()},
            **{f"target_{column}": target[column] for column in _COLUMNS.values()},
        },
    )
    row = session.row(
        "SELECT * FROM volume_changes WHERE volume_id = ? ORDER BY started_at_s DESC", volume_id
    )
    assert row is not None
    return {"VolumeModification": _show(session, row)}


def _check_pause(session: Session, volume_id: str) -> None:
    before = session.row(
        "SELECT 1 FROM volume_changes WHERE volume_id = ? AND started_at_s > ?",
        volume_id,
        session.now_s - _PAUSE_S,
    )
    if before is not None:
        raise RefusedError(
            "VolumeModificationRateExceeded",
            f"You've reached the maximum modification rate per volume limit for {volume_id}."
            " Wait at least 6 hours between modifications per EBS volume.",
        )


def _target(parameters: Parameters, volume: sqlite3.Row) -> dict[str, str | int | None]:
    kind = VolumeType(parameters.get("VolumeType", volume["volume_type"]))
    size_gib = parameters.get("Size", volume["size_gib"])
    if size_gib < volume["size_gib"]:
        raise RefusedError(
            "InvalidParameterValue",
            f"New size cannot be smaller than existing size: {volume['size_gib']} GiB",
        )
    if VolumeType.STANDARD in {kind, volume["volume_type"]} and kind != volume["volume_type"]:
        raise combination("A magnetic volume (standard) keeps its type, and none becomes one.")
    is_same = kind == volume["volume_type"]
    iops = parameters.get("Iops")
    if iops is None and is_same and kind is not VolumeType.GP2:
        iops = volume["iops"]
    if iops is None and kind in {VolumeType.IO1, VolumeType.IO2}:
        iops = USUAL_IOPS  # EC2 API, ModifyVolume: Iops
    throughput = parameters.get("Throughput", volume["throughput"] if is_same else None)
    multi_attach = parameters.get("MultiAttachEnabled", bool(volume["multi_attach"]))
    asked = {"Iops": iops, "Throughput": throughput, "MultiAttachEnabled": multi_attach}
    check_volume(asked, kind, size_gib, None)
    return {
        "size_gib": size_gib,
        "volume_type": kind,
        "iops": usual_iops(kind, size_gib) if iops is None else iops,
        "throughput": usual_throughput(kind) if throughput is None else throughput,
        "multi_attach": multi_attach,
    }


def _show(session: Session, row: sqlite3.Row) -> Result:
    passed_s = session.now_s - row["started_at_s"]
    whole_s = 2 * row["pending_s"]
    is_done = passed_s >= whole_s
    state = "completed" if is_done else "modifying" if passed_s < whole_s / 2 else "optimizing"
    shown: Result = {
        "VolumeId": row["volume_id"],
        "ModificationState": state,
        "Progress": 100 if is_done else int(100 * passed_s / whole_s),
        "StartTime": iso_of_s(row["started_at_s"]),
        "EndTime": iso_of_s(row["started_at_s"] + whole_s) if is_done else None,
    }
    for name, column in _COLUMNS.items():
        for when in ("original", "target"):
            value = row[f"{when}_{column}"]
            if name == "MultiAttachEnabled":
                value = bool(value)
            shown[f"{when.capitalize()}{name}"] = value
    return {name: value for name, value in shown.items() if value is not None}


@action("DescribeVolumesModifications", Access.READ)
def describe_volumes_modifications(session: Session, parameters: Parameters) -> Result:
    """Return the latest change of each of the caller's volumes that had one."""
    page = read_page(parameters, least=1, most=500, ids="VolumeIds")
    ids = list(dict.fromkeys(parameters.get("VolumeIds", [])))
    for volume_id in ids:
        check_volume_id(volume_id)
        own_volume(session, volume_id)
        if session.row("SELECT 1 FROM volume_changes WHERE volume_id = ?", volume_id) is None:
            raise RefusedError(
                "InvalidVolumeModification.NotFound",
                f"Modification for volume '{volume_id}' does not exist.",
            )
    filterable = {
        "modification-state": _STATE.format(now=repr(session.now_s)),
        "start-time": "strftime('%Y-%m-%dT%H:%M:%fZ', m.started_at_s, 'unixepoch')",
        "volume-id": "m.volume_id",
        **{
            f"{when}-{name}": f"CAST(m.{when}_{column} AS TEXT)"
            for when in ("original", "target")
            for name, column in (
                ("iops", "iops"),
                ("size", "size_gib"),
                ("volume-type", "volume_type"),
            )
        },
        **{
            f"{when}-multi-attach-enabled": f"iif(m.{when}_multi_attach, 'true', 'false')"
            for when in ("original", "target")
        },
    }
    found = [
        Condition(
            "v.region = ? AND v.owner_id = ? AND v.state <> 'deleted' AND m.rowid ="
            " (SELECT max(l.rowid) FROM volume_changes l WHERE l.volume_id = m.volume_id)",
            (session.region, session.owner_id),
        ),
        *conditions(parameters, filterable, resource_id="m.volume_id"),
        Condition("m.rowid > ?", (page.after,)),
    ]
    if ids:
        found.append(Condition(f"m.volume_id IN ({', '.join('?' * len(ids))})", tuple(ids)))
    where = " AND ".join(condition.text for condition in found)
    values = [value for condition in found for value in condition.values]
    rows = session.rows(
        "SELECT m.rowid AS number, m.* FROM volume_changes m JOIN volumes v USING (volume_id)"  # noqa: S608 (this room's names)
        f" WHERE {where} ORDER BY m.rowid{page.limit}",
        *values,
    )
    rows, result = page.cut(rows)
    return {"VolumesModifications": [_show(session, row) for row in rows], **result}
