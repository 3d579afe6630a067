"""Whom an image is shared with: accounts, organizations, everybody; and its snapshots with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imgforge.catalog import (
    Objection,
    Permission,
    ShareWish,
    SnapshotFacts,
    check_share,
    check_snapshot_share,
    objections_to,
    refuse_before,
    refuse_together,
)
from imgforge.ec2 import DEFAULT_KEY, Cloud, Snapshot, find_key
from imgforge.errors import BadInputError
from imgforge.image_lookup import ImageView, look_at_own_image
from imgforge.made import Made
from imgforge.progress import report, warn

_EVERYBODY: Permission = ("Group", "all")
_OF_SNAPSHOTS = {"Group", "UserId"}
_LEFT = "Run the command again, or take it back with imgforge images unshare."


class Change(StrEnum):
    """Whether permissions are given or taken; EC2 takes one of them in one call."""

    ADD = "add"
    REMOVE = "remove"

    @property
    def reverse(self) -> "Change":
        """What undoes it."""
        return Change.REMOVE if self is Change.ADD else Change.ADD

    @property
    def member(self) -> str:
        """Its name in EC2's requests."""
        return self.capitalize()


class Reach(StrEnum):
    """Whether an image alone is shared, or its snapshots, too."""

    IMAGE = "image"
    SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Shared:
    """What came of it: who may launch the image now, and who may use each of its snapshots."""

    image_id: str
    region: str
    permissions: tuple[Permission, ...]
    snapshots: dict[str, tuple[Permission, ...]]


def read_audience(
    *, accounts: Sequence[str], organizations: Sequence[str] = (), everybody: bool = False
) -> tuple[Permission, ...]:
    """Return whom a command line means, each once; the rules say what is wrong with them.

    Accounts may be written with hyphens, organizations and units are ARNs. Raises BadInputError
    where nobody is meant.
    """
    units = ("ou" if ":ou/" in arn else "organization" for arn in organizations)
    kinds = {"ou": "OrganizationalUnitArn", "organization": "OrganizationArn"}
    found: list[Permission] = [
        *(("UserId", account.replace("-", "")) for account in accounts),
        *((kinds[unit], arn) for unit, arn in zip(units, organizations, strict=True)),
        *([_EVERYBODY] if everybody else []),
    ]
    if not found:
        raise BadInputError(
            "Sharing: nobody is named to share with.",
            hint="Give --account, --org or --public; each may be given several times.",
        )
    return tuple(dict.fromkeys(found))


def share_image(
    cloud: Cloud,
    image_id: str,
    audience: Sequence[Permission],
    *,
    change: Change = Change.ADD,
    reach: Reach = Reach.IMAGE,
) -> Shared:
    """Let an audience launch an image, or no longer; only what differs is asked for.

    Where EC2 refuses a part, what this run gave before it is taken back. Raises BadInputError for
    broken rules, CloudError, HostError.
    """
    view = look_at_own_image(cloud, image_id)
    check_sharing(cloud, view, audience, change=change, reach=reach)
    with Made(left=_LEFT) as made:
        done = apply_sharing(cloud, view, audience, change=change, reach=reach, made=made)
    if change is Change.REMOVE and reach is Reach.IMAGE:
        _tell_snapshots(cloud, view)
    return done


def check_sharing(
    cloud: Cloud,
    view: ImageView,
    audience: Sequence[Permission],
    *,
    change: Change = Change.ADD,
    reach: Reach = Reach.IMAGE,
) -> None:
    """Raise BadInputError with every rule that sharing so would break; nothing is changed."""
    refuse_together(object_to_sharing(cloud, view, audience, change=change, reach=reach))


def object_to_sharing(
    cloud: Cloud,
    view: ImageView,
    audience: Sequence[Permission],
    *,
    change: Change = Change.ADD,
    reach: Reach = Reach.IMAGE,
) -> list[Objection]:
    """Return every rule that sharing so would break; nothing is changed."""
    wish = _wish(audience, change)
    objections = []
    default_keys = own_default_keys(cloud) if _is_encrypted(view.snapshots) else ()
    findings = list(check_share(view.facts(default_keys), wish))
    if reach is Reach.SNAPSHOTS:
        try:
            of_snapshots = _wish(_for_snapshots(audience), change)
        except BadInputError as error:
            objections.append(Objection.of_error(error))
        else:
            for snapshot in view.snapshots:
                facts = SnapshotFacts.of_ec2(snapshot.told, default_keys=default_keys)
                findings += check_snapshot_share(facts, of_snapshots)
    what = f"Image {view.image.image_id} cannot be shared so"
    return [*objections_to(what, findings), *objections]


def apply_sharing(
    cloud: Cloud,
    view: ImageView,
    audience: Sequence[Permission],
    *,
    change: Change,
    reach: Reach,
    made: Made,
) -> Shared:
    """Change what differs: of the image first, then of its snapshots."""
    image_id = view.image.image_id
    before = view.permissions or ()
    if _differing(before, audience, change):
        _apply(
            f"Image {image_id}",
            before,
            audience,
            change=change,
            made=made,
            send=lambda request: cloud.compute.modify_image(
                image_id, {"LaunchPermission": request}
            ),
        )
    else:
        so = (
            "is shared with them already" if change is Change.ADD else "is shared with none of them"
        )
        report(f"Image {image_id}: {so}")
    if change is Change.ADD and _is_encrypted(view.snapshots):
        warn(
            f"Image {image_id}: is encrypted. Whoever launches it needs its KMS key, too: the "
            "key's policy has to let them use it."
        )
    snapshots = {}
    if reach is Reach.SNAPSHOTS:
        for snapshot in view.snapshots:
            if snapshot.owner_id != view.image.owner_id:
                warn(f"Snapshot {snapshot.snapshot_id}: is {snapshot.owner_id}'s, and stays as is")
                continue
            snapshots[snapshot.snapshot_id] = share_snapshot(
                cloud, snapshot, _for_snapshots(audience), change=change, made=made
            )
    after = _after(before, audience, change)
    return Shared(image_id, cloud.region, after, snapshots)


def share_snapshot(
    cloud: Cloud,
    snapshot: Snapshot,
    audience: Sequence[Permission],
    *,
    change: Change,
    made: Made,
) -> tuple[Permission, ...]:
    """Let an audience make volumes of a snapshot, or no longer; return who may then."""
    before = snapshot_permissions(cloud, snapshot.snapshot_id)
    if _differing(before, audience, change):
        what = f"Snapshot {snapshot.snapshot_id}"

        def send(request: dict[str, Any]) -> None:
            asked = {"SnapshotId": snapshot.snapshot_id, "CreateVolumePermission": request}
            cloud.compute.ask(what, "ModifySnapshotAttribute", asked)

        _apply(what, before, audience, change=change, made=made, send=send)
    return _after(before, audience, change)


def change_snapshot_sharing(
    cloud: Cloud, snapshot_id: str, audience: Sequence[Permission], *, change: Change
) -> tuple[Permission, ...]:
    """Let an audience make volumes of a snapshot of one's own, or no longer; return who may then.

    Raises BadInputError for broken rules, CloudError, HostError.
    """
    snapshot = cloud.compute.snapshot(snapshot_id)
    default_keys = own_default_keys(cloud) if snapshot.is_encrypted else ()
    facts = SnapshotFacts.of_ec2(snapshot.told, default_keys=default_keys)
    findings = check_snapshot_share(facts, _wish(_for_snapshots(audience), change))
    refuse_before(f"Snapshot {snapshot_id} cannot be shared so", findings)
    with Made(left=_LEFT) as made:
        return share_snapshot(cloud, snapshot, audience, change=change, made=made)


def snapshot_permissions(cloud: Cloud, snapshot_id: str) -> tuple[Permission, ...]:
    """Return who may make volumes of a snapshot. Raises CloudError for another account's."""
    told = cloud.compute.ask(
        f"Snapshot {snapshot_id}",
        "DescribeSnapshotAttribute",
        {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission"},
    )
    return tuple(pair for one in told.get("CreateVolumePermissions", ()) for pair in one.items())


def own_default_keys(cloud: Cloud) -> tuple[str, ...]:
    """Return the ARN of the account's own key for EBS, which cannot be shared, where KMS tells."""
    found = find_key(cloud, DEFAULT_KEY)
    return (str(found["Arn"]),) if found else ()


def unshare_all(cloud: Cloud, image_id: str, *, reach: Reach = Reach.IMAGE) -> Shared:
    """Take back all permissions of an image, explicit and public (Guide, "Sharing an AMI")."""
    view = look_at_own_image(cloud, image_id)
    if view.permissions:
        request = {"ImageId": image_id, "Attribute": "launchPermission"}
        cloud.compute.ask(f"Image {image_id}", "ResetImageAttribute", request)
    snapshots: dict[str, tuple[Permission, ...]] = {}
    if reach is Reach.SNAPSHOTS:
        for snapshot in view.snapshots:
            request = {
                "SnapshotId": snapshot.snapshot_id,
                "Attribute": "createVolumePermission",
            }
            cloud.compute.ask(f"Snapshot {snapshot.snapshot_id}", "ResetSnapshotAttribute", request)
            snapshots[snapshot.snapshot_id] = ()
    else:
        _tell_snapshots(cloud, view)
    return Shared(image_id, cloud.region, (), snapshots)


def shared_snapshots(cloud: Cloud, view: ImageView) -> dict[str, tuple[Permission, ...]]:
    """Return who else may make volumes of an image's snapshots, by those that anybody may.

    Of another account's snapshots only their owner is told.
    """
    own = [one for one in view.snapshots if view.is_own and one.owner_id == view.image.owner_id]
    found = {one.snapshot_id: snapshot_permissions(cloud, one.snapshot_id) for one in own}
    return {snapshot_id: audience for snapshot_id, audience in found.items() if audience}


def _tell_snapshots(cloud: Cloud, view: ImageView) -> None:
    for snapshot_id, audience in shared_snapshots(cloud, view).items():
        whom = ", ".join(value for _, value in audience)
        warn(
            f"Snapshot {snapshot_id}: is still shared with {whom}, who can make volumes of it; "
            "--with-snapshots takes that back, too"
        )


def _apply(
    what: str,
    before: Sequence[Permission],
    audience: Sequence[Permission],
    *,
    change: Change,
    made: Made,
    send: Callable[[dict[str, Any]], None],
) -> None:
    differing = _differing(before, audience, change)
    request = [{kind: value} for kind, value in differing]
    words = "shared with" if change is Change.ADD else "no longer shared with"
    whom = ", ".join(value for _, value in differing)
    with made.making(f"{what}, {words} {whom}", lambda: send({change.reverse.member: request})):
        send({change.member: request})
    report(f"{what}: {words} {whom}")


def _differing(
    before: Sequence[Permission], audience: Sequence[Permission], change: Change
) -> list[Permission]:
    return [pair for pair in audience if (pair in before) is (change is Change.REMOVE)]


def _after(
    before: Sequence[Permission], audience: Sequence[Permission], change: Change
) -> tuple[Permission, ...]:
    if change is Change.ADD:
        return tuple(dict.fromkeys([*before, *audience]))
    return tuple(pair for pair in before if pair not in audience)


def _wish(audience: Sequence[Permission], change: Change) -> ShareWish:
    return ShareWish(add=audience) if change is Change.ADD else ShareWish(remove=audience)


def _for_snapshots(audience: Sequence[Permission]) -> list[Permission]:
    """Return whom a snapshot can be shared with: organizations it cannot (EC2 API)."""
    kept = [pair for pair in audience if pair[0] in _OF_SNAPSHOTS]
    if len(kept) != len(audience):
        raise BadInputError(
            "Sharing: a snapshot is shared with accounts or with everybody, not with "
            "organizations.",
            hint="Leave --with-snapshots out: whoever may launch the image needs no permission "
            "for its snapshots.",
        )
    return kept


def _is_encrypted(snapshots: Sequence[Snapshot]) -> bool:
    return any(one.is_encrypted for one in snapshots)
