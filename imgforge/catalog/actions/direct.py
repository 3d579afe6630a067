"""EBS direct's actions: snapshots written and read block by block (EBS direct API reference)."""

import base64
import binascii
import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.snapshot_row import KEY_ARN, read_key, state_of, visible
from imgforge.catalog.contents import BLOCK_BYTES, Content, block_sha256, linear_checksum
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session, iso, iso_of_s, new_id, read_tags

_MOST_GIB = 65_536
_BLOCKS_IN_GIB = 2**30 // BLOCK_BYTES
_DEFAULT_TIMEOUT_MINUTES = 60
_MOST_PENDING = 100
_EXPIRES_S = 7 * 24 * 3600
_MOST_BLOCKS = 10_000
_NO_VOLUME = "vol-ffffffff"
_ID = re.compile(r"snap-([0-9a-f]{8}|[0-9a-f]{17})")
_MOST_ANCESTORS = 10_000


def _invalid(message: str, reason: str = "INVALID_PARAMETER_VALUE") -> RefusedError:
    return RefusedError("ValidationException", message, reason=reason)


def _no_snapshot(snapshot_id: str) -> RefusedError:
    return RefusedError(
        "ResourceNotFoundException",
        f"The snapshot '{snapshot_id}' does not exist.",
        status=404,
        reason="SNAPSHOT_NOT_FOUND",
    )


@action("StartSnapshot")
def start_snapshot(session: Session, parameters: Parameters) -> Result:
    """Begin a snapshot, empty or on the blocks of a parent."""
    size_gib = parameters["VolumeSize"]
    if not 1 <= size_gib <= _MOST_GIB:
        raise _invalid(f"VolumeSize must be 1 to {_MOST_GIB} GiB.", "INVALID_VOLUME_SIZE")
    try:
        tags = read_tags(parameters.get("Tags", []))
    except RefusedError as error:
        raise _invalid(str(error), "INVALID_TAG") from None
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
        raise _invalid(
            "Encrypted and KmsKeyArn cannot be given with ParentSnapshotId: a child is as its"
            " parent is."
        )
    row = _readable(session, parent_id)
    if row["owner_id"] != session.owner_id:
        raise RefusedError(
            "AccessDeniedException",
            f"The snapshot '{parent_id}' is another account's.",
            status=403,
            reason="UNAUTHORIZED_ACCOUNT",
        )
    if parameters["VolumeSize"] < row["volume_size_gib"]:
        raise _invalid(
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
        raise _invalid(
            "KmsKeyArn needs Encrypted, and is the ARN of a key of the region.",
            "INVALID_CUSTOMER_KEY",
        )
    found = read_key(session, given)
    if found.problem:
        raise _invalid(f"{found.problem}.", "INVALID_CUSTOMER_KEY")
    return found.arn


def _pending(session: Session, snapshot_id: str) -> sqlite3.Row:
    """Return the row of a snapshot that the caller is writing."""
    row = _find(session, snapshot_id)
    if row["owner_id"] != session.owner_id:
        raise _no_snapshot(snapshot_id)
    if row["state"] == "pending" and row["timeout_at_s"] < session.now_s:
        raise _invalid(f"The snapshot '{snapshot_id}' has timed out.", "WRITE_REQUEST_TIMEOUT")
    if row["state"] != "pending" or row["timeout_at_s"] is None:
        raise _invalid(
            f"The snapshot '{snapshot_id}' is {state_of(session, row)}: nothing can be written.",
            "INVALID_SNAPSHOT_ID",
        )
    return row


def _find(session: Session, snapshot_id: str) -> sqlite3.Row:
    if not _ID.fullmatch(snapshot_id):
        raise _invalid(f"'{snapshot_id}' is no snapshot's id.", "INVALID_SNAPSHOT_ID")
    condition, values = visible(session)
    row = session.row(
        f"SELECT s.* FROM snapshots s WHERE {condition} AND s.snapshot_id = ?",  # noqa: S608 (this room's text)
        *values,
        snapshot_id,
    )
    if row is None:
        raise _no_snapshot(snapshot_id)
    return row


def _readable(session: Session, snapshot_id: str) -> sqlite3.Row:
    """Return the row of a completed snapshot."""
    row = _find(session, snapshot_id)
    state = state_of(session, row)
    if state != "completed":
        raise _invalid(
            f"The snapshot '{snapshot_id}' is {state}; completed is needed.", "INVALID_SNAPSHOT_ID"
        )
    return row


def content_of(row: sqlite3.Row) -> Content:
    """Return where a snapshot's data is."""
    return Content(row["content_id"], row["blob_sha256"], row["blob_size_bytes"])


@action("PutSnapshotBlock", Access.OWN)
def put_snapshot_block(session: Session, parameters: Parameters) -> Result:
    """Write a block; the same block again is written again."""
    snapshot_id = parameters["SnapshotId"]
    content_id = _pending(session, snapshot_id)["content_id"]
    with session.contents.writing(content_id):
        row = _pending(session, snapshot_id)  # it may have been completed meanwhile
        digest = _checked_block(row, parameters)
        session.contents.put(
            content_id, parameters["BlockIndex"], parameters["BlockData"], digest=digest
        )
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
        raise _invalid(
            f"BlockIndex {number} is behind the volume's end, {row['volume_size_gib']} GiB.",
            "INVALID_BLOCK",
        )
    if parameters["DataLength"] != BLOCK_BYTES or len(data) != BLOCK_BYTES:
        raise _invalid(
            f"A block has {BLOCK_BYTES} bytes; DataLength says {parameters['DataLength']}, and"
            f" {len(data)} came.",
            "INVALID_BLOCK",
        )
    digest = block_sha256(data)
    if base64.b64encode(digest).decode("ascii") != parameters["Checksum"]:
        raise _invalid("The Checksum is not the block's.", "INVALID_BLOCK")
    return digest


@action("CompleteSnapshot", Access.OWN)
def complete_snapshot(session: Session, parameters: Parameters) -> Result:
    """End a snapshot: nothing more is written, and it becomes readable."""
    snapshot_id = parameters["SnapshotId"]
    content_id = _pending(session, snapshot_id)["content_id"]
    with session.contents.completing(content_id):
        row = _pending(session, snapshot_id)  # another may have completed it meanwhile
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
        raise _invalid(
            f"ChangedBlocksCount says {parameters['ChangedBlocksCount']}; {count} were written."
        )
    given = parameters.get("Checksum")
    methods = ("ChecksumAlgorithm", "ChecksumAggregationMethod")
    named = [parameters.get(name) is not None for name in methods]
    if given is not None and not all(named):
        raise _invalid("Checksum needs ChecksumAlgorithm and ChecksumAggregationMethod.")
    if given not in {None, checksum}:
        raise _invalid("The Checksum is not that of the blocks that were written.")


@action("ListSnapshotBlocks", Access.OWN)
def list_snapshot_blocks(session: Session, parameters: Parameters) -> Result:
    """Return numbers and tokens of a snapshot's blocks, a page of them."""
    row = _readable(session, parameters["SnapshotId"])
    first, size = _page(parameters)
    blocks = session.contents.digests(content_of(row), first=first)
    listed = [
        {"BlockIndex": number, "BlockToken": _token(row, number, digest)}
        for number, digest in islice(blocks, size + 1)
    ]
    return {"Blocks": listed[:size], **_told(session, row, parameters, listed, size)}


@action("ListChangedBlocks", Access.OWN)
def list_changed_blocks(session: Session, parameters: Parameters) -> Result:
    """Return the blocks in which a snapshot differs from an earlier one, a page of them."""
    second = _readable(session, parameters["SecondSnapshotId"])
    before = parameters.get("FirstSnapshotId")
    first_row = _readable(session, before) if before else None
    if first_row is not None and _root(session, first_row) != _root(session, second):
        raise _invalid(
            f"The snapshots '{before}' and '{second['snapshot_id']}' are not of one volume.",
            "UNRELATED_SNAPSHOTS",
        )
    start, size = _page(parameters)
    earlier: Iterator[tuple[int, bytes]] = iter(())
    if first_row is not None:
        earlier = session.contents.digests(content_of(first_row), first=start)
    later = session.contents.digests(content_of(second), first=start)
    changes = islice(_changes(earlier, later), size + 1)
    listed = []
    for number, old, new in changes:
        changed: dict[str, Any] = {"BlockIndex": number}
        if old is not None and first_row is not None:
            changed["FirstBlockToken"] = _token(first_row, number, old)
        if new is not None:
            changed["SecondBlockToken"] = _token(second, number, new)
        listed.append(changed)
    return {"ChangedBlocks": listed[:size], **_told(session, second, parameters, listed, size)}


def _changes(
    earlier: Iterator[tuple[int, bytes]], later: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes | None, bytes | None]]:
    """Yield number and both digests where two ascending lists of blocks differ."""
    old, new = next(earlier, None), next(later, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            assert old is not None
            yield old[0], old[1], None
            old = next(earlier, None)
        elif old is None or new[0] < old[0]:
            yield new[0], None, new[1]
            new = next(later, None)
        else:
            if old[1] != new[1]:
                yield new[0], old[1], new[1]
            old, new = next(earlier, None), next(later, None)


def _root(session: Session, row: sqlite3.Row) -> str:
    """Return what a snapshot's line began with: its volume, or its first ancestor."""
    for _ in range(_MOST_ANCESTORS):
        if row["volume_id"] != _NO_VOLUME:
            return str(row["volume_id"])
        above = session.row(
            "SELECT * FROM snapshots WHERE snapshot_id = ?", row["parent_snapshot_id"]
        )
        if above is None:
            break
        row = above
    return str(row["snapshot_id"])


@action("GetSnapshotBlock", Access.OWN)
def get_snapshot_block(session: Session, parameters: Parameters) -> Result:
    """Return a block's data."""
    row = _readable(session, parameters["SnapshotId"])
    number = parameters["BlockIndex"]
    found = session.contents.read(content_of(row), number)
    if found is None:
        raise RefusedError(
            "ResourceNotFoundException",
            f"The snapshot '{row['snapshot_id']}' has no block {number}.",
            status=404,
            reason="DEPENDENCY_RESOURCE_NOT_FOUND",
        )
    data, digest = found
    if parameters["BlockToken"] != _token(row, number, digest):
        raise _invalid("The BlockToken is not this block's.", "INVALID_BLOCK_TOKEN")
    return {
        "DataLength": len(data),
        "BlockData": data,
        "Checksum": base64.b64encode(digest).decode("ascii"),
        "ChecksumAlgorithm": "SHA256",
    }


def _token(row: sqlite3.Row, number: int, digest: bytes) -> str:
    """Return the token of a block: it is the block's alone."""
    text = f"{row['snapshot_id']}:{number}:".encode() + digest
    return base64.b64encode(hashlib.blake2b(text, digest_size=30).digest()).decode("ascii")


def _page(parameters: Parameters) -> tuple[int, int]:
    """Return the first block's number and the size of the page that is asked for."""
    first = parameters.get("StartingBlockIndex", 0)
    token = parameters.get("NextToken")
    if token:
        try:
            first, of = json.loads(base64.b64decode(token, validate=True))
        except (ValueError, TypeError, binascii.Error, RecursionError):
            first, of = None, None
        if not isinstance(first, int) or isinstance(first, bool) or first < 0:
            raise _invalid("The page token is none.", "INVALID_PAGE_TOKEN")
        if of != _request_of(parameters):
            raise _invalid("The page token is another request's.", "INVALID_PAGE_TOKEN")
    return min(first, 2**40), parameters.get("MaxResults", _MOST_BLOCKS)


def _request_of(parameters: Parameters) -> str:
    names = ("SnapshotId", "FirstSnapshotId", "SecondSnapshotId")
    return "/".join(str(parameters.get(name, "")) for name in names)


def _told(
    session: Session,
    row: sqlite3.Row,
    parameters: Parameters,
    listed: list[dict[str, Any]],
    size: int,
) -> Result:
    result: Result = {
        "ExpiryTime": iso_of_s(session.now_s + _EXPIRES_S),
        "VolumeSize": row["volume_size_gib"],
        "BlockSize": BLOCK_BYTES,
    }
    if len(listed) > size:
        text = json.dumps([listed[size]["BlockIndex"], _request_of(parameters)])
        result["NextToken"] = base64.b64encode(text.encode()).decode("ascii")
    return result
