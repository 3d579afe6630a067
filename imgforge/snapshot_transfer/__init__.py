"""Disks on their way into snapshots and back, block by block (EBS direct)."""

from imgforge.snapshot_transfer.download import (
    DownloadedSnapshot,
    DownloadWish,
    Existing,
    download_snapshot,
)
from imgforge.snapshot_transfer.upload import upload_snapshot
from imgforge.snapshot_transfer.wish import (
    Again,
    Holes,
    SnapshotWish,
    UploadedSnapshot,
    Verifying,
)

__all__ = [
    "Again",
    "DownloadWish",
    "DownloadedSnapshot",
    "Existing",
    "Holes",
    "SnapshotWish",
    "UploadedSnapshot",
    "Verifying",
    "download_snapshot",
    "upload_snapshot",
]
