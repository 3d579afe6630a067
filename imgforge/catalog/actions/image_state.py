"""Deprecation, deregistration protection, and images that are disabled."""

from datetime import timedelta

from imgforge.catalog.actions.action import action
from imgforge.catalog.actions.image_row import own_image
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session, iso

_MOST_YEARS = 10
_COOLDOWN_S = 24 * 3600


@action("EnableImageDeprecation")
def enable_image_deprecation(session: Session, parameters: Parameters) -> Result:
    """Let an image be deprecated from a time on, which is rounded to the minute."""
    row = own_image(session, parameters["ImageId"])
    at = parameters["DeprecateAt"]
    if at <= session.now:
        raise RefusedError(
            "InvalidParameterValue", "DeprecateAt must be a date and time in the future."
        )
    most = _MOST_YEARS if not row["public"] else 2
    if at > session.now + timedelta(days=366 * most):
        raise RefusedError(
            "InvalidParameterValue", f"DeprecateAt must be within {most} years from now."
        )
    rounded = (at + timedelta(seconds=30)).replace(second=0, microsecond=0)
    _set(session, row["image_id"], "deprecation_time", iso(rounded))
    return {"Return": True}


@action("DisableImageDeprecation")
def disable_image_deprecation(session: Session, parameters: Parameters) -> Result:
    """Let an image be deprecated no longer."""
    _set(session, own_image(session, parameters["ImageId"])["image_id"], "deprecation_time", None)
    return {"Return": True}


@action("EnableImageDeregistrationProtection")
def enable_protection(session: Session, parameters: Parameters) -> Result:
    """Protect an image from being deregistered."""
    row = own_image(session, parameters["ImageId"])
    how = "enabled-with-cooldown" if parameters.get("WithCooldown") else "enabled"
    _set(session, row["image_id"], "protection", how)
    return {"Return": "true"}


@action("DisableImageDeregistrationProtection")
def disable_protection(session: Session, parameters: Parameters) -> Result:
    """End an image's protection; with a cooldown it lasts a day longer."""
    row = own_image(session, parameters["ImageId"])
    if row["protection"] == "enabled-with-cooldown":
        _set(session, row["image_id"], "protected_until_s", session.now_s + _COOLDOWN_S)
    _set(session, row["image_id"], "protection", "disabled")
    return {"Return": "true"}


@action("DisableImage")
def disable_image(session: Session, parameters: Parameters) -> Result:
    """Disable an image: it is no longer public or shared, and none is launched from it."""
    row = own_image(session, parameters["ImageId"])
    session.run("DELETE FROM launch_permissions WHERE image_id = ?", row["image_id"])
    session.run(
        "UPDATE images SET state = 'disabled', public = 0 WHERE image_id = ?", row["image_id"]
    )
    return {"Return": True}


@action("EnableImage")
def enable_image(session: Session, parameters: Parameters) -> Result:
    """Enable a disabled image again; whom it was shared with is not told."""
    row = own_image(session, parameters["ImageId"])
    if row["state"] == "disabled":
        _set(session, row["image_id"], "state", "available")
    return {"Return": True}


def _set(session: Session, image_id: str, column: str, value: str | float | None) -> None:
    statement = f"UPDATE images SET {column} = ? WHERE image_id = ?"  # noqa: S608 (this module's names)
    session.run(statement, value, image_id)
