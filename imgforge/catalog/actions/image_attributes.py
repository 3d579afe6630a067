"""ModifyImageAttribute, DescribeImageAttribute and ResetImageAttribute."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from imgforge.catalog.actions.account_settings import check_images_may_be_public
from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.facts import image_facts
from imgforge.catalog.actions.image_row import own_image, protection
from imgforge.catalog.life_facts import Permission, ShareWish
from imgforge.catalog.life_rules import check_product_codes, check_share
from imgforge.catalog.refusal import RefusedError, combination, invalid_value
from imgforge.catalog.rules import refuse_as_ec2
from imgforge.catalog.session import Parameters, Result, Session

_MODIFIED = ("Description", "LaunchPermission", "ImdsSupport")
_PLAIN = ("OperationType", "UserGroups", "UserIds", "OrganizationArns", "OrganizationalUnitArns")
_KINDS = ("Group", "UserId", "OrganizationArn", "OrganizationalUnitArn")


@action("ModifyImageAttribute")
def modify_image_attribute(session: Session, parameters: Parameters) -> Result:
    """Change one attribute: the description, launch permissions, product codes or IMDSv2."""
    row = own_image(session, parameters["ImageId"])
    asked = _asked(parameters)
    value = parameters.get("Value")
    match asked:
        case "description":
            new = parameters.get("Description", {}).get("Value", value)
            _set_description(session, row, new)
        case "launchPermission":
            add, remove = _permission_changes(parameters)
            _change_permissions(session, row, add=add, remove=remove)
        case "productCodes":
            _add_codes(session, row, parameters.get("ProductCodes") or ([value] if value else []))
        case "imdsSupport":
            new = parameters.get("ImdsSupport", {}).get("Value", value)
            if new != "v2.0":
                raise invalid_value(new, "ImdsSupport", why="Only v2.0 can be set.")
            session.run(
                "UPDATE images SET imds_support = 'v2.0' WHERE image_id = ?", row["image_id"]
            )
        case _:
            raise combination(f"The attribute {asked[:100]} cannot be modified.")
    return {}


def _asked(parameters: Parameters) -> str:
    """Return the one attribute that a request changes."""
    found = {f"{name[0].lower()}{name[1:]}" for name in _MODIFIED if name in parameters}
    if any(name in parameters for name in _PLAIN):
        found.add("launchPermission")
    if "ProductCodes" in parameters:
        found.add("productCodes")
    named = parameters.get("Attribute")
    if named is not None:
        found.add(named)
    if not found:
        raise combination("No attributes specified.")
    if len(found) > 1:
        raise combination("Only one attribute can be modified at a time.")
    return found.pop()


def _set_description(session: Session, row: sqlite3.Row, value: str | None) -> None:
    if value is None:
        raise RefusedError(
            "MissingParameter", "The request must contain the parameter Description.Value"
        )
    if len(value) > 255:
        raise invalid_value(value[:40] + "…", "description", why="At most 255 characters.")
    session.run("UPDATE images SET description = ? WHERE image_id = ?", value, row["image_id"])


def _permission_changes(parameters: Parameters) -> tuple[list[Permission], list[Permission]]:
    """Return whom to let launch and whom no longer."""
    given = parameters.get("LaunchPermission", {})
    add = [pair for one in given.get("Add", []) for pair in _pairs(one)]
    remove = [pair for one in given.get("Remove", []) for pair in _pairs(one)]
    plain = _plain_permissions(parameters)
    operation = parameters.get("OperationType")
    if plain or operation is not None:
        if add or remove:
            raise combination("LaunchPermission cannot be used with OperationType.")
        if operation is None or not plain:
            raise combination("OperationType needs users, groups or organizations, and they it.")
        add, remove = (plain, []) if operation == "add" else ([], plain)
    return add, remove


def _plain_permissions(parameters: Parameters) -> list[Permission]:
    lists = zip(_KINDS, ("UserGroups", "UserIds", *_PLAIN[3:]), strict=True)
    return [(kind, value) for kind, name in lists for value in parameters.get(name, [])]


def _pairs(given: Mapping[str, str]) -> list[Permission]:
    if len(given) != 1:
        raise combination("A launch permission names one user, group or organization.")
    return list(given.items())


def _change_permissions(
    session: Session,
    row: sqlite3.Row,
    *,
    add: Sequence[Permission],
    remove: Sequence[Permission],
) -> None:
    image_id = row["image_id"]
    wish = ShareWish(add=add, remove=remove)
    refuse_as_ec2(check_share(image_facts(session, row), wish))
    if any(kind == "Group" for kind, _ in add):
        check_images_may_be_public(session)
    for kind, value in add:
        session.run(
            "INSERT OR IGNORE INTO launch_permissions VALUES (?, ?, ?)", image_id, kind, value
        )
    for kind, value in remove:
        session.run(
            "DELETE FROM launch_permissions WHERE image_id = ? AND kind = ? AND value = ?",
            image_id,
            kind,
            value,
        )
    session.run(
        "UPDATE images SET public = EXISTS (SELECT 1 FROM launch_permissions p"
        " WHERE p.image_id = images.image_id AND p.kind = 'Group') WHERE image_id = ?",
        image_id,
    )


def _add_codes(session: Session, row: sqlite3.Row, codes: Sequence[str]) -> None:
    """Put a product code to an image, for good (Guide: "Paid AMIs")."""
    image_id = row["image_id"]
    if not codes:
        raise RefusedError("MissingParameter", "The request must contain the parameter ProductCode")
    refuse_as_ec2(check_product_codes(image_facts(session, row), codes))
    for code in codes:
        session.run(
            "INSERT OR IGNORE INTO product_codes VALUES (?, ?, ?)", image_id, code, "marketplace"
        )


@action("ResetImageAttribute")
def reset_image_attribute(session: Session, parameters: Parameters) -> Result:
    """Take back all launch permissions."""
    row = own_image(session, parameters["ImageId"])
    session.run("DELETE FROM launch_permissions WHERE image_id = ?", row["image_id"])
    session.run("UPDATE images SET public = 0 WHERE image_id = ?", row["image_id"])
    return {}


@action("DescribeImageAttribute", Access.READ)
def describe_image_attribute(session: Session, parameters: Parameters) -> Result:
    """Return one attribute of an image of the caller's."""
    row = own_image(session, parameters["ImageId"])
    image_id = row["image_id"]
    plain = {
        "description": ("Description", row["description"] or None),
        "kernel": ("KernelId", row["kernel_id"]),
        "ramdisk": ("RamdiskId", row["ramdisk_id"]),
        "sriovNetSupport": ("SriovNetSupport", row["sriov_net_support"]),
        "bootMode": ("BootMode", row["boot_mode"]),
        "tpmSupport": ("TpmSupport", row["tpm_support"]),
        "uefiData": ("UefiData", row["uefi_data"]),
        "lastLaunchedTime": ("LastLaunchedTime", None),
        "imdsSupport": ("ImdsSupport", row["imds_support"]),
        "deregistrationProtection": ("DeregistrationProtection", protection(session, row)),
    }
    result: dict[str, Any] = {"ImageId": image_id}
    match parameters["Attribute"]:
        case "launchPermission":
            found = session.rows(
                "SELECT kind, value FROM launch_permissions WHERE image_id = ? ORDER BY rowid",
                image_id,
            )
            result["LaunchPermissions"] = [{one["kind"]: one["value"]} for one in found]
        case "productCodes":
            found = session.rows(
                "SELECT code, type FROM product_codes WHERE image_id = ? ORDER BY code", image_id
            )
            result["ProductCodes"] = [
                {"ProductCodeId": one["code"], "ProductCodeType": one["type"]} for one in found
            ]
        case "blockDeviceMapping":  # EC2 API: "deprecated. Using this attribute returns …"
            raise RefusedError(
                "AuthFailure", "Unauthorized attempt to access restricted resource", status=403
            )
        case name:
            member, value = plain[name]
            result[member] = {} if value is None else {"Value": value}
    return result
