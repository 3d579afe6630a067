"""What a parent snapshot holds, block by block: from this host's own notes, or read from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from imgforge.ec2 import Cloud
from imgforge.errors import BadInputError
from imgforge.progress import report
from imgforge.snapshot_transfer.crew import Crew
from imgforge.snapshot_transfer.journal import read_journal
from imgforge.snapshot_transfer.place import snapshot_journal
from imgforge.snapshot_transfer.reading import read_digests
from imgforge.snapshot_transfer.source import Source


@dataclass(frozen=True, slots=True)
class Parent:
    """A completed snapshot, and the digests of the blocks it has."""

    snapshot_id: str
    is_encrypted: bool
    volume_size_gib: int
    digests: Mapping[int, bytes]
    source: str
    """Where the digests are from, in words; "" where there is no parent."""


NO_PARENT = Parent("", is_encrypted=False, volume_size_gib=0, digests={}, source="")


def find_parent(cloud: Cloud, snapshot_id: str, *, disk: Source, crew: Crew) -> Parent:
    """Return a parent with its blocks' digests.

    Of a snapshot that was uploaded from here they are known; another is read, all of it. Raises
    BadInputError for a disk that is smaller than the parent, or a parent that is not completed,
    CloudError.
    """
    found = cloud.compute.snapshot(snapshot_id)
    if found.state != "completed":
        raise BadInputError(
            f"Snapshot {snapshot_id}: is {found.state}; a parent has to be completed."
        )
    if disk.volume_size_gib < found.volume_size_gib:
        raise BadInputError(
            f"Disk {disk.path}: needs a volume of {disk.volume_size_gib} GiB, and the parent "
            f"{snapshot_id} has {found.volume_size_gib}; a child cannot be smaller.",
            hint="Upload it without --parent, or make the disk larger.",
        )
    told = read_journal(snapshot_journal(cloud, snapshot_id))
    if told is not None and told.is_completed and told.snapshot_id == snapshot_id:
        source = "this host's notes"
        digests = told.digests
        report(f"upload: the blocks of {snapshot_id} are known from {source}")
    else:
        source = "the snapshot itself"
        report(f"upload: reading all blocks of {snapshot_id}, which was not uploaded from here")
        digests = read_digests(cloud.blocks, snapshot_id, crew=crew)
    return Parent(
        snapshot_id,
        is_encrypted=found.is_encrypted,
        volume_size_gib=found.volume_size_gib,
        digests=digests,
        source=source,
    )
