"""CreateImage: an image of an instance. There are none yet: this is their place."""

import sqlite3

from imgforge.catalog.actions.action import action
from imgforge.catalog.actions.images import taken_by
from imgforge.catalog.life_rules import check_name_is_free
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.rules import check_texts, refuse_as_ec2
from imgforge.catalog.session import Parameters, Result, Session, check_id, requested_tags


@action("CreateImage")
def create_image(session: Session, parameters: Parameters) -> Result:
    """Make an image of an instance and of its volumes' snapshots."""
    requested_tags(parameters, "image", "snapshot")
    name, description = parameters["Name"], parameters.get("Description", "")
    refuse_as_ec2(check_texts(name, description))
    refuse_as_ec2(check_name_is_free(name, taken_by(session, name)))
    instance = _instance(session, parameters["InstanceId"])
    raise RefusedError("IncorrectInstanceState", f"The instance '{instance}' cannot be imaged.")


def _instance(session: Session, instance_id: str) -> sqlite3.Row:
    """Return the row of an instance of the caller's. No table has any: nothing runs here yet."""
    check_id(instance_id, prefix="i", code="InvalidInstanceID.Malformed")
    raise RefusedError(
        "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist"
    )
