"""Snapshots are copied into regions, once, however often that is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imgforge.catalog import KeyFacts, check_key, check_partition, objections_to, refuse_together
from imgforge.copy_plan import Destination, Ending, object_to_regions
from imgforge.ec2 import Cloud, Snapshot, find_key, tag_specifications
from imgforge.image_copy import LEFT, discard_snapshot
from imgforge.image_lookup import SELF
from imgforge.made import Made
from imgforge.made_tags import MADE, WORK, disk_tags, work_digest
from imgforge.progress import about, report

_PURPOSE = "copy-snapshot"
_FAILED = {"error"}


@dataclass(frozen=True, slots=True)
class SnapshotCopyWish:
    """What is to be copied where; `description` is the snapshot's own where none is given."""

    snapshot_id: str
    destinations: Sequence[Destination]
    description: str | None = None
    encrypted: bool = False
    ending: Ending = Ending.ASKED


@dataclass(frozen=True, slots=True)
class CopiedSnapshot:
    """A copy: `is_new` where this run made it, and no earlier one."""

    region: str
    snapshot: Snapshot
    is_new: bool


def copy_snapshot(cloud: Cloud, wish: SnapshotCopyWish) -> list[CopiedSnapshot]:
    """Copy a snapshot into regions; what an earlier run has copied is found again.

    Where one region refuses, what this run made in others is taken back. Raises BadInputError,
    CloudError, HostError.
    """
    source = cloud.compute.snapshot(wish.snapshot_id)
    unknown = object_to_regions(cloud, wish.destinations)
    objections = list(unknown.values())
    for destination in wish.destinations:
        if destination.region in unknown:
            continue
        there = cloud.in_region(destination.region)
        key = find_key(there, destination.key) if destination.key else None
        findings = (
            *check_partition(wish.snapshot_id, cloud.region, destination.region),
            *check_key(
                wish.encrypted or bool(destination.key),
                destination.key or None,
                KeyFacts.of_kms(key) if key else None,
                region=destination.region,
            ),
        )
        what = f"Snapshot {wish.snapshot_id} cannot be copied into {destination.region}"
        objections += objections_to(what, findings)
    refuse_together(objections)
    done = []
    with Made(left=LEFT) as made:
        for destination in wish.destinations:
            with about(destination.region):
                done.append(_copy(cloud, source, wish, destination, made))
        if wish.ending is Ending.ASKED:
            return done
        return [_waited(cloud, one) for one in done]


def _copy(
    cloud: Cloud, source: Snapshot, wish: SnapshotCopyWish, to: Destination, made: Made
) -> CopiedSnapshot:
    there = cloud.in_region(to.region)
    compute = there.compute
    request: dict[str, Any] = {"SourceRegion": cloud.region}
    description = source.text("Description") if wish.description is None else wish.description
    if description:
        request["Description"] = description
    if wish.encrypted or to.key:
        request["Encrypted"] = True
    if to.key:
        request["KmsKeyId"] = to.key
    parts = (f"{name}={request[name]}" for name in sorted(request))
    work = work_digest(_PURPOSE, source.snapshot_id, to.region, *parts)
    if found := _made(there, work):
        report(f"{found[0].snapshot_id} is there already, {found[0].state}")
        return CopiedSnapshot(to.region, found[0], is_new=False)
    marks = {**disk_tags(source.tags), MADE: _PURPOSE, WORK: work}
    request["TagSpecifications"] = tag_specifications(snapshot=marks)
    with made.making(f"The copy in {to.region}", lambda: _take_back(there, work)) as copy:
        snapshot_id = compute.copy_snapshot(source.snapshot_id, request)
        copy.what = f"Snapshot {snapshot_id} ({to.region})"
    # CopySnapshot knows no token: where an answer was lost, it was asked and done twice.
    for double in _made(there, work):
        if double.snapshot_id != snapshot_id:
            discard_snapshot(there, double.snapshot_id)
    report(f"{snapshot_id} is being made of {source.snapshot_id}")
    return CopiedSnapshot(to.region, compute.wait_until_snapshot_known(snapshot_id), is_new=True)


def _take_back(there: Cloud, work: str) -> None:
    """Delete what was just made."""
    for snapshot in _made(there, work):
        discard_snapshot(there, snapshot.snapshot_id)


def _made(there: Cloud, work: str) -> list[Snapshot]:
    found = there.compute.snapshots(owners=[SELF], filters={f"tag:{WORK}": [work]})
    return [one for one in found if one.state not in _FAILED]


def _waited(cloud: Cloud, one: CopiedSnapshot) -> CopiedSnapshot:
    with about(one.region):
        compute = cloud.in_region(one.region).compute
        snapshot = compute.wait_for_snapshot(one.snapshot.snapshot_id)
    return CopiedSnapshot(one.region, snapshot, one.is_new)
