"""EBS direct's actions on single blocks: they are put into a snapshot, and got from one."""

import base64
import sqlite3

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.direct_row import (
    block_token,
    check_id,
    content_of,
    invalid,
    pending_snapshot,
    readable_snapshot,
)
from imgforge.catalog.contents import block_sha256
from imgforge.catalog.packs import BLOCK_BYTES
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session
from imgforge.errors import HostError

_BLOCKS_IN_GIB = 2**30 // BLOCK_BYTES


@action("PutSnapshotBlock", Access.OWN)
def put_snapshot_block(session: Session, parameters: Parameters) -> Result:
    """Write a block; the same block again is written again."""
    snapshot_id = parameters["SnapshotId"]
    check_id(snapshot_id)
    # What is being written is a content of its own, by the snapshot's id.
    if not session.contents.is_begun(snapshot_id):
        pending_snapshot(session, snapshot_id)  # or a file is made for a snapshot of nobody
    with session.contents.writing(snapshot_id) as content:
        row = pending_snapshot(session, snapshot_id)  # nobody completes it meanwhile
        digest = _checked_block(row, parameters)
        content.put(parameters["BlockIndex"], parameters["BlockData"], digest=digest)
    if row["timeout_at_s"] - session.now_s < row["timeout_s"] / 2:
        # The time runs from the last block on; it need not be written down with each.
        session.run(
            "UPDATE snapshots SET timeout_at_s = ? WHERE snapshot_id = ?",
            session.now_s + row["timeout_s"],
            snapshot_id,
        )
    return {"Checksum": parameters["Checksum"], "ChecksumAlgorithm": "SHA256"}


def _checked_block(row: sqlite3.Row, parameters: Parameters) -> bytes:
    """Return the digest of a block that may be written. Raises RefusedError."""
    number, data = parameters["BlockIndex"], parameters["BlockData"]
    if number >= row["volume_size_gib"] * _BLOCKS_IN_GIB:
        raise invalid(
            f"BlockIndex {number} is behind the volume's end, {row['volume_size_gib']} GiB.",
            "INVALID_BLOCK",
        )
    if parameters["DataLength"] != BLOCK_BYTES or len(data) != BLOCK_BYTES:
        raise invalid(
            f"A block has {BLOCK_BYTES} bytes; DataLength says {parameters['DataLength']}, and"
            f" {len(data)} came.",
            "INVALID_BLOCK",
        )
    digest = block_sha256(data)
    if base64.b64encode(digest).decode("ascii") != parameters["Checksum"]:
        raise invalid("The Checksum is not the block's.", "INVALID_BLOCK")
    return digest


@action("GetSnapshotBlock", Access.OWN)
def get_snapshot_block(session: Session, parameters: Parameters) -> Result:
    """Return a block's data."""
    row = readable_snapshot(session, parameters["SnapshotId"])
    number = parameters["BlockIndex"]
    try:
        found = session.contents.read(content_of(row), number)
    except (HostError, OSError):
        readable_snapshot(session, parameters["SnapshotId"])  # deleted and swept meanwhile
        raise
    if found is None:
        readable_snapshot(session, parameters["SnapshotId"])
        raise RefusedError(
            "ResourceNotFoundException",
            f"The snapshot '{row['snapshot_id']}' has no block {number}.",
            status=404,
            reason="DEPENDENCY_RESOURCE_NOT_FOUND",
        )
    data, digest = found
    if parameters["BlockToken"] != block_token(row, number, digest):
        raise invalid("The BlockToken is not this block's.", "INVALID_BLOCK_TOKEN")
    return {
        "DataLength": len(data),
        "BlockData": data,
        "Checksum": base64.b64encode(digest).decode("ascii"),
        "ChecksumAlgorithm": "SHA256",
    }
