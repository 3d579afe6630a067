"""Journals that nobody needs any more go, at the end of an upload."""

import os
import time
from pathlib import Path

from imgforge.ec2 import Cloud
from imgforge.errors import ImgforgeError
from imgforge.progress import report
from imgforge.snapshot_transfer.place import journals_folder, kept_journals, lock_journal

_KEPT_S = 90 * 86400.0
"""Nothing is gone on with for so long: a snapshot that waits for blocks ends within a day."""


def prune_journals(cloud: Cloud) -> None:
    """Take away the journals of snapshots that this cloud has not any more, and old ones of all.

    With one of them goes nothing that EC2 has: the disk is uploaded anew, or a parent is read back.
    What cannot be asked or taken away stays for another time.
    """
    try:
        gone = _gone(cloud)
        now_s = time.time()
        for path in sorted(journals_folder().glob("*.journal")):
            status = path.stat()
            if (status.st_dev, status.st_ino) in gone or now_s - status.st_mtime > _KEPT_S:
                _remove(path)
        for path in gone.values():
            path.unlink(missing_ok=True)
    except (ImgforgeError, OSError) as error:
        report(f"upload: old journals stay: {error}")


def _gone(cloud: Cloud) -> dict[tuple[int, int], Path]:
    """Return the digests of snapshots that are gone, by their files' device and inode.

    The journal that such a file is another name of is known by that.
    """
    kept = kept_journals(cloud)
    if len(kept) < 2:  # that of the upload which has just ended
        return {}
    there = {one.snapshot_id for one in cloud.compute.snapshots(owners=["self"])}
    gone = [path for snapshot_id, path in kept.items() if snapshot_id not in there]
    return {((status := path.stat()).st_dev, status.st_ino): path for path in gone}


def _remove(journal: Path) -> None:
    """Remove a journal, unless an upload works with it."""
    descriptor = lock_journal(journal)
    if descriptor is None:
        return
    try:
        journal.unlink(missing_ok=True)
        journal.with_suffix(".lock").unlink(missing_ok=True)
    finally:
        os.close(descriptor)
