"""CreateTags, DeleteTags and DescribeTags."""

import re

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.filters import conditions, read_page
from imgforge.catalog.records import insert_tags
from imgforge.catalog.refusal import RefusedError, missing
from imgforge.catalog.session import Parameters, Result, Session, check_tag, read_tags

_MOST_TAGS = 50
_MOST_RESOURCES = 1000
_ID = re.compile(r"([a-z]{3,20})-([0-9a-f]{8}|[0-9a-f]{17})")
# By the prefix of its ids: table, name of the id, EC2's word in errors, and its resource type.
_TABLES = {
    "ami": ("images", "image_id", "InvalidAMIID", "image"),
    "aki": ("images", "image_id", "InvalidAMIID", "image"),
    "snap": ("snapshots", "snapshot_id", "InvalidSnapshot", "snapshot"),
    "vol": ("volumes", "volume_id", "InvalidVolume", "volume"),
}
_GONE = ("deregistered", "deleted")
_TYPE = (
    "CASE WHEN t.resource_id LIKE 'snap-%' THEN 'snapshot'"
    " WHEN t.resource_id LIKE 'vol-%' THEN 'volume' ELSE 'image' END"
)
_OWNED = (
    "(t.resource_id IN (SELECT image_id FROM images WHERE owner_id = ? AND region = ?"
    " AND state <> 'deregistered') OR t.resource_id IN (SELECT snapshot_id FROM snapshots"
    " WHERE owner_id = ? AND region = ? AND state <> 'deleted') OR t.resource_id IN"
    " (SELECT volume_id FROM volumes WHERE owner_id = ? AND region = ? AND state <> 'deleted'))"
)


@action("CreateTags")
def create_tags(session: Session, parameters: Parameters) -> Result:
    """Put tags to resources; a tag of the same key is replaced. All of them or none."""
    tags = read_tags(parameters.get("Tags", []))
    if not tags:
        raise missing("Tag")
    for resource_id in _resources(session, parameters):
        insert_tags(session.connection, resource_id, tags)
        (found,) = session.rows("SELECT count(*) FROM tags WHERE resource_id = ?", resource_id)
        if found[0] > _MOST_TAGS:
            raise RefusedError("TagLimitExceeded", f"The maximum number of tags is {_MOST_TAGS}.")
    return {}


@action("DeleteTags")
def delete_tags(session: Session, parameters: Parameters) -> Result:
    """Take tags from resources: by key, by key and value, or all of them."""
    tags = parameters.get("Tags")
    for tag in tags or []:
        check_tag(tag.get("Key", ""), tag.get("Value", ""))
    for resource_id in _resources(session, parameters):
        if not tags:
            session.run("DELETE FROM tags WHERE resource_id = ?", resource_id)
        for tag in tags or []:
            session.run(
                "DELETE FROM tags WHERE resource_id = ? AND key = ? AND value = coalesce(?, value)",
                resource_id,
                tag["Key"],
                tag.get("Value"),
            )
    return {}


def _resources(session: Session, parameters: Parameters) -> list[str]:
    ids = list(dict.fromkeys(parameters.get("Resources", [])))
    if not ids:
        raise missing("ResourceId")
    if len(ids) > _MOST_RESOURCES:
        raise RefusedError(
            "InvalidParameterValue", f"At most {_MOST_RESOURCES} resources can be tagged at once."
        )
    for resource_id in ids:
        match = _ID.fullmatch(resource_id)
        known = _TABLES.get(match[1]) if match else None
        if known is None:
            raise RefusedError("InvalidID", f"The ID '{resource_id[:100]}' is not valid")
        table, column, word, _ = known
        row = session.row(f"SELECT * FROM {table} WHERE {column} = ?", resource_id)  # noqa: S608 (this module's names)
        if row is None or row["region"] != session.region or row["state"] in _GONE:
            message = f"The {known[3]} ID '{resource_id}' does not exist"
            raise RefusedError(f"{word}.NotFound", message)
        if row["owner_id"] != session.owner_id:
            raise RefusedError(
                "UnauthorizedOperation", f"Not authorized for {resource_id}", status=403
            )
    return ids


@action("DescribeTags", Access.READ)
def describe_tags(session: Session, parameters: Parameters) -> Result:
    """Return the tags of the caller's resources in its region."""
    page = read_page(parameters, least=5, most=1000)
    filterable = {
        "key": "t.key",
        "resource-id": "t.resource_id",
        "resource-type": _TYPE,
        "value": "t.value",
    }
    found = conditions(parameters, filterable, resource_id="")
    where = "".join(f" AND {one.text}" for one in found)
    limit = "" if page.size is None else f" LIMIT {page.size + 1}"
    rows = session.rows(
        f"SELECT t.rowid AS number, t.*, {_TYPE} AS type FROM tags t"  # noqa: S608 (this room's names)
        f" WHERE {_OWNED}{where} AND t.rowid > ? ORDER BY t.rowid{limit}",
        *(session.owner_id, session.region) * 3,
        *(value for one in found for value in one.values),
        page.after,
    )
    result: Result = {}
    if page.size is not None and len(rows) > page.size:
        rows = rows[: page.size]
        result["NextToken"] = page.token(rows[-1]["number"])
    shown = [
        {
            "Key": row["key"],
            "ResourceId": row["resource_id"],
            "ResourceType": row["type"],
            "Value": row["value"],
        }
        for row in rows
    ]
    return {"Tags": shown, **result}
