"""A snapshot as EBS direct finds it, for writing or for reading; and how it refuses."""

import base64
import hashlib
import re
import sqlite3

from imgforge.catalog.actions.snapshot_row import state_of, visible
from imgforge.catalog.contents import Content
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Session

_ID = re.compile(r"snap-([0-9a-f]{8}|[0-9a-f]{17})")


def invalid(message: str, reason: str = "INVALID_PARAMETER_VALUE") -> RefusedError:
    """Return EBS direct's answer to a request that cannot be."""
    return RefusedError("ValidationException", message, reason=reason)


def no_such_snapshot(snapshot_id: str) -> RefusedError:
    """Return EBS direct's answer to an id of what the caller does not see."""
    return RefusedError(
        "ResourceNotFoundException",
        f"The snapshot '{snapshot_id}' does not exist.",
        status=404,
        reason="SNAPSHOT_NOT_FOUND",
    )


def pending_snapshot(session: Session, snapshot_id: str) -> sqlite3.Row:
    """Return the row of a snapshot that the caller is writing."""
    row = find_snapshot(session, snapshot_id)
    if row["owner_id"] != session.owner_id:
        raise no_such_snapshot(snapshot_id)
    if row["state"] == "pending" and row["timeout_at_s"] < session.now_s:
        raise invalid(f"The snapshot '{snapshot_id}' has timed out.", "WRITE_REQUEST_TIMEOUT")
    if row["state"] != "pending" or row["timeout_at_s"] is None:
        raise invalid(
            f"The snapshot '{snapshot_id}' is {state_of(session, row)}: nothing can be written.",
            "INVALID_SNAPSHOT_ID",
        )
    return row


def check_id(snapshot_id: str) -> None:
    """Refuse what cannot be a snapshot's id."""
    if not _ID.fullmatch(snapshot_id):
        raise invalid(f"'{snapshot_id}' is no snapshot's id.", "INVALID_SNAPSHOT_ID")


def find_snapshot(session: Session, snapshot_id: str) -> sqlite3.Row:
    """Return the row of a snapshot that the caller sees. Raises RefusedError."""
    check_id(snapshot_id)
    condition, values = visible(session)
    row = session.row(
        f"SELECT s.* FROM snapshots s WHERE {condition} AND s.snapshot_id = ?",  # noqa: S608 (this room's text)
        *values,
        snapshot_id,
    )
    if row is None:
        raise no_such_snapshot(snapshot_id)
    return row


def readable_snapshot(session: Session, snapshot_id: str) -> sqlite3.Row:
    """Return the row of a completed snapshot."""
    row = find_snapshot(session, snapshot_id)
    state = state_of(session, row)
    if state != "completed":
        raise invalid(
            f"The snapshot '{snapshot_id}' is {state}; completed is needed.", "INVALID_SNAPSHOT_ID"
        )
    return row


def content_of(row: sqlite3.Row) -> Content:
    """Return where a snapshot's data is."""
    return Content(row["content_id"], row["blob_sha256"], row["blob_size_bytes"])


def block_token(row: sqlite3.Row, number: int, digest: bytes) -> str:
    """Return the token of a block: it is the block's alone."""
    text = f"{row['snapshot_id']}:{number}:".encode() + digest
    return base64.b64encode(hashlib.blake2b(text, digest_size=30).digest()).decode("ascii")
