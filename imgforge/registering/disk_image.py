"""A raw disk becomes an image: through the gate, into a snapshot, registered."""

from dataclasses import dataclass

from imgforge.acceptance import Verdict
from imgforge.catalog import Gate, ImageRegistration, NameConflict, Objection, check_gate
from imgforge.disk import Disk
from imgforge.ec2 import Cloud, Image, Snapshot
from imgforge.errors import BadInputError
from imgforge.made_tags import LAYOUT, LOCK_SHA256, RECIPE_SHA256, SHA256, SIZE_BYTES, WORK
from imgforge.preflight import KnownSnapshots, PreflightFinding, preflight
from imgforge.registering.asking import (
    MADE_BY,
    Asked,
    find_same,
    gate_tags,
    register,
    staying,
    taken,
)
from imgforge.registering.check import object_to_registering, refuse_or_warn
from imgforge.registering.snapshot import (
    SnapshotOf,
    ensure_snapshot,
    finish_root,
    finished,
    taken_back,
)
from imgforge.registering.turn import turn

_WORK_DIGITS = 32


@dataclass(frozen=True, slots=True)
class DiskWish:
    """A disk to register; without a verdict it is recorded as unverified.

    `snapshot_id` is a snapshot that was made of the same disk, "" where one is to be made;
    `skips_holes` leaves holes out of it.
    """

    disk: Disk
    registration: ImageRegistration
    verdict: Verdict | None
    conflict: NameConflict = NameConflict.REFUSE
    snapshot_id: str = ""
    skips_holes: bool = False

    @property
    def gate(self) -> Gate:
        """What lets the disk in."""
        return Gate.UNVERIFIED if self.verdict is None else Gate.VERDICT

    @property
    def work(self) -> str:
        """What tells this registration from another: 32 hexadecimal digits."""
        return self.registration.digest(self.disk.sha256)[:_WORK_DIGITS]


def register_disk(cloud: Cloud, wish: DiskWish) -> Image:
    """Register a disk, with a snapshot of its content, and return the image when it is available.

    The same registration of the same disk gives the image that is there; an accepted verdict is
    put to it where it had none. Raises BadInputError for broken rules, a verdict that is not of
    this disk or a name that is taken, ImageRejectedError for a rejection, CloudError, HostError.
    What was made until then is deleted again where EC2 refuses, and stays where it does not answer.
    """
    name = wish.registration.name
    check_gate(wish.disk, verdict=wish.verdict, gate=wish.gate)
    found = _preflight(cloud, wish)
    refuse_or_warn(name, found, verdict=wish.verdict)
    asked = _asked(wish)
    with turn(wish.work, what=f"Image {name!r}"):
        same = find_same(cloud, asked)
        if same is not None:
            finish_root(cloud, same)
            return same
        snapshot = _snapshot(cloud, wish)
        with taken_back(cloud, None if wish.snapshot_id else snapshot):
            request = wish.registration.request(root_snapshot_id=snapshot.snapshot_id)
            image = register(cloud, asked, request)
        with staying(image.image_id):
            finished(cloud, snapshot)
        return image


def find_registered(cloud: Cloud, wish: DiskWish) -> Image | None:
    """Return the image that an equal registration of the same disk made; None where none did."""
    found = cloud.compute.own_image_named(wish.registration.name)
    return found if found is not None and found.tags.get(WORK) == wish.work else None


def object_to_disk(cloud: Cloud, wish: DiskWish) -> list[Objection]:
    """Return all that `register_disk` would refuse of a disk, while nothing is made of it yet.

    Raises ImageRejectedError for a rejection, BadInputError where there is no disk.
    """
    objections = []
    try:
        check_gate(wish.disk, verdict=wish.verdict, gate=wish.gate)
    except BadInputError as error:
        objections.append(Objection.of_error(error))
    name = wish.registration.name
    found = _preflight(cloud, wish)
    objections += object_to_registering(name, found, verdict=wish.verdict)
    other = cloud.compute.own_image_named(name) if name else None
    if other is not None and wish.conflict is NameConflict.REFUSE:
        hint = (
            "Give another name with --name, such as one with a version; or imgforge images "
            f"deregister {other.image_id} --region {cloud.region} --with-snapshots, and run this "
            "again."
        )
        objections.append(Objection(taken(other, _asked(wish)), hint=hint))
    return objections


def _preflight(cloud: Cloud, wish: DiskWish) -> tuple[PreflightFinding, ...]:
    if not wish.disk.path.is_file():
        raise BadInputError(f"Disk {wish.disk.path}: is not there any more.")
    return preflight(
        wish.registration, disk=wish.disk, region=cloud.region, snapshots=_named(cloud, wish)
    )


def _asked(wish: DiskWish) -> Asked:
    return Asked(wish.registration.name, wish.work, _tags(wish), wish.conflict)


def _named(cloud: Cloud, wish: DiskWish) -> KnownSnapshots:
    """Look at the snapshots of volumes beside the root; raise CloudError for one that is not."""
    volumes = [one.ebs for one in wish.registration.block_devices if one.ebs is not None]
    ids = sorted({ebs.snapshot_id for ebs in volumes if ebs.snapshot_id})
    told = cloud.compute.snapshots(ids=ids) if ids else []
    return KnownSnapshots(
        {one.snapshot_id: one.volume_size_gib for one in told},
        {one.snapshot_id: one.state for one in told if one.state != "completed"},
    )


def _snapshot(cloud: Cloud, wish: DiskWish) -> Snapshot:
    if not wish.snapshot_id:
        words = f"imgforge: {wish.registration.name}"
        of = SnapshotOf(wish.disk, MADE_BY, wish.work, words[:255], skips_holes=wish.skips_holes)
        return ensure_snapshot(cloud, of)
    snapshot = cloud.compute.wait_for_snapshot(wish.snapshot_id)
    if snapshot.tags.get(SHA256) != wish.disk.sha256:
        raise BadInputError(f"Snapshot {wish.snapshot_id}: is not of the disk {wish.disk.path}.")
    return snapshot


def _tags(wish: DiskWish) -> dict[str, str]:
    disk = wish.disk
    known = {
        SHA256: disk.sha256,
        SIZE_BYTES: str(disk.size_bytes),
        LAYOUT: str(disk.layout or ""),
        RECIPE_SHA256: disk.recipe_sha256,
        LOCK_SHA256: disk.lock_sha256,
    }
    said = {key: value for key, value in known.items() if value}
    return {**wish.registration.tags, **said, **gate_tags(wish.verdict)}
