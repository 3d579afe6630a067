"""Images are copied into regions, each with a key of its own: once, however often that is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from imgforge.catalog import advise_copy, refuse_together
from imgforge.copy_plan import FAILED, CopyPlan, Ending, ImageCopyWish, plan_copies
from imgforge.ec2 import Cloud, EndpointKind, Image
from imgforge.errors import CloudError
from imgforge.image_lookup import SELF, look_at_image
from imgforge.made import Made
from imgforge.made_tags import UNFINISHED, WORK, work_digest
from imgforge.progress import about, report

LEFT = "imgforge images gc finds it."
_NO_IMAGE = "InvalidAMIID.NotFound"
_IN_USE = "InvalidSnapshot.InUse"


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy: `is_new` where this run made it, and no earlier one."""

    region: str
    image: Image
    is_new: bool


def copy_image(cloud: Cloud, wish: ImageCopyWish) -> list[Copied]:
    """Copy an image into regions; what an earlier run has copied is found again.

    All rules of all regions are looked at first. Where one region refuses, or a copy fails, what
    this run made elsewhere is taken back. Raises BadInputError, CloudError, HostError.
    """
    source = look_at_image(cloud, wish.image_id)
    planned = plan_copies(cloud, source, wish)
    refuse_together(planned.objections)
    with Made(left=LEFT) as made:
        done = make_copies(planned.plans, made=made, ending=wish.ending)
    if any(one.is_new for one in done) and not wish.copies_tags:
        for finding in advise_copy(source.facts()):
            report(f"EC2 does not copy {finding.found}: {finding.needed}")
    return done


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
        if error.code not in FAILED:
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
