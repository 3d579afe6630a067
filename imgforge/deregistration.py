"""An image goes; then, on wish, what it leaves: snapshots that no image needs, or its bundle.

Once the image is gone, EC2 no longer says what was its own. So that is written down first, in the
user's data folder, and a run after a kill goes on from there. What went before, by whatever command
of this user's, is told as gone; an id of which nothing is known is an error (`removal`).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from imgforge import host
from imgforge.bundle import MANIFEST_SUFFIX
from imgforge.catalog import (
    Finding,
    advise_deregister,
    check_delete_snapshot,
    check_deregister,
    refuse_before,
)
from imgforge.ec2 import Cloud
from imgforge.errors import BadInputError, CloudError, HostError
from imgforge.files import appearing
from imgforge.image_copy import discard_snapshot, forget_image
from imgforge.image_lookup import SELF, ImageView, look_at_own_image
from imgforge.progress import report, warn
from imgforge.removal import Missing, note_removal, was_removed
from imgforge.transfer import delete_bundle, plan_deletion, split_manifest_url

_NO_IMAGE = {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"}
_NO_SNAPSHOT = "InvalidSnapshot.NotFound"
_NEVER_SEEN = (
    "Look at the id and at the region. Of what is not there, only that passes as done which this "
    "user's imgforge removed itself; with --if-exists all of it does."
)


@dataclass(frozen=True, slots=True)
class DeregistrationWish:
    """Which image goes, and whether its snapshots or its bundle in S3 go after it."""

    image_id: str
    with_snapshots: bool = False
    with_bundle: bool = False
    missing: Missing = Missing.REFUSED


@dataclass(frozen=True, slots=True)
class Remains:
    """What an image leaves: written down before it goes."""

    image_id: str
    region: str
    snapshots: tuple[str, ...]
    bundle: str
    """BUCKET/FOLDER/NAME.manifest.xml, or ""."""


@dataclass(frozen=True, slots=True)
class Deregistered:
    """What went, and which snapshots stay since images need them, or they are another's.

    `was_gone` says that the image was not there any more when this run began.
    """

    image_id: str
    region: str
    snapshots_deleted: tuple[str, ...]
    snapshots_kept: dict[str, str]
    objects_deleted: tuple[str, ...]
    was_gone: bool = False


@dataclass(frozen=True, slots=True)
class DeletedSnapshot:
    """A snapshot that is not there; `was_gone` where it was not when this run began."""

    snapshot_id: str
    was_gone: bool


def deregister(cloud: Cloud, wish: DeregistrationWish) -> Deregistered:
    """Deregister an image, and delete after it what is wished of what it leaves.

    An image that an earlier run deregistered is no error. Raises BadInputError for a protected
    image or one of another account, CloudError (InvalidAMIID.NotFound for one that nothing is known
    of), HostError.
    """
    path = _remains_path(cloud.region, wish.image_id)
    try:
        view = look_at_own_image(cloud, wish.image_id)
    except CloudError as error:
        if error.code not in _NO_IMAGE:
            raise
        done = _clear_away(cloud, _left_of_gone(cloud, wish, path, error), was_gone=True)
    else:
        done = _clear_away(cloud, _deregister(cloud, view, wish, path), was_gone=False)
    path.unlink(missing_ok=True)
    return done


def _left_of_gone(cloud: Cloud, wish: DeregistrationWish, path: Path, error: CloudError) -> Remains:
    """Return what an image that is gone left, as an earlier run wrote down; else raise `error`."""
    remains = read_remains(path)
    if remains is not None:
        report(f"Image {wish.image_id}: is deregistered already; what it left goes now")
        return remains
    _require_removed(cloud, wish.image_id, wish.missing, error)
    report(f"Image {wish.image_id}: is gone already; imgforge images gc finds what it left")
    return Remains(wish.image_id, cloud.region, (), "")


def _require_removed(cloud: Cloud, thing: str, missing: Missing, error: CloudError) -> None:
    """Raise `error`, with what to do, for a thing of which nobody knows that it was there."""
    if missing is Missing.REFUSED and not was_removed(cloud.region, thing):
        error.hint = error.hint or _NEVER_SEEN
        raise error


def _deregister(cloud: Cloud, view: ImageView, wish: DeregistrationWish, path: Path) -> Remains:
    image_id = view.image.image_id
    refuse_before(f"Image {image_id} cannot be deregistered", check_deregister(view.facts()))
    if wish.with_bundle and view.image.is_ebs:
        raise BadInputError(
            f"Image {image_id}: its root is an EBS volume; it has no bundle.",
            hint="--with-snapshots deletes its snapshots.",
        )
    remains = Remains(
        image_id=image_id,
        region=cloud.region,
        snapshots=tuple(dict.fromkeys(view.image.snapshots.values()))
        if wish.with_snapshots
        else (),
        bundle=bundle_of(view) if wish.with_bundle else "",
    )
    if remains.snapshots or remains.bundle:
        with appearing(path) as new:
            new.write_text(json.dumps(asdict(remains)) + "\n", encoding="utf-8")
    else:
        for finding in advise_deregister(view.facts()):
            option = "--with-snapshots" if view.image.is_ebs else "--with-bundle"
            warn(
                f"Image {image_id}: leaves {finding.found}, which stays, and costs "
                f"({option} deletes it after the image)"
            )
    note_removal(cloud.region, [image_id])
    forget_image(cloud, image_id)
    report(f"Image {image_id}: deregistered")
    return remains


def bundle_of(view: ImageView) -> str:
    """Return where the manifest of an image's bundle is. Raises BadInputError for no place."""
    location = view.image.text("ImageLocation")
    if not location.endswith(MANIFEST_SUFFIX):
        raise BadInputError(
            f"Image {view.image.image_id}: its location {location!r} is no bundle's manifest."
        )
    split_manifest_url(location)
    return location


def _clear_away(cloud: Cloud, remains: Remains, *, was_gone: bool) -> Deregistered:
    deleted: list[str] = []
    kept: dict[str, str] = {}
    for snapshot_id in remains.snapshots:
        if why := delete_unneeded(cloud, snapshot_id):
            kept[snapshot_id] = why
            warn(f"Snapshot {snapshot_id}: stays: {why}")
        else:
            deleted.append(snapshot_id)
            report(f"Snapshot {snapshot_id}: deleted")
    objects = delete_unneeded_bundle(cloud, remains.bundle) if remains.bundle else ()
    return Deregistered(
        remains.image_id, remains.region, tuple(deleted), kept, tuple(objects), was_gone
    )


def delete_unneeded(cloud: Cloud, snapshot_id: str) -> str:
    """Delete a snapshot that no image needs; return why it stays, "" where it is gone."""
    filters = {"block-device-mapping.snapshot-id": [snapshot_id]}
    users = cloud.compute.images(owners=[SELF], filters=filters, with_hidden=True)
    if users:
        return f"{', '.join(one.image_id for one in users)} needs it"
    note_removal(cloud.region, [snapshot_id])
    try:
        return "" if discard_snapshot(cloud, snapshot_id) else "an image needs it"
    except CloudError as error:
        if error.code in {"UnauthorizedOperation", "AuthFailure"}:
            return f"it is another account's, or may not be deleted ({error.code})"
        raise


def delete_snapshots(
    cloud: Cloud, ids: Sequence[str], *, missing: Missing = Missing.REFUSED
) -> list[DeletedSnapshot]:
    """Delete snapshots that no image of one's own needs; return each with what became of it.

    All are looked at before the first goes. One that an earlier run deleted, or that goes
    meanwhile, is no error. Raises BadInputError for one that an image needs or what is no id,
    CloudError (InvalidSnapshot.NotFound for one that nothing is known of), HostError.
    """
    wanted = list(dict.fromkeys(ids))
    findings: list[Finding] = []
    for snapshot_id in wanted:
        filters = {"block-device-mapping.snapshot-id": [snapshot_id]}
        users = cloud.compute.images(owners=[SELF], filters=filters, with_hidden=True)
        findings += check_delete_snapshot(snapshot_id, [one.image_id for one in users])
    refuse_before("Snapshots cannot be deleted", findings)
    there = [one for one in wanted if _is_there(cloud, one, missing)]
    note_removal(cloud.region, there)
    gone = set(wanted) - set(there)
    for snapshot_id in there:
        try:
            cloud.compute.delete_snapshot(snapshot_id)
        except CloudError as error:
            if error.code != _NO_SNAPSHOT:
                raise
            gone.add(snapshot_id)
    for snapshot_id in wanted:
        report(f"Snapshot {snapshot_id}: {'is gone already' if snapshot_id in gone else 'deleted'}")
    return [DeletedSnapshot(one, one in gone) for one in wanted]


def _is_there(cloud: Cloud, snapshot_id: str, missing: Missing) -> bool:
    try:
        cloud.compute.snapshot(snapshot_id)
    except CloudError as error:
        if error.code != _NO_SNAPSHOT:
            raise
        _require_removed(cloud, snapshot_id, missing, error)
        return False
    return True


def delete_unneeded_bundle(cloud: Cloud, location: str) -> tuple[str, ...]:
    """Delete a bundle that no image is registered from; return the objects that went."""
    users = cloud.compute.images(
        owners=[SELF], filters={"manifest-location": [location]}, with_hidden=True
    )
    if users:
        warn(f"Bundle {location}: stays: {users[0].image_id} is registered from it, too")
        return ()
    place, name = split_manifest_url(location)
    deletion = plan_deletion(cloud, place, name=name.removesuffix(MANIFEST_SUFFIX))
    delete_bundle(cloud, deletion)
    report(f"Bundle {location}: {len(deletion.keys)} objects deleted")
    return deletion.keys


def _remains_path(region: str, image_id: str) -> Path:
    safe = "".join(one for one in f"{region}-{image_id}" if one.isalnum() or one == "-")[:100]
    return host.data_dir() / "deregistering" / f"{safe}.json"


def read_remains(path: Path) -> Remains | None:
    """Return what an earlier run wrote down; None where there is nothing, or no sense in it."""
    try:
        value = json.loads(path.read_bytes())
        snapshots = value["snapshots"]
        if not isinstance(snapshots, list):
            raise TypeError(snapshots)
        return Remains(
            str(value["image_id"]),
            str(value["region"]),
            tuple(map(str, snapshots)),
            str(value["bundle"]),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"File {path}: cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        warn(f"File {path}: is damaged, and left out of account")
        return None
