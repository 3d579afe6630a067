"""Copies of an image that are to be made: what is asked of each region, and what forbids it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from imgforge.aki import find_akis, identify
from imgforge.catalog import (
    NAME_TAKEN,
    CopyWish,
    Finding,
    KeyFacts,
    Objection,
    check_copy,
    is_default_key,
    objections_to,
    refuse_together,
)
from imgforge.ec2 import Cloud, Image, alike_regions, find_key, tag_specifications
from imgforge.errors import BadInputError, CloudError
from imgforge.image_lookup import SELF, ImageView
from imgforge.made_tags import MADE, UNFINISHED, WORK, disk_tags, work_digest

COPY = "copy"
FAILED = {"failed", "error", "invalid"}
_DEFAULT_ALIAS = "alias/aws/ebs"


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
class CopyPlan:
    """One copy to be made: the request for it, or the image that is there already.

    `has_default_key` is set where a key is named, and that is the account's own for EBS.
    """

    cloud: Cloud
    destination: Destination
    source_id: str
    work: str
    request: dict[str, Any]
    found: Image | None = None
    failed: tuple[Image, ...] = ()
    has_default_key: bool = False


@dataclass(frozen=True, slots=True)
class PlannedCopies:
    """The copies into those regions that there are, and all that speaks against making them."""

    plans: tuple[CopyPlan, ...]
    objections: tuple[Objection, ...]


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


def plan_copies(cloud: Cloud, source: ImageView, wish: ImageCopyWish) -> PlannedCopies:
    """Return what is to be done in each region, and every rule broken in any; nothing is made."""
    unknown = object_to_regions(cloud, wish.destinations)
    plans: list[CopyPlan] = []
    objections = list(unknown.values())
    for destination in wish.destinations:
        if destination.region in unknown:
            continue
        there = cloud.in_region(destination.region)
        plan = _plan_copy(there, source, wish, destination)
        if plan.found is None:
            told = find_key(there, destination.key) if destination.key else None
            key = KeyFacts.of_kms(told) if told else None
            plan = replace(plan, has_default_key=_is_default(destination.key, key))
            found = _check(there, source, wish, destination=destination, key=key)
            objections += _objections(plan, wish, found)
        plans.append(plan)
    return PlannedCopies(tuple(plans), tuple(objections))


def check_regions(cloud: Cloud, destinations: Sequence[Destination]) -> None:
    """Raise BadInputError for all regions that the account may not use."""
    refuse_together(object_to_regions(cloud, destinations).values())


def object_to_regions(cloud: Cloud, destinations: Sequence[Destination]) -> dict[str, Objection]:
    """Return what is said of each region that the account may not use."""
    try:
        known = cloud.compute.regions()
    except CloudError as error:
        if error.code != "UnauthorizedOperation":
            raise
        return {}  # who may not ask is told by the region itself
    return {
        one.region: Objection(
            f"Region {one.region!r}: is none that this account may use",
            hint=alike_regions(one.region, known),
        )
        for one in destinations
        if one.region not in known
    }


def _is_default(given: str, key: KeyFacts | None) -> bool:
    """Tell whether a key is the account's own for EBS, as far as KMS or its name tells."""
    if key is not None:
        return key.is_default
    return given == _DEFAULT_ALIAS or given.endswith(f":{_DEFAULT_ALIAS}") or is_default_key(given)


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
    whole = [one for one in there_already if one.state not in FAILED]
    failed = tuple(one for one in there_already if one.state in FAILED)
    return CopyPlan(
        there,
        destination,
        wish.image_id,
        work,
        request,
        found=whole[0] if whole else None,
        failed=failed,
    )


def _check(
    there: Cloud,
    source: ImageView,
    wish: ImageCopyWish,
    *,
    destination: Destination,
    key: KeyFacts | None,
) -> list[Finding]:
    name = wish.name or source.image.name
    taken = there.compute.own_image_named(name) if name else None
    pending = there.compute.images(owners=[SELF], filters={"state": ["pending"]})
    copies = [one for one in pending if one.text("SourceImageId")]
    is_encrypted = wish.encrypted or bool(destination.key)
    asked = CopyWish(
        name=name,
        region=destination.region,
        owner_id=source.image.owner_id if source.is_own else "",
        description=wish.description or "",
        encrypted=True if is_encrypted else None,
        kms_key_id=destination.key or None,
        key=key,
        taken_by=taken.image_id if taken and taken.state not in FAILED else "",
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


def _objections(plan: CopyPlan, wish: ImageCopyWish, found: Sequence[Finding]) -> list[Objection]:
    is_taken = any(one.rule == NAME_TAKEN for one in found)
    what = f"Image {wish.image_id} cannot be copied into {plan.cloud.region}"
    return objections_to(what, found, hint=_hint_for_name(plan) if is_taken else "")


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
