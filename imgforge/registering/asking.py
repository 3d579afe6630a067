"""RegisterImage, asked so that a second run finds what the first one made."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from imgforge.acceptance import Verdict
from imgforge.catalog import NameConflict
from imgforge.ec2 import Cloud, Image, tag_specifications
from imgforge.errors import BadInputError, CloudError, ImgforgeError
from imgforge.made_tags import (
    ACCEPTED,
    MADE,
    SHA256,
    UNVERIFIED,
    VERDICT,
    VERDICT_SHA256,
    WORK,
)
from imgforge.progress import report, warn
from imgforge.removal import note_removal

MADE_BY = "register"
_DUPLICATE = "InvalidAMIName.Duplicate"


@dataclass(frozen=True, slots=True)
class Asked:
    """An image that is asked for: `work` is the digest of all that is asked, `tags` its tags."""

    name: str
    work: str
    tags: Mapping[str, str]
    conflict: NameConflict

    @property
    def all_tags(self) -> dict[str, str]:
        """The image's tags, and those by which it is known."""
        return {**self.tags, MADE: MADE_BY, WORK: self.work}


def gate_tags(verdict: Verdict | None) -> dict[str, str]:
    """Return what an image's tags say of its gate; `verdict` is an accepted one of its disk."""
    if verdict is None:
        return {VERDICT: UNVERIFIED}
    text = json.dumps(verdict.model_dump(mode="json", by_alias=True), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {VERDICT: ACCEPTED, VERDICT_SHA256: digest}


def find_same(cloud: Cloud, asked: Asked) -> Image | None:
    """Return the image that an equal registration made, with this one's verdict put to it.

    Raises BadInputError where the name belongs to another image and may not be taken from it.
    """
    found = cloud.compute.own_image_named(asked.name)
    if found is None:
        return None
    if found.tags.get(WORK) == asked.work:
        report(f"{found.image_id}: is registered already")
        return cloud.compute.wait_for_image(_brought_up(cloud, found, asked).image_id)
    if asked.conflict is NameConflict.REFUSE:
        hint = (
            "Take another name, such as one with a version, or --replace, which deregisters "
            f"{found.image_id}."
        )
        raise BadInputError(f"{taken(found, asked)}.", hint=hint)
    return None


def _brought_up(cloud: Cloud, image: Image, asked: Asked) -> Image:
    """Put an accepted verdict to an image that has none."""
    is_late = image.tags.get(VERDICT) != ACCEPTED and asked.tags.get(VERDICT) == ACCEPTED
    if is_late:
        cloud.compute.tag([image.image_id], {name: asked.tags[name] for name in _of_gate(asked)})
    return image


def _of_gate(asked: Asked) -> list[str]:
    return [name for name in (VERDICT, VERDICT_SHA256) if name in asked.tags]


def taken(found: Image, asked: Asked) -> str:
    """Say that the name belongs to another image."""
    is_other = found.tags.get(SHA256, "") != asked.tags.get(SHA256, "")
    other = "another disk" if is_other else "other attributes"
    return (
        f"Image {asked.name!r}: the name belongs to {found.image_id}, which has {other} "
        f"(EC2 says {_DUPLICATE})"
    )


def register(cloud: Cloud, asked: Asked, request: Mapping[str, Any]) -> Image:
    """Register an image, taking its name from another where that is wished; wait until it is there.

    `request` is RegisterImage's, without name and tags. Raises CloudError, HostError.
    """
    compute = cloud.compute
    old = compute.own_image_named(asked.name)
    if old is not None:
        note_removal(cloud.region, [old.image_id])
        compute.deregister_image(old.image_id)
        report(f"{old.image_id}: deregistered, its name {asked.name!r} is taken from it")
        if left := ", ".join(dict.fromkeys(old.snapshots.values())):
            warn(
                f"Image {old.image_id}: leaves {left}, which stays, and costs: imgforge snapshots "
                f"delete {left.replace(',', '')} removes it, and imgforge images gc what imgforge "
                "made of it"
            )
    tags = tag_specifications(image=asked.all_tags)
    try:
        image_id = compute.register_image(asked.name, {**request, "TagSpecifications": tags})
    except CloudError as error:
        if error.code != _DUPLICATE:
            raise _told(error, old) from None
        # The answer to the same request was lost, or another host was faster.
        same = find_same(cloud, asked)
        if same is None:
            raise
        return same
    except ImgforgeError as error:
        raise _told(error, old) from None
    with staying(image_id):
        return compute.wait_for_image(image_id)


@contextmanager
def staying(image_id: str) -> Iterator[None]:
    """Say that an image is registered and stays, where the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        warn(
            f"{image_id} is registered and stays: the same command goes on with it, and "
            f"imgforge images deregister {image_id} takes it away"
        )
        raise


def _told(error: ImgforgeError, old: Image | None) -> ImgforgeError:
    if old is not None:
        lost = f"{old.image_id} was deregistered before; its snapshots are still there."
        error.hint = f"{lost} {error.hint}".strip()
    return error
