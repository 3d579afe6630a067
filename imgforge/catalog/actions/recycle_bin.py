"""Images and snapshots that were deleted and are kept for a time: listed, and restored."""

import sqlite3
from collections.abc import Callable

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.image_row import check_image_id, no_image
from imgforge.catalog.actions.images import taken_by
from imgforge.catalog.actions.snapshot_row import (
    check_snapshot_id,
    no_snapshot,
    show_snapshot,
)
from imgforge.catalog.filters import read_page
from imgforge.catalog.life_rules import check_name_is_free
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.rules import refuse_as_ec2
from imgforge.catalog.session import Parameters, Result, Session, iso_of_s

_KEPT = "region = ? AND owner_id = ? AND recycled_until_s > ?"


@action("ListImagesInRecycleBin", Access.READ)
def list_images(session: Session, parameters: Parameters) -> Result:
    """Return the caller's images in the bin."""
    rows, result = _rows(session, parameters, "image", check_image_id, no_image)
    shown = [
        {
            "ImageId": row["image_id"],
            "Name": row["name"],
            "Description": row["description"],
            **_times(row),
        }
        for row in rows
    ]
    return {"Images": shown, **result}


@action("ListSnapshotsInRecycleBin", Access.READ)
def list_snapshots(session: Session, parameters: Parameters) -> Result:
    """Return the caller's snapshots in the bin."""
    rows, result = _rows(session, parameters, "snapshot", check_snapshot_id, no_snapshot)
    shown = [
        {
            "SnapshotId": row["snapshot_id"],
            "Description": row["description"],
            "VolumeId": row["volume_id"],
            **_times(row),
        }
        for row in rows
    ]
    return {"Snapshots": shown, **result}


def _times(row: sqlite3.Row) -> Result:
    return {
        "RecycleBinEnterTime": iso_of_s(row["recycled_at_s"]),
        "RecycleBinExitTime": iso_of_s(row["recycled_until_s"]),
    }


def _rows(
    session: Session,
    parameters: Parameters,
    kind: str,
    check: Callable[[str], None],
    absent: Callable[[str], RefusedError],
) -> tuple[list[sqlite3.Row], Result]:
    page = read_page(parameters, least=5, most=1000)
    ids = parameters.get(f"{kind.capitalize()}Ids", [])
    for one in ids:
        check(one)
        if _find(session, kind, one) is None:
            raise absent(one)
    chosen = f" AND {kind}_id IN ({', '.join('?' * len(ids))})" if ids else ""
    rows = session.rows(
        f"SELECT rowid AS number, * FROM {kind}s WHERE {_KEPT}{chosen} AND rowid > ?"  # noqa: S608 (this module's names)
        f" ORDER BY rowid{page.limit}",
        session.region,
        session.owner_id,
        session.now_s,
        *ids,
        page.after,
    )
    cut, result = page.cut(rows)
    return cut, dict(result)


def _find(session: Session, kind: str, resource_id: str) -> sqlite3.Row | None:
    return session.row(
        f"SELECT * FROM {kind}s WHERE {_KEPT} AND {kind}_id = ?",  # noqa: S608 (this module's names)
        session.region,
        session.owner_id,
        session.now_s,
        resource_id,
    )


@action("RestoreImageFromRecycleBin")
def restore_image(session: Session, parameters: Parameters) -> Result:
    """Take an image out of the bin; its name must be free, and its snapshots there."""
    image_id = parameters["ImageId"]
    check_image_id(image_id)
    row = _find(session, "image", image_id)
    if row is None:
        raise no_image(image_id)
    refuse_as_ec2(check_name_is_free(row["name"], taken_by(session, row["name"])))
    gone = session.row(
        "SELECT b.snapshot_id FROM block_devices b JOIN snapshots s USING (snapshot_id)"
        " WHERE b.image_id = ? AND s.state = 'deleted'",
        image_id,
    )
    if gone is not None:
        raise no_snapshot(gone["snapshot_id"])
    session.run(
        "UPDATE images SET state = 'available', deregistration_date = NULL, recycled_at_s = NULL,"
        " recycled_until_s = NULL WHERE image_id = ?",
        image_id,
    )
    session.run(
        "UPDATE images SET public = EXISTS (SELECT 1 FROM launch_permissions p"
        " WHERE p.image_id = images.image_id AND p.kind = 'Group') WHERE image_id = ?",
        image_id,
    )
    return {"Return": True}


@action("RestoreSnapshotFromRecycleBin")
def restore_snapshot(session: Session, parameters: Parameters) -> Result:
    """Take a snapshot out of the bin."""
    snapshot_id = parameters["SnapshotId"]
    check_snapshot_id(snapshot_id)
    if _find(session, "snapshot", snapshot_id) is None:
        raise no_snapshot(snapshot_id)
    session.run(
        "UPDATE snapshots SET state = 'completed', recycled_at_s = NULL, recycled_until_s = NULL"
        " WHERE snapshot_id = ?",
        snapshot_id,
    )
    row = session.row("SELECT * FROM snapshots WHERE snapshot_id = ?", snapshot_id)
    assert row is not None
    shown = show_snapshot(session, row, [])
    names = ("SnapshotId", "Description", "Encrypted", "OwnerId", "Progress", "StartTime")
    more = ("State", "VolumeId", "VolumeSize")
    return {name: shown[name] for name in (*names, *more)}
