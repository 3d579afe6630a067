"""EBS direct's lists: a snapshot's blocks, and those in which it differs from an earlier one."""

import base64
import binascii
import json
import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.direct_row import (
    block_token,
    content_of,
    invalid,
    readable_snapshot,
)
from imgforge.catalog.packs import BLOCK_BYTES
from imgforge.catalog.session import Parameters, Result, Session, iso_of_s

_EXPIRES_S = 7 * 24 * 3600
_MOST_BLOCKS = 10_000
_NO_VOLUME = "vol-ffffffff"
_MOST_ANCESTORS = 10_000


@action("ListSnapshotBlocks", Access.OWN)
def list_snapshot_blocks(session: Session, parameters: Parameters) -> Result:
    """Return numbers and tokens of a snapshot's blocks, a page of them."""
    row = readable_snapshot(session, parameters["SnapshotId"])
    first, size = _page(parameters)
    blocks = session.contents.digests(content_of(row), first=first)
    listed = [
        {"BlockIndex": number, "BlockToken": block_token(row, number, digest)}
        for number, digest in islice(blocks, size + 1)
    ]
    if not listed:
        readable_snapshot(session, parameters["SnapshotId"])  # or deleted and swept meanwhile
    return {"Blocks": listed[:size], **_told(session, row, parameters, listed, size)}


@action("ListChangedBlocks", Access.OWN)
def list_changed_blocks(session: Session, parameters: Parameters) -> Result:
    """Return the blocks in which a snapshot differs from an earlier one, a page of them."""
    second = readable_snapshot(session, parameters["SecondSnapshotId"])
    before = parameters.get("FirstSnapshotId")
    first_row = readable_snapshot(session, before) if before else None
    if first_row is not None and _root(session, first_row) != _root(session, second):
        raise invalid(
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
            changed["FirstBlockToken"] = block_token(first_row, number, old)
        if new is not None:
            changed["SecondBlockToken"] = block_token(second, number, new)
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
            raise invalid("The page token is none.", "INVALID_PAGE_TOKEN")
        if of != _request_of(parameters):
            raise invalid("The page token is another request's.", "INVALID_PAGE_TOKEN")
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
