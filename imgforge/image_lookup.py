"""Finding images, and looking at one whole: its snapshots, and whom it is shared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgforge.catalog import ImageFacts, Permission
from imgforge.ec2 import Cloud, Image, Snapshot
from imgforge.errors import BadInputError, CloudError
from imgforge.made_tags import SHA256, VERDICT

SELF = "self"
EVERYBODY = "all"
_NO_IMAGE = "InvalidAMIID.NotFound"
_NOT_SEEN = "InvalidSnapshot.NotFound"


@dataclass(frozen=True, slots=True)
class SearchWish:
    """Which images are looked for; what is empty says nothing. Names may have * and ? in them."""

    owners: Sequence[str] = ()
    name: str = ""
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    executable_by: Sequence[str] = ()
    with_hidden: bool = False
    """Whether others' deprecated images, and one's own disabled ones, are listed, too."""


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image with all that belongs to it.

    `permissions` is None where the caller may not see them: it is another account's image.
    """

    image: Image
    region: str
    is_own: bool
    snapshots: tuple[Snapshot, ...]
    permissions: tuple[Permission, ...] | None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the raw disk that it was registered from; "" where that is not known."""
        return self.image.tags.get(SHA256, "")

    @property
    def verdict(self) -> str:
        """`accepted`, `unverified`, or "" for what imgforge did not register."""
        return self.image.tags.get(VERDICT, "")

    def facts(self, default_keys: Sequence[str] = ()) -> ImageFacts:
        """Return what the rules ask of it."""
        return ImageFacts.of_ec2(
            self.image.told,
            region=self.region,
            snapshots=[one.told for one in self.snapshots],
            default_keys=default_keys,
        )


def find_images(cloud: Cloud, wish: SearchWish) -> list[Image]:
    """Return the images that are looked for, the oldest first. Raises CloudError, HostError."""
    filters: dict[str, Sequence[str]] = dict(wish.filters)
    if wish.name:
        filters["name"] = [*filters.get("name", ()), wish.name]
    return cloud.compute.images(
        owners=wish.owners,
        executable_by=wish.executable_by,
        filters=filters,
        with_hidden=wish.with_hidden,
    )


def own_images(cloud: Cloud) -> list[Image]:
    """Return all images of the caller's own, deprecated and disabled ones, too."""
    return find_images(cloud, SearchWish(owners=[SELF], with_hidden=True))


def look_at_image(cloud: Cloud, image_id: str) -> ImageView:
    """Return an image whole. Raises CloudError (InvalidAMIID.NotFound, .Malformed), HostError."""
    image = cloud.compute.image(image_id)
    is_own = _is_own(cloud, image_id)
    permissions: tuple[Permission, ...] | None = None
    if is_own:
        told = cloud.compute.image_attribute(image_id, "launchPermission")
        permissions = tuple(
            pair for one in told.get("LaunchPermissions", ()) for pair in one.items()
        )
    named = list(dict.fromkeys(image.snapshots.values()))
    return ImageView(image, cloud.region, is_own, tuple(_seen(cloud, named)), permissions)


def look_at_own_image(cloud: Cloud, image_id: str) -> ImageView:
    """Return an image of the caller's own whole. Raises BadInputError for another's."""
    view = look_at_image(cloud, image_id)
    if not view.is_own:
        raise BadInputError(
            f"Image {image_id}: belongs to the account {view.image.owner_id}, which alone can "
            "change it.",
            hint=f"imgforge images copy {image_id} --to {cloud.region} makes one of your own.",
        )
    return view


def parse_filters(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the filters that NAME=VALUE texts say; one name given twice means either value.

    Raises BadInputError for what is no filter; whether EC2 knows its name, EC2 says.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise BadInputError(
                f"Filter {text!r}: is none; NAME=VALUE is needed.",
                hint="As in root-device-type=ebs or tag:team=web; * and ? stand for any letters.",
            )
        found.setdefault(name, []).append(value)
    return found


def _is_own(cloud: Cloud, image_id: str) -> bool:
    try:
        return bool(cloud.compute.images(ids=[image_id], owners=[SELF]))
    except CloudError as error:
        if error.code != _NO_IMAGE:
            raise
        return False


def _seen(cloud: Cloud, ids: Sequence[str]) -> list[Snapshot]:
    """Return those snapshots that the caller sees: another account's mostly are not."""
    if not ids:
        return []
    try:
        return cloud.compute.snapshots(ids=ids)
    except CloudError as error:
        if error.code != _NOT_SEEN:
            raise
    found = []
    for one in ids:
        try:
            found.append(cloud.compute.snapshot(one))
        except CloudError as error:
            if error.code != _NOT_SEEN:
                raise
    return found


def image_values(view: ImageView) -> dict[str, Any]:
    """Return all of an image as JSON has it: what DescribeImages says, and what belongs to it."""
    permissions = view.permissions
    return {
        **view.image.told,
        "Region": view.region,
        "IsOwn": view.is_own,
        "Snapshots": [one.told for one in view.snapshots],
        "LaunchPermissions": None
        if permissions is None
        else [{kind: value} for kind, value in permissions],
        "Sha256": view.sha256 or None,
        "Verdict": view.verdict or None,
    }
