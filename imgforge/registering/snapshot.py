"""A disk becomes a snapshot: one that an earlier run made is found by its tags."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from imgforge import host
from imgforge.disk import Disk, disk_sha256
from imgforge.ec2 import Cloud, EndpointKind, Image, Snapshot
from imgforge.errors import BadInputError, CloudError, HostError
from imgforge.made_tags import LAYOUT, MADE, SHA256, SIZE_BYTES, UNFINISHED, WORK
from imgforge.progress import report, warn
from imgforge.snapshot_transfer import Holes, SnapshotWish, upload_snapshot

_SELF = "self"
_STAT_BLOCK_BYTES = 512  # st_blocks, stat(2)


@dataclass(frozen=True, slots=True)
class SnapshotOf:
    """A disk to keep as a snapshot: `made` is the command that does so, `work` its digest."""

    disk: Disk
    made: str
    work: str
    description: str
    skips_holes: bool = False


def ensure_snapshot(cloud: Cloud, wish: SnapshotOf) -> Snapshot:
    """Return the completed snapshot of a work: the one that is there, or a new one.

    Raises BadInputError where the disk is not what its digest says, CloudError, HostError.
    """
    found = find_snapshot(cloud, wish)
    if found is not None:
        return found
    check_unchanged(wish.disk)
    if cloud.endpoint.kind is EndpointKind.EMBEDDED:
        _check_room(wish.disk)
    # In our own catalog nothing encrypts: what is absent there reads as zeros.
    skips_holes = wish.skips_holes or cloud.endpoint.kind is EndpointKind.EMBEDDED
    uploading = SnapshotWish(
        description=wish.description,
        holes=Holes.SKIP if skips_holes else Holes.SEND,
        tags=_tags(wish),
    )
    snapshot_id = upload_snapshot(cloud, wish.disk.path, uploading).snapshot_id
    snapshot = cloud.compute.snapshot(snapshot_id)
    with taken_back(cloud, snapshot):
        check_unchanged(wish.disk)
    return snapshot


def _check_room(disk: Disk) -> None:
    """Raise HostError where the local catalog's file system has no room for a disk's data."""
    folder = host.catalog_dir()
    needed_bytes = min(disk.size_bytes, disk.path.stat().st_blocks * _STAT_BLOCK_BYTES)
    free_bytes = host.free_disk_bytes(folder)
    if free_bytes < needed_bytes:
        raise HostError(
            f"Catalog {folder}: no space is left on its file system for the disk: it has "
            f"{needed_bytes // 2**20} MiB of data, {free_bytes // 2**20} are free.",
            hint="Free some, or set XDG_DATA_HOME to a folder elsewhere.",
        )


def find_snapshot(cloud: Cloud, wish: SnapshotOf) -> Snapshot | None:
    """Return the completed snapshot that an earlier run of the same work made."""
    filters = {f"tag:{WORK}": [wish.work], f"tag:{SHA256}": [wish.disk.sha256]}
    for snapshot in cloud.compute.snapshots(owners=[_SELF], filters=filters):
        if snapshot.state == "completed":
            report(f"snapshot: {snapshot.snapshot_id} is there already")
            return snapshot
    return None


def _tags(wish: SnapshotOf) -> Mapping[str, str]:
    layout = {LAYOUT: str(wish.disk.layout)} if wish.disk.layout else {}
    return {
        **layout,
        MADE: wish.made,
        WORK: wish.work,
        UNFINISHED: wish.work,
        SHA256: wish.disk.sha256,
        SIZE_BYTES: str(wish.disk.size_bytes),
    }


def check_unchanged(disk: Disk) -> None:
    """Raise BadInputError where a disk is not, or no longer, what its digest says."""
    try:
        size_bytes = disk.path.stat().st_size
    except OSError as error:
        raise BadInputError(f"Disk {disk.path}: cannot be read: {error.strerror}.") from None
    found = disk_sha256(disk.path)
    if found != disk.sha256 or size_bytes != disk.size_bytes:
        raise BadInputError(
            f"Disk {disk.path}: its SHA-256 is {found} now; {disk.sha256} was built or tested.",
            hint=f"imgforge test {disk.path} looks at what it is now.",
        )


def finished(cloud: Cloud, snapshot: Snapshot) -> None:
    """Note that what a snapshot was made for is there: nobody need clean it up."""
    if UNFINISHED in snapshot.tags:
        cloud.compute.untag([snapshot.snapshot_id], [UNFINISHED])


def finish_root(cloud: Cloud, image: Image) -> None:
    """Note the same of an image's root: a run that was killed may not have come to it."""
    if image.root_snapshot_id:
        with suppress(CloudError):  # it may be gone, or another account's
            finished(cloud, cloud.compute.snapshot(image.root_snapshot_id))


@contextmanager
def taken_back(cloud: Cloud, snapshot: Snapshot | None) -> Iterator[None]:
    """Delete a snapshot where the block is refused what it was made for, and say so.

    Where the endpoint does not answer, or a person interrupts, it stays for the next run.
    """
    try:
        yield
    except (CloudError, BadInputError):
        if snapshot is not None and UNFINISHED in snapshot.tags:
            _delete(cloud, snapshot.snapshot_id)
        raise
    except BaseException:
        if snapshot is not None and UNFINISHED in snapshot.tags:
            warn(f"{snapshot.snapshot_id} stays: run the command again, it goes on from there")
        raise


def _delete(cloud: Cloud, snapshot_id: str) -> None:
    try:
        cloud.compute.delete_snapshot(snapshot_id)
    except Exception as error:  # the first error is the one that counts
        warn(f"{snapshot_id} was made and stays: it could not be deleted: {error}")
    else:
        warn(f"{snapshot_id} was made and is deleted again, since nothing came of it")
