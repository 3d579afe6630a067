"""An image is published: copied to regions, tagged with its verdict, and shared, as one thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgforge import pipeline
from imgforge.acceptance import Verdict
from imgforge.bookmark import launch_bookmark
from imgforge.catalog import (
    Gate,
    ImageFacts,
    ImageRegistration,
    Objection,
    Permission,
    ShareWish,
    check_gate,
    check_share,
    objections_to,
    refuse_together,
)
from imgforge.copy_plan import (
    CopyPlan,
    Destination,
    Ending,
    ImageCopyWish,
    PlannedCopies,
    plan_copies,
)
from imgforge.deregistration import DeregistrationWish, deregister
from imgforge.disk import Disk
from imgforge.ec2 import Cloud, Image
from imgforge.errors import BadInputError
from imgforge.image_copy import LEFT, make_copies
from imgforge.image_disk import read_back
from imgforge.image_lookup import ImageView, look_at_image, look_at_own_image
from imgforge.image_sharing import Change, Reach, apply_sharing, object_to_sharing
from imgforge.made import Made
from imgforge.made_tags import (
    ACCEPTED,
    SHA256,
    UNFINISHED,
    UNVERIFIED,
    VERDICT,
    VERDICT_SHA256,
    disk_tags,
    own_tags,
)
from imgforge.progress import about, report
from imgforge.registering import DiskWish, find_registered, gate_tags, object_to_disk

PUBLISH = "publish"
_COMING_SNAPSHOT = "its snapshot"


@dataclass(frozen=True, slots=True)
class PublicationWish:
    """What is published where, to whom, and with which tags beside its own.

    The image's own region is always one of those it is published in.
    """

    image_id: str
    destinations: Sequence[Destination] = ()
    audience: Sequence[Permission] = ()
    reach: Reach = Reach.IMAGE
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    encrypted: bool = False
    gate: Gate = Gate.VERDICT


@dataclass(frozen=True, slots=True)
class Published:
    """The image of one region; `is_new` where this run made it."""

    region: str
    image_id: str
    is_new: bool
    bookmark: str
    """The URL that launches it; "" for a region whose console is not known."""


def publish(
    cloud: Cloud, wish: PublicationWish, *, verdict: Verdict | None = None
) -> list[Published]:
    """Publish an image: the first of the result is its own region's, the rest are copies.

    All rules are looked at before anything is made. Where a step is refused or fails, the copies
    are taken back; after a kill the same command goes on with what is there. With a `verdict` the
    image's disk is read back and compared; without one its tags are believed. Raises BadInputError,
    ImageRejectedError, CloudError, HostError.
    """
    source = look_at_own_image(cloud, wish.image_id)
    planned = _plan(cloud, source, wish)
    objections = [*_object_to_gate(source, wish, verdict), *planned.objections]
    if cloud.region in {one.region for one in wish.destinations}:
        objections.append(
            Objection(
                f"Region {cloud.region}: has the image {wish.image_id} itself; no copy goes there",
                hint=f"imgforge images copy {wish.image_id} --to {cloud.region} --name NAME makes "
                "one, such as one with a key.",
            )
        )
    refuse_together(objections)
    if verdict is None:
        tags = publication_tags(source, wish)
    else:
        tags = _proven_tags(cloud, source, wish, verdict)
    with Made(left=LEFT) as made:
        copied = make_copies(planned.plans, made=made, ending=Ending.AVAILABLE)
        for one in copied:
            with about(one.region):
                _finish(cloud.in_region(one.region), one.image.image_id, wish, tags, made)
        with about(cloud.region):
            _finish(cloud, wish.image_id, wish, tags, made)
        for one in copied:
            _end(cloud.in_region(one.region), one.image.image_id)
            made.keep()  # from the first that is whole on, another run only has marks to take off
    return [
        Published(
            cloud.region,
            wish.image_id,
            is_new=False,
            bookmark=_bookmark(wish.image_id, cloud.region),
        ),
        *(
            Published(
                one.region,
                one.image.image_id,
                one.is_new,
                _bookmark(one.image.image_id, one.region),
            )
            for one in copied
        ),
    ]


def publish_disk(
    cloud: Cloud, disk: Disk, wish: PublicationWish, *, verdict: Verdict | None
) -> list[Published]:
    """Register a disk, as its recipe declares or under the wish's name, and publish the image.

    All that can be known of the image before there is one is looked at first, here and in each
    region. Where publishing fails, an image that this run registered goes again, with its snapshot.
    Raises as `publish` and `register_disk` do.
    """
    registration = pipeline.registration_of(disk, name=wish.name or None)
    asked = DiskWish(disk, registration, verdict)
    before = find_registered(cloud, asked)
    if before is None:
        refuse_together(_object_to_publishing(cloud, asked, wish))
    with Made(left=LEFT) as made:
        image = pipeline.register(cloud, disk, verdict=verdict, name=wish.name or None)
        if before is None:
            going = DeregistrationWish(image.image_id, with_snapshots=True)
            made.add(f"Image {image.image_id}", lambda: _take_away(cloud, going))
        return publish(cloud, replace(wish, image_id=image.image_id))


def _take_away(cloud: Cloud, going: DeregistrationWish) -> None:
    """Deregister an image that was just made."""
    deregister(cloud, going)


def publication_tags(source: ImageView, wish: PublicationWish) -> dict[str, str]:
    """Return the tags that each image of a publication has; the source's own are among them.

    Raises BadInputError where no accepted verdict names the image's disk and nobody says that it
    goes without.
    """
    digest = source.image.tags.get(VERDICT_SHA256, "")
    accepted = source.verdict == ACCEPTED and bool(source.sha256) and bool(digest)
    if not accepted and wish.gate is Gate.VERDICT:
        found = source.verdict or "no word of a verdict"
        raise BadInputError(
            f"Image {wish.image_id}: is not published: its tags have {found}, "
            f"{VERDICT}={ACCEPTED} with {VERDICT_SHA256} and the disk's SHA-256 is needed.",
            hint="imgforge register DISK --verdict FILE registers a disk that was accepted; "
            "--unverified publishes all the same, and the tags keep saying so.",
        )
    known = disk_tags(source.image.tags)
    verdict = ACCEPTED if accepted else UNVERIFIED
    return {**own_tags(source.image.tags), **wish.tags, **known, VERDICT: verdict}


def _proven_tags(
    cloud: Cloud, source: ImageView, wish: PublicationWish, verdict: Verdict
) -> dict[str, str]:
    """Return the tags of a publication whose verdict names the very bytes of the image's root."""
    root = next(
        (one for one in source.snapshots if one.snapshot_id == source.image.root_snapshot_id), None
    )
    if root is None:
        raise BadInputError(
            f"Image {wish.image_id}: has no snapshot that a verdict could be compared with."
        )
    found = read_back(cloud, root)
    _check_gate(source, found, verdict)
    known = {**disk_tags(source.image.tags), SHA256: found, **gate_tags(verdict)}
    return {**own_tags(source.image.tags), **wish.tags, **known}


def _check_gate(source: ImageView, sha256: str, verdict: Verdict) -> None:
    disk = Disk(Path(source.image.image_id), sha256, 0)
    check_gate(disk, verdict=verdict, gate=Gate.VERDICT)


def copy_facts(
    source: ImageFacts, destination: Destination, *, encrypted: bool, has_default_key: bool = False
) -> ImageFacts:
    """Return what the rules ask of a copy that is still to be made.

    A copy that is encrypted without a key has the account's own for EBS, which cannot be shared;
    with `has_default_key` that is the very key which the destination names.
    """
    anew = encrypted or bool(destination.key)
    by_default = has_default_key or not destination.key
    snapshots = tuple(
        replace(
            one,
            snapshot_id=f"the copy of {one.snapshot_id}",
            is_encrypted=anew or one.is_encrypted,
            has_default_key=(anew or one.is_encrypted) and by_default,
        )
        for one in source.snapshots
    )
    return replace(source, region=destination.region, snapshots=snapshots, product_codes=())


def _plan(cloud: Cloud, source: ImageView, wish: PublicationWish) -> PlannedCopies:
    """Return the copies to be made, and what speaks against them or against sharing as wished."""
    copies = ImageCopyWish(
        wish.image_id,
        [one for one in wish.destinations if one.region != cloud.region],
        name=wish.name,
        encrypted=wish.encrypted,
        ending=Ending.AVAILABLE,
        purpose=PUBLISH,
    )
    planned = plan_copies(cloud, source, copies)
    if not wish.audience:
        return planned
    objections = [
        *planned.objections,
        *object_to_sharing(cloud, source, wish.audience, reach=wish.reach),
        *(found for plan in planned.plans for found in _object_to_audience(plan, source, wish)),
    ]
    return replace(planned, objections=tuple(objections))


def _object_to_audience(
    plan: CopyPlan, source: ImageView, wish: PublicationWish
) -> list[Objection]:
    """Return why a copy, as it is or is to be, cannot be shared with the audience."""
    if plan.found is not None:
        there = look_at_image(plan.cloud, plan.found.image_id)
        return object_to_sharing(plan.cloud, there, wish.audience, reach=wish.reach)
    facts = copy_facts(
        source.facts(),
        plan.destination,
        encrypted=wish.encrypted,
        has_default_key=plan.has_default_key,
    )
    what = f"A copy of {wish.image_id} in {plan.cloud.region} cannot be shared so"
    return objections_to(what, check_share(facts, ShareWish(add=wish.audience)))


def _object_to_gate(
    source: ImageView, wish: PublicationWish, verdict: Verdict | None
) -> list[Objection]:
    """Return that an image is not accepted, as far as its tags tell."""
    try:
        if verdict is None:
            publication_tags(source, wish)
        elif source.sha256:  # what says of itself that it is another disk need not be read
            _check_gate(source, source.sha256, verdict)
    except BadInputError as error:
        return [Objection.of_error(error)]
    return []


def _object_to_publishing(cloud: Cloud, asked: DiskWish, wish: PublicationWish) -> list[Objection]:
    """Return all that speaks against registering a disk and publishing the image."""
    registration = asked.registration
    objections = object_to_disk(cloud, asked)
    if cloud.region in {one.region for one in wish.destinations}:
        objections.append(
            Objection(
                f"Region {cloud.region}: is where the image is registered; no copy goes there",
                hint=f"Leave {cloud.region} out of --to.",
            )
        )
    view = _coming_view(cloud, registration)
    named = replace(wish, image_id=view.image.image_id, name=registration.name)
    return [*objections, *_plan(cloud, view, named).objections]


def _coming_view(cloud: Cloud, registration: ImageRegistration) -> ImageView:
    """Return an image that is still to be registered, as it will be; its name is its id."""
    root = registration.root_device_name
    volumes = [(one.device_name, one.ebs) for one in registration.block_devices if one.ebs]
    ids = sorted({ebs.snapshot_id for _, ebs in volumes if ebs.snapshot_id})
    mapped = [
        {"DeviceName": name, "Ebs": {"SnapshotId": ebs.snapshot_id or _COMING_SNAPSHOT}}
        for name, ebs in volumes
        if ebs.snapshot_id or name == root
    ]
    image_id = repr(registration.name)
    told = {
        "ImageId": image_id,
        "Name": registration.name,
        "Description": registration.description,
        "KernelId": registration.kernel_id or "",
        "BlockDeviceMappings": mapped,
    }
    image = Image(image_id, registration.name, "available", owner_id="", told=told)
    snapshots = tuple(cloud.compute.snapshots(ids=ids)) if ids else ()
    return ImageView(image, cloud.region, is_own=True, snapshots=snapshots, permissions=())


def _finish(
    there: Cloud, image_id: str, wish: PublicationWish, tags: Mapping[str, str], made: Made
) -> None:
    """Tag and share the image of one region; what is so already is left."""
    view = look_at_image(there, image_id)
    new = {key: value for key, value in tags.items() if view.image.tags.get(key) != value}
    if new:
        added = [key for key in new if key not in view.image.tags]
        if added and UNFINISHED not in view.image.tags:
            with made.making(f"Tags of {image_id}", lambda: there.compute.untag([image_id], added)):
                there.compute.tag([image_id], new)
        else:
            there.compute.tag([image_id], new)
        report(f"Image {image_id}: tagged")
    of_snapshots = disk_tags(tags)
    differing = [
        one.snapshot_id
        for one in view.snapshots
        if one.owner_id == view.image.owner_id and not of_snapshots.items() <= one.tags.items()
    ]
    if differing:
        there.compute.tag(differing, of_snapshots)
    if wish.audience:
        apply_sharing(there, view, wish.audience, change=Change.ADD, reach=wish.reach, made=made)


def _end(there: Cloud, image_id: str) -> None:
    """Take off the marks of what is not finished."""
    view = look_at_image(there, image_id)
    marked = [one.snapshot_id for one in view.snapshots if UNFINISHED in one.tags] + (
        [image_id] if UNFINISHED in view.image.tags else []
    )
    if marked:
        there.compute.untag(marked, [UNFINISHED])


def _bookmark(image_id: str, region: str) -> str:
    try:
        return launch_bookmark(image_id, region=region)
    except BadInputError:
        return ""
