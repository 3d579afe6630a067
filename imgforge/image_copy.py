"""Images are copied into regions, each with a key of its own: once, however often that is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imgforge.aki import find_akis, identify
from imgforge.catalog import (
    NAME_TAKEN,
    CopyWish,
    Finding,
    KeyFacts,
    advise_copy,
    check_copy,
    refuse_before,
)
from imgforge.ec2 import (
    Cloud,
    EndpointKind,
    Image,
    alike_regions,
    find_key,
    tag_specifications,
)
from imgforge.errors import BadInputError, CloudError
from imgforge.image_lookup import SELF, ImageView, look_at_image
from imgforge.made import Made
from imgforge.made_tags import MADE, UNFINISHED, WORK, disk_tags, work_digest
from imgforge.progress import about, report

COPY = "copy"
LEFT = "imgforge images gc finds it."
_NO_IMAGE = "InvalidAMIID.NotFound"
_FAILED = {"failed", "error", "invalid"}
_IN_USE = "InvalidSnapshot.InUse"


@dataclass(frozen=True, slots=True)
class Destination:
    """A region that an image goes to; `key` encrypts it there, "" leaves that as it is."""

    region: str
    key: str = ""


class Ending(StrEnum):
    """When copying is over: with the request, or with an image that is available."""

    ASKED = "asked"
    AVAILABLE = "available"


@dataclass(frozen=True, slots=True)
class ImageCopyWish:
    """What is to be copied where. The name is the source's where none is given.

    `tags` are put to the copies and to their snapshots; `purpose` tells works apart that are
    asked for by different commands.
    """

    image_id: str
    destinations: Sequence[Destination]
    name: str = ""
    description: str | None = None
    encrypted: bool = False
    copies_tags: bool = False
    ending: Ending = Ending.ASKED
    purpose: str = COPY


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy: `is_new` where this run made it, and no earlier one."""

    region: str
    image: Image
    is_new: bool


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """One copy to be made: the request for it, or the image that is there already."""

    cloud: Cloud
    source_id: str
    work: str
    request: dict[str, Any]
    found: Image | None = None
    failed: tuple[Image, ...] = ()


def parse_destinations(texts: Sequence[str]) -> tuple[Destination, ...]:
    """Return the regions that REGION or REGION=KEY texts say. Raises BadInputError."""
    found: dict[str, Destination] = {}
    for text in texts:
        for one in text.split(","):
            region, equals, key = one.partition("=")
            if not region or (equals and not key):
                raise BadInputError(
                    f"Destination {text!r}: REGION or REGION=KEY is needed.",
                    hint="As in eu-west-1, or eu-west-1=arn:aws:kms:eu-west-1:123456789012:key/….",
                )
            if found.setdefault(region, Destination(region, key)).key != key:
                raise BadInputError(f"Destination {region}: is given twice, with two keys.")
    return tuple(found.values())


def copy_image(cloud: Cloud, wish: ImageCopyWish) -> list[Copied]:
    """Copy an image into regions; what an earlier run has copied is found again.

    All rules of all regions are looked at first. Where one region refuses, or a copy fails, what
    this run made elsewhere is taken back. Raises BadInputError, CloudError, HostError.
    """
    source = look_at_image(cloud, wish.image_id)
    plans = plan_copies(cloud, source, wish)
    with Made(left=LEFT) as made:
        done = make_copies(plans, made=made, ending=wish.ending)
    if any(one.is_new for one in done) and not wish.copies_tags:
        for finding in advise_copy(source.facts()):
            report(f"EC2 does not copy {finding.found}: {finding.needed}")
    return done


def plan_copies(cloud: Cloud, source: ImageView, wish: ImageCopyWish) -> list[CopyPlan]:
    """Return what is to be done in each region; nothing is made yet.

    Raises BadInputError with every rule that is broken anywhere.
    """
    check_regions(cloud, wish.destinations)
    plans: list[CopyPlan] = []
    broken: list[tuple[CopyPlan, Finding]] = []
    for destination in wish.destinations:
        there = cloud.in_region(destination.region)
        plan = _plan_copy(there, source, wish, destination)
        plans.append(plan)
        if plan.found is None:
            broken += [(plan, finding) for finding in _check(there, source, wish, destination)]
    _refuse(wish.image_id, broken)
    return plans


def check_regions(cloud: Cloud, destinations: Sequence[Destination]) -> None:
    """Raise BadInputError for a region that the account may not use."""
    try:
        known = cloud.compute.regions()
    except CloudError as error:
        if error.code != "UnauthorizedOperation":
            raise
        return  # who may not ask is told by the region itself
    for destination in destinations:
        if destination.region not in known:
            raise BadInputError(
                f"Region {destination.region!r}: is none that this account may use.",
                hint=alike_regions(destination.region, known),
            )


def make_copies(plans: Sequence[CopyPlan], *, made: Made, ending: Ending) -> list[Copied]:
    """Ask for what is planned, then wait for all of it if that is wished."""
    done = []
    for plan in plans:
        with about(plan.cloud.region):
            done.append(_start(plan, made))
    if ending is Ending.ASKED:
        return done
    waited = []
    for plan, one in zip(plans, done, strict=True):
        with about(plan.cloud.region):
            image = _wait(plan, one.image.image_id)
            waited.append(Copied(one.region, image, one.is_new))
    return waited


def _wait(plan: CopyPlan, image_id: str) -> Image:
    """Wait for a copy; say of one that fails why, as far as EC2 tells."""
    try:
        return plan.cloud.compute.wait_for_image(image_id)
    except CloudError as error:
        if error.code not in _FAILED:
            raise
        reason = plan.cloud.compute.image(image_id).told.get("StateReason", {}).get("Message", "")
        told = f": {reason}" if reason else "; EC2 tells no reason"
        key = plan.request.get("KmsKeyId")
        raise CloudError(
            f"Image {image_id} ({plan.cloud.region}): the copy of {plan.source_id} {error.code}"
            f"{told}",
            code=error.code,
            hint=f"Mostly that is the key's: {key} has to be there and enabled in "
            f"{plan.cloud.region}, symmetric, and let you use it."
            if key
            else "Run the command again.",
        ) from None


def _plan_copy(
    there: Cloud, source: ImageView, wish: ImageCopyWish, destination: Destination
) -> CopyPlan:
    name = wish.name or source.image.name
    encrypted = wish.encrypted or bool(destination.key)
    request: dict[str, Any] = {
        "SourceRegion": source.region,
        "Name": name,
        "Description": source.image.text("Description")
        if wish.description is None
        else wish.description,
    }
    if encrypted:
        request["Encrypted"] = True
    if destination.key:
        request["KmsKeyId"] = destination.key
    if wish.copies_tags:
        request["CopyImageTags"] = True
    work = work_digest(
        wish.purpose,
        wish.image_id,
        there.region,
        *(f"{key}={request[key]}" for key in sorted(request)),
    )
    marks = {**disk_tags(source.image.tags), MADE: wish.purpose, WORK: work}
    if wish.purpose != COPY:
        marks[UNFINISHED] = work
    request["TagSpecifications"] = tag_specifications(image=marks, snapshot=marks)
    there_already = there.compute.images(
        owners=[SELF], filters={f"tag:{WORK}": [work]}, with_hidden=True
    )
    whole = [one for one in there_already if one.state not in _FAILED]
    failed = tuple(one for one in there_already if one.state in _FAILED)
    return CopyPlan(
        there, wish.image_id, work, request, found=whole[0] if whole else None, failed=failed
    )


def _check(
    there: Cloud, source: ImageView, wish: ImageCopyWish, destination: Destination
) -> list[Finding]:
    name = wish.name or source.image.name
    taken = there.compute.own_image_named(name) if name else None
    pending = there.compute.images(owners=[SELF], filters={"state": ["pending"]})
    copies = [one for one in pending if one.text("SourceImageId")]
    key = find_key(there, destination.key) if destination.key else None
    is_encrypted = wish.encrypted or bool(destination.key)
    asked = CopyWish(
        name=name,
        region=destination.region,
        owner_id=source.image.owner_id if source.is_own else "",
        description=wish.description or "",
        encrypted=True if is_encrypted else None,
        kms_key_id=destination.key or None,
        key=KeyFacts.of_kms(key) if key else None,
        taken_by=taken.image_id if taken and taken.state not in _FAILED else "",
        pending_into=len(copies),
        pending_from=sum(one.text("SourceImageRegion") == source.region for one in copies),
    )
    return [*check_copy(source.facts(), asked), *_check_kernel(source, destination.region)]


def _check_kernel(source: ImageView, region: str) -> list[Finding]:
    """Return that a PV image's kernel has no equal in the region (Guide, PV-GRUB's tables)."""
    kernel_id = source.image.text("KernelId")
    aki = identify(kernel_id) if kernel_id else None
    if not kernel_id or region == source.region or aki is None:
        return []
    try:
        if find_akis(region=region, architecture=aki.pv_grub.architecture, place=aki.pv_grub.place):
            return []
    except BadInputError:
        pass
    found = f"{kernel_id} ({aki.pv_grub.name}) has no equal in {region}"
    return [Finding("kernel-region", found, "a region that has one: imgforge aki find lists them")]


def _refuse(image_id: str, broken: Sequence[tuple[CopyPlan, Finding]]) -> None:
    for region in dict.fromkeys(plan.cloud.region for plan, _ in broken):
        of_region = [(plan, one) for plan, one in broken if plan.cloud.region == region]
        found = [one for _, one in of_region]
        is_taken = any(one.rule == NAME_TAKEN for one in found)
        hint = _hint_for_name(of_region[0][0]) if is_taken else ""
        refuse_before(f"Image {image_id} cannot be copied into {region}", found, hint=hint)


def _hint_for_name(plan: CopyPlan) -> str:
    """Say which image has the name, and what to do: another name, or without that image."""
    there = plan.cloud.region
    taken = plan.cloud.compute.own_image_named(str(plan.request["Name"]))
    if taken is None:
        return "Run the command again: the name is free by now."
    is_same = taken.text("SourceImageId") == plan.source_id
    what = f"is a copy of {plan.source_id}, made otherwise," if is_same else "is another image"
    return (
        f"{taken.image_id} {what} and stays as it is. Give --name NAME; or imgforge images "
        f"deregister {taken.image_id} --region {there} --with-snapshots, and run this again."
    )


def _start(plan: CopyPlan, made: Made) -> Copied:
    """Ask for a copy, or take the one that is there; what had failed goes first."""
    if plan.found is not None:
        report(f"{plan.found.image_id} is there already, {plan.found.state}")
        if UNFINISHED in plan.found.tags:
            made.add(f"Image {plan.found.image_id}", lambda: discard_work(plan))
        return Copied(plan.cloud.region, plan.found, is_new=False)
    for one in plan.failed:
        report(f"{one.image_id} has failed: it is removed and made anew")
        discard_image(plan.cloud, one, work=plan.work)
    image = _ask_for_copy(plan, made)
    report(f"{image.image_id} is being made of {plan.source_id}")
    return Copied(plan.cloud.region, image, is_new=True)


def _ask_for_copy(plan: CopyPlan, made: Made) -> Image:
    """Ask until the answer is an image that lives.

    EC2 answers the same token with the same image, even where that is long deregistered. So a
    token that led to one that is gone is followed by another, of which the gone one is a part.
    """
    compute = plan.cloud.compute
    # An image that was just made may be unknown to AWS for a while, and to no other endpoint.
    is_aws = plan.cloud.endpoint.kind is EndpointKind.AWS
    token = work_digest(plan.work, *(one.image_id for one in plan.failed))
    seen: set[str] = set()
    while True:
        with made.making(
            f"The copy in {compute.region}", lambda: discard_work(plan, *seen)
        ) as copy:
            asked = {**plan.request, "ClientToken": token}
            image_id = compute.copy_image(plan.source_id, asked)
            copy.what = f"Image {image_id} ({compute.region})"
        if image_id in seen:
            raise CloudError(
                f"Copy of {plan.source_id}: is answered with {image_id}, which there is not.",
                code=_NO_IMAGE,
                hint="Run the command again.",
            )
        seen.add(image_id)
        try:
            if is_aws:
                return compute.wait_until_image_known(image_id)
            return compute.image(image_id)
        except CloudError as error:
            if error.code != _NO_IMAGE:
                raise
            token = work_digest(plan.work, image_id)


def discard_work(plan: CopyPlan, *known: str) -> None:
    """Remove all that a plan's work has made, and what it is known to have made."""
    compute = plan.cloud.compute
    tagged = compute.images(owners=[SELF], filters={f"tag:{WORK}": [plan.work]}, with_hidden=True)
    for image in tagged:
        discard_image(plan.cloud, image, work=plan.work)
    for image_id in set(known) - {one.image_id for one in tagged}:  # AWS may not list it yet
        forget_image(plan.cloud, image_id)


def discard_image(cloud: Cloud, image: Image, *, work: str) -> None:
    """Deregister an image that a work made, then delete the snapshots that it made for it."""
    compute = cloud.compute
    try:
        known = compute.image(image.image_id)
    except CloudError as error:
        if error.code != _NO_IMAGE:
            raise
        known = image
    else:
        forget_image(cloud, image.image_id)
    tagged = compute.snapshots(owners=[SELF], filters={f"tag:{WORK}": [work]})
    mapped = set(known.snapshots.values())
    for snapshot in tagged:
        if not mapped or snapshot.snapshot_id in mapped:
            discard_snapshot(cloud, snapshot.snapshot_id)


def forget_image(cloud: Cloud, image_id: str) -> None:
    """Deregister an image that was there a moment ago; where an answer was lost, it is gone."""
    try:
        cloud.compute.deregister_image(image_id)
    except CloudError as error:
        if error.code != _NO_IMAGE:
            raise


def discard_snapshot(cloud: Cloud, snapshot_id: str) -> bool:
    """Delete a snapshot; tell whether it is gone, or some image still needs it."""
    try:
        cloud.compute.delete_snapshot(snapshot_id)
    except CloudError as error:
        if error.code == _IN_USE:
            return False
        if error.code != "InvalidSnapshot.NotFound":
            raise
    return True
