"""Blocks, indexes and blobs that nothing refers to any more are taken away.

What is needed is what snapshots hold that are not deleted, or wait in the recycle bin; what volumes
were made of; and what snapshots that are being written have for a parent. Whoever puts data into
the catalog holds `sweep_lock.referring` until a record refers to it: nothing is swept meanwhile.
"""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from imgforge.catalog.blobs import blob_path
from imgforge.catalog.contents import Content, Contents
from imgforge.catalog.packs import BLOCK_BYTES
from imgforge.catalog.schema import transaction
from imgforge.catalog.sweep_lock import sweeping

_NEEDED = """
SELECT content_id, blob_sha256, blob_size_bytes FROM snapshots WHERE state <> 'deleted'
  OR recycled_until_s > :now
  OR snapshot_id IN (SELECT snapshot_id FROM volumes WHERE state <> 'deleted')
  OR snapshot_id IN (SELECT parent_snapshot_id FROM snapshots WHERE state = 'pending')
"""


@dataclass(frozen=True, slots=True)
class Swept:
    """What was taken away."""

    pieces: int = 0
    """Blocks and files."""
    size_bytes: int = 0


def sweep(
    folder: Path, contents: Contents, connection: sqlite3.Connection, *, limit_s: float
) -> Swept | None:
    """Take away what nothing refers to; None where the catalog was written to all the while."""
    with sweeping(folder, limit_s=limit_s) as is_alone:
        if not is_alone:
            return None
        # Behind the lock, as writers have it; and no record refers to more meanwhile.
        with transaction(connection):
            rows = connection.execute(_NEEDED, {"now": time.time()}).fetchall()
            kept = [Content(row[0], row[1], row[2]) for row in rows]
            return _sweep(folder, contents, kept)


def _sweep(folder: Path, contents: Contents, kept: list[Content]) -> Swept:
    ids = {content.content_id for content in kept if content.content_id}
    blobs = {content.blob_sha256 for content in kept if content.blob_sha256}
    digests = {
        digest
        for content_id in ids
        for blocks in (contents.digests(Content(content_id)), contents.written(content_id))
        for _, digest in blocks
    }
    names = {digest.hex() for digest in digests}
    unused = [
        *(
            path
            for path in (folder / "contents").iterdir()
            if path.is_file() and path.name.partition(".")[0] not in ids | blobs
        ),
        *(
            path
            for path in (folder / "blocks" / "sha256").glob("??/*")  # of catalogs before packs
            if path.name not in names
        ),
        *(
            path
            for path in (folder / "blobs" / "sha256").glob("??/*")
            if path.name not in blobs and path == blob_path(folder, path.name)
        ),
    ]
    count = contents.sweep_blocks(digests.__contains__)
    size_bytes = count * BLOCK_BYTES
    for path in unused:
        size_bytes += path.stat().st_blocks * 512
        path.unlink()
    return Swept(len(unused) + count, size_bytes)
