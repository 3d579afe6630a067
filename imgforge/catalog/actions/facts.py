"""What the rules ask of images and snapshots, of the rows they are kept in."""

import sqlite3

from imgforge.catalog.actions.image_row import protection, shown_state
from imgforge.catalog.actions.snapshot_row import state_of, usable_snapshot
from imgforge.catalog.life_facts import ImageFacts, SnapshotFacts, is_default_key
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Session


def image_facts(session: Session, row: sqlite3.Row) -> ImageFacts:
    """Return what the rules ask of an image."""
    image_id = row["image_id"]
    codes = session.rows(
        "SELECT code FROM product_codes WHERE image_id = ? ORDER BY code", image_id
    )
    snapshots = session.rows(
        "SELECT s.* FROM block_devices b JOIN snapshots s USING (snapshot_id)"
        " WHERE b.image_id = ? ORDER BY b.position",
        image_id,
    )
    return ImageFacts(
        image_id=image_id,
        owner_id=row["owner_id"],
        region=row["region"],
        root_device_type=row["root_device_type"],
        state=shown_state(session, row),
        is_public=bool(row["public"]),
        protection=protection(session, row),
        image_location=row["image_location"],
        product_codes=tuple(one["code"] for one in codes),
        snapshots=tuple(snapshot_facts(session, one) for one in snapshots),
    )


def snapshot_facts(session: Session, row: sqlite3.Row) -> SnapshotFacts:
    """Return what the rules ask of a snapshot."""
    return SnapshotFacts(
        snapshot_id=row["snapshot_id"],
        owner_id=row["owner_id"],
        state=state_of(session, row),
        is_encrypted=bool(row["encrypted"]),
        has_default_key=is_default_key(row["kms_key_id"]),
        is_usable=_is_usable(session, row),
    )


def _is_usable(session: Session, row: sqlite3.Row) -> bool:
    try:
        usable_snapshot(session, row["snapshot_id"], region=row["region"])
    except RefusedError:
        return False
    return True
