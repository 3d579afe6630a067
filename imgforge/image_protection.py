"""An image's protection against being deregistered, its deprecation, and its tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from imgforge.ec2 import Cloud, Image
from imgforge.errors import BadInputError
from imgforge.image_lookup import look_at_own_image
from imgforge.made_tags import check_key

_MOST_YEARS = 10
_MOST_YEARS_PUBLIC = 2
_DISABLED = "disabled"
_ENABLED = "enabled"
_COOLING = "enabled-with-cooldown"


@dataclass(frozen=True, slots=True)
class Protection:
    """How an image is protected, in EC2's words, such as enabled-with-cooldown."""

    image_id: str
    state: str

    @property
    def holds(self) -> bool:
        """Whether it keeps the image from being deregistered now."""
        return self.state != _DISABLED


def protect(cloud: Cloud, image_id: str, *, with_cooldown: bool = False) -> Protection:
    """Protect an image; with a cooldown the protection lasts a day longer than it is taken off."""
    view = look_at_own_image(cloud, image_id)
    wanted = _COOLING if with_cooldown else _ENABLED
    if _protection(view.image) != wanted:
        asked = {"ImageId": image_id, "WithCooldown": with_cooldown}
        cloud.compute.ask(f"Image {image_id}", "EnableImageDeregistrationProtection", asked)
    return Protection(image_id, _protection(cloud.compute.image(image_id)))


def unprotect(cloud: Cloud, image_id: str) -> Protection:
    """Take an image's protection off; with a cooldown it still holds for a day."""
    view = look_at_own_image(cloud, image_id)
    if _protection(view.image).startswith(_ENABLED):
        asked = {"ImageId": image_id}
        cloud.compute.ask(f"Image {image_id}", "DisableImageDeregistrationProtection", asked)
    return Protection(image_id, _protection(cloud.compute.image(image_id)))


def deprecate(cloud: Cloud, image_id: str, at: datetime | None) -> str:
    """Let an image be deprecated from a time on, or never; return the time as EC2 tells it.

    Others then find it only by its id. Raises BadInputError for a time that EC2 does not take.
    """
    view = look_at_own_image(cloud, image_id)
    what = f"Image {image_id}"
    if at is None:
        if view.image.text("DeprecationTime"):
            cloud.compute.ask(what, "DisableImageDeprecation", {"ImageId": image_id})
        return ""
    now = datetime.now(UTC)
    most = _MOST_YEARS_PUBLIC if view.image.is_public else _MOST_YEARS
    if not now < at <= now + timedelta(days=366 * most):
        kind = "a public image" if view.image.is_public else "an image"
        raise BadInputError(
            f"{what}: cannot be deprecated at {at.isoformat()}: {kind} can be from now on and "
            f"within {most} years (EC2 API, EnableImageDeprecation)."
        )
    cloud.compute.ask(what, "EnableImageDeprecation", {"ImageId": image_id, "DeprecateAt": at})
    return cloud.compute.image(image_id).text("DeprecationTime")


def read_moment(text: str) -> datetime:
    """Return a time of a day or a moment in ISO 8601; without a zone it is UTC's."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInputError(
            f"Time {text!r}: is none; ISO 8601 is needed.",
            hint="As in 2027-01-31 or 2027-01-31T12:00:00Z.",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def change_tags(
    cloud: Cloud, resource_id: str, *, put: Mapping[str, str], remove: Sequence[str]
) -> None:
    """Give a resource tags and take others from it. Raises BadInputError where both name one."""
    if both := sorted(set(put) & set(remove)):
        raise BadInputError(f"Tag {both[0]!r}: is given and removed at once.")
    if not put and not remove:
        raise BadInputError(
            f"Tags of {resource_id}: none is given.",
            hint="KEY=VALUE gives one, --remove KEY takes one.",
        )
    for key in remove:
        check_key(key)
    if put:
        cloud.compute.tag([resource_id], put)
    if remove:
        cloud.compute.untag([resource_id], list(remove))


def _protection(image: Image) -> str:
    return image.text("DeregistrationProtection") or _DISABLED
