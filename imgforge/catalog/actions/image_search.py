"""DescribeImages: owners, those who may launch, ids, filters, pages."""

import re
from typing import Any

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.image_row import (
    STATE,
    check_image_id,
    no_image,
    show_images,
    visible,
)
from imgforge.catalog.filters import Among, Chosen, Condition, Filterable, conditions, read_page
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session

_ACCOUNT = re.compile(r"[0-9]{12}")
_ALIASES = {"amazon", "aws-marketplace", "aws-backup-vault", "amazon-marketplace"}
_DEVICES = "SELECT 1 FROM block_devices b WHERE b.image_id = i.image_id"
_VOLUMES = f"{_DEVICES} AND b.has_ebs = 1"
_ENCRYPTED = (
    "SELECT 1 FROM block_devices b LEFT JOIN snapshots s USING (snapshot_id)"
    " WHERE b.image_id = i.image_id AND b.has_ebs = 1"
)
_CODES = "SELECT 1 FROM product_codes c WHERE c.image_id = i.image_id"


def truth(expression: str) -> str:
    """Return the expression of a truth value's name."""
    return f"CASE WHEN {expression} THEN 'true' ELSE 'false' END"


def _filterable(now_s: float) -> Filterable:
    nothing = "CAST(NULL AS TEXT)"
    return {
        "architecture": "i.architecture",
        "block-device-mapping.delete-on-termination": Among(
            _VOLUMES, truth("b.delete_on_termination")
        ),
        "block-device-mapping.device-name": Among(_DEVICES, "b.device_name"),
        "block-device-mapping.encrypted": Among(
            _ENCRYPTED, truth("coalesce(s.encrypted, b.encrypted, 0)")
        ),
        "block-device-mapping.snapshot-id": Chosen(
            "SELECT b.image_id FROM block_devices b WHERE b.has_ebs = 1", "b.snapshot_id"
        ),
        "block-device-mapping.volume-size": Among(_VOLUMES, "CAST(b.volume_size_gib AS TEXT)"),
        "block-device-mapping.volume-type": Among(_VOLUMES, "b.volume_type"),
        "creation-date": "i.creation_date",
        "description": "i.description",
        "ena-support": truth("i.ena_support"),
        "free-tier-eligible": truth("0"),
        "hypervisor": "'xen'",
        "image-allowed": truth("1"),
        "image-id": "i.image_id",
        "image-type": "i.image_type",
        "is-public": truth("i.public"),
        "kernel-id": "i.kernel_id",
        "manifest-location": "i.image_location",
        "name": "i.name",
        "owner-alias": "i.owner_alias",
        "owner-id": "i.owner_id",
        "platform": "i.platform",
        "product-code": Among(_CODES, "c.code"),
        "product-code.type": Among(_CODES, "c.type"),
        "public-ssm-parameter-name": nothing,
        "ramdisk-id": "i.ramdisk_id",
        "root-device-name": "i.root_device_name",
        "root-device-type": "i.root_device_type",
        "source-image-id": "i.source_image_id",
        "source-image-region": "i.source_image_region",
        "source-instance-id": "i.source_instance_id",
        "sriov-net-support": "i.sriov_net_support",
        "state": STATE.format(now=repr(now_s)),
        "state-reason-code": "i.state_reason_code",
        "state-reason-message": "i.state_reason_message",
        "virtualization-type": "i.virtualization_type",
        # What no image here has.
        **dict.fromkeys(_NOWHERE, nothing),
    }


_NOWHERE = (
    *(
        f"image-watermark.{name}"
        for name in (
            "source-image-creation-time",
            "source-image-id",
            "source-image-region",
            "watermark-creation-time",
            "watermark-key",
        )
    ),
    *(
        f"scan-result.{name}"
        for name in (
            "critical-fix-available-since",
            "finding-scan-date",
            "high-fix-available-since",
            "highest-finding-severity-label",
            "informational-fix-available-since",
            "low-fix-available-since",
            "medium-fix-available-since",
        )
    ),
)


@action("DescribeImages", Access.READ)
def describe_images(session: Session, parameters: Parameters) -> Result:
    """Return the images that a caller may see and asks for, the oldest first."""
    page = read_page(parameters, least=1, most=1000, ids="ImageIds")
    found = [
        Condition(*visible(session)),
        *_by_id(session, parameters),
        *_by_owner(session, parameters),
        *_by_launcher(session, parameters),
        *_by_age(session, parameters),
        *conditions(parameters, _filterable(session.now_s), resource_id="i.image_id"),
        *([Condition("+i.rowid > ?", (page.after,))] if page.after else []),
    ]
    where = " AND ".join(condition.text for condition in found)
    values: list[Any] = [value for condition in found for value in condition.values]
    limit = "" if page.size is None else f" LIMIT {page.size + 1}"
    # Only this room's own names are in the text; what is asked for are values.
    statement = f"SELECT i.rowid AS number, i.* FROM images i WHERE {where}"  # noqa: S608 (this room's names)
    # The + keeps SQLite from walking all images by that order: few are meant, mostly.
    rows = session.rows(f"{statement} ORDER BY +i.rowid{limit}", *values)
    result: Result = {}
    if page.size is not None and len(rows) > page.size:
        rows = rows[: page.size]
        result["NextToken"] = page.token(rows[-1]["number"])
    return {"Images": show_images(session, rows), **result}


def _by_id(session: Session, parameters: Parameters) -> list[Condition]:
    ids = list(dict.fromkeys(parameters.get("ImageIds", [])))
    if not ids:
        return []
    for image_id in ids:
        check_image_id(image_id)
    condition, values = visible(session)
    marks = ", ".join("?" * len(ids))
    known = {
        row["image_id"]
        for row in session.rows(
            f"SELECT i.image_id FROM images i WHERE {condition} AND i.image_id IN ({marks})",  # noqa: S608 (marks alone)
            *values,
            *ids,
        )
    }
    if absent := [image_id for image_id in ids if image_id not in known]:
        raise no_image(*absent)
    return [Condition(f"i.image_id IN ({marks})", tuple(ids))]


def _by_owner(session: Session, parameters: Parameters) -> list[Condition]:
    owners = parameters.get("Owners", [])
    if not owners:
        return []
    parts = []
    values = []
    for owner in owners:
        if owner in _ALIASES:
            parts.append("i.owner_alias = ?")
            values.append(owner)
        elif owner == "self" or _ACCOUNT.fullmatch(owner):
            parts.append("i.owner_id = ?")
            values.append(session.owner_id if owner == "self" else owner)
        else:
            raise RefusedError("InvalidUserID.Malformed", f'Invalid user id: "{owner[:100]}"')
    return [Condition(f"({' OR '.join(parts)})", tuple(values))]


def _by_launcher(session: Session, parameters: Parameters) -> list[Condition]:
    users = parameters.get("ExecutableUsers", [])
    if not users:
        return []
    parts = []
    values = []
    for user in users:
        if user == "all":
            parts.append("i.public = 1")
        elif user == "self" or _ACCOUNT.fullmatch(user):
            account = session.owner_id if user == "self" else user
            parts.append(  # the owner's own are not among them (Guide, "Finding Shared AMIs")
                "(i.owner_id <> ? AND EXISTS (SELECT 1 FROM launch_permissions p"
                " WHERE p.image_id = i.image_id AND p.kind = 'UserId' AND p.value = ?))"
            )
            values += [account, account]
        else:
            raise RefusedError("InvalidUserID.Malformed", f'Invalid user id: "{user[:100]}"')
    return [Condition(f"({' OR '.join(parts)})", tuple(values))]


def _by_age(session: Session, parameters: Parameters) -> list[Condition]:
    """Leave out what is deprecated, but for its owner or by its id; and what is disabled."""
    found = []
    if not parameters.get("IncludeDeprecated") and not parameters.get("ImageIds"):
        found.append(
            Condition(
                "(i.deprecation_time IS NULL OR i.deprecation_time > ? OR i.owner_id = ?)",
                (session.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"), session.owner_id),
            )
        )
    if parameters.get("IncludeDisabled") or parameters.get("ImageIds"):
        found.append(Condition("(i.state <> 'disabled' OR i.owner_id = ?)", (session.owner_id,)))
    else:
        found.append(Condition("i.state <> 'disabled'"))
    return found
