"""An image goes; then, on wish, what it leaves: snapshots that no image needs, or its bundle.

Once the image is gone, EC2 no longer says what was its own. So that is written down first, in the
user's data folder, and a run after a kill goes on from there.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from imgforge import host
from imgforge.bundle import MANIFEST_SUFFIX
from imgforge.catalog import Finding, check_delete_snapshot, check_deregister, refuse_before
from imgforge.ec2 import Cloud
from imgforge.errors import BadInputError, CloudError, HostError
from imgforge.files import appearing
from imgforge.image_copy import discard_snapshot, forget_image
from imgforge.image_lookup import SELF, ImageView, look_at_own_image
from imgforge.progress import report, warn
from imgforge.transfer import delete_bundle, plan_deletion, split_manifest_url

_NO_IMAGE = "InvalidAMIID.NotFound"


@dataclass(frozen=True, slots=True)
class DeregistrationWish:
    """Which image goes, and whether its snapshots or its bundle in S3 go after it."""

    image_id: str
    with_snapshots: bool = False
    with_bundle: bool = False


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
    """What went, and which snapshots stay since images need them, or they are another's."""

    image_id: str
    region: str
    snapshots_deleted: tuple[str, ...]
    snapshots_kept: dict[str, str]
    objects_deleted: tuple[str, ...]


def deregister(cloud: Cloud, wish: DeregistrationWish) -> Deregistered:
    """Deregister an image, and delete after it what is wished of what it leaves.

    Raises BadInputError for a protected image or one of another account, CloudError, HostError.
    """
    path = _remains_path(cloud.region, wish.image_id)
    try:
        view = look_at_own_image(cloud, wish.image_id)
    except CloudError as error:
        remains = read_remains(path) if error.code == _NO_IMAGE else None
        if remains is None:
            raise
        report(f"Image {wish.image_id}: is deregistered already; what it left goes now")
    else:
        remains = _deregister(cloud, view, wish, path)
    done = _clear_away(cloud, remains)
    path.unlink(missing_ok=True)
    return done


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
    elif view.image.snapshots:
        left = ", ".join(dict.fromkeys(view.image.snapshots.values()))
        warn(f"Image {image_id}: its snapshots stay, and cost: {left}")
    elif not view.image.is_ebs:
        warn(f"Image {image_id}: its bundle stays, and costs: {view.image.text('ImageLocation')}")
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


def _clear_away(cloud: Cloud, remains: Remains) -> Deregistered:
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
    return Deregistered(remains.image_id, remains.region, tuple(deleted), kept, tuple(objects))


def delete_unneeded(cloud: Cloud, snapshot_id: str) -> str:
    """Delete a snapshot that no image needs; return why it stays, "" where it is gone."""
    filters = {"block-device-mapping.snapshot-id": [snapshot_id]}
    users = cloud.compute.images(owners=[SELF], filters=filters, with_hidden=True)
    if users:
        return f"{', '.join(one.image_id for one in users)} needs it"
    try:
        return "" if discard_snapshot(cloud, snapshot_id) else "an image needs it"
    except CloudError as error:
        if error.code in {"UnauthorizedOperation", "AuthFailure"}:
            return f"it is another account's, or may not be deleted ({error.code})"
        raise


def delete_snapshots(cloud: Cloud, ids: Sequence[str]) -> None:
    """Delete snapshots that no image of one's own needs.

    All are looked at before the first goes; one that goes meanwhile is no error. Raises
    BadInputError for one that an image needs or what is no id, CloudError
    (InvalidSnapshot.NotFound for one that is not there), HostError.
    """
    findings: list[Finding] = []
    for snapshot_id in dict.fromkeys(ids):
        filters = {"block-device-mapping.snapshot-id": [snapshot_id]}
        users = cloud.compute.images(owners=[SELF], filters=filters, with_hidden=True)
        findings += check_delete_snapshot(snapshot_id, [one.image_id for one in users])
    for snapshot_id in [] if findings else dict.fromkeys(ids):
        cloud.compute.snapshot(snapshot_id)
    refuse_before("Snapshots cannot be deleted", findings)
    for snapshot_id in dict.fromkeys(ids):
        try:
            cloud.compute.delete_snapshot(snapshot_id)
        except CloudError as error:
            if error.code != "InvalidSnapshot.NotFound":
                raise
            report(f"Snapshot {snapshot_id}: is gone already")
        else:
            report(f"Snapshot {snapshot_id}: deleted")


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
