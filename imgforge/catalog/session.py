"""Who asks, of which region and when: what each of EC2's actions is told beside its parameters."""

import hashlib
import json
import re
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imgforge.catalog import records
from imgforge.catalog.bundle_facts import BundleFacts
from imgforge.catalog.contents import Contents
from imgforge.catalog.import_source import ImportSource
from imgforge.catalog.life_facts import FindKey, KeyFacts
from imgforge.catalog.refusal import RefusedError, invalid_value

Parameters = Mapping[str, Any]
Result = dict[str, Any]

AMAZON_ID = "137112412989"
"""The account behind the owner alias "amazon"."""
OWNER_ALIASES = {AMAZON_ID: "amazon", "679593333241": "aws-marketplace"}
"""Accounts that EC2 shows by a name; others cannot alias theirs."""

_DIGITS = "([0-9a-f]{8}|[0-9a-f]{17})"
_TAGGED_TYPES = {"image": "AMI", "snapshot": "snap", "volume": "vol"}
_MOST_TAGS = 50


@dataclass(frozen=True, slots=True)
class Session:
    """One request's: the database in a transaction of its own, and who asks.

    `regions` are those of the region's partition, the only ones that its accounts know.
    `pending_s` is how long what is made stays pending, `bundle` what is registered from S3 and
    `source` what is imported from there.
    Without `find_key` there is no KMS, and a key is a name.
    """

    connection: sqlite3.Connection
    folder: Path
    region: str
    owner_id: str
    now: datetime
    pending_s: float
    contents: Contents
    bundle: BundleFacts | None
    source: ImportSource | None
    regions: Sequence[str]
    find_key: FindKey | None = None

    def setting(self, name: str, default: str) -> str:
        """Return a setting of the account in the region."""
        row = self.row(
            "SELECT value FROM settings WHERE owner_id = ? AND region = ? AND name = ?",
            self.owner_id,
            self.region,
            name,
        )
        return default if row is None else str(row["value"])

    def set(self, name: str, value: str) -> None:
        """Change a setting of the account in the region."""
        statement = "INSERT OR REPLACE INTO settings VALUES (?, ?, ?, ?)"
        self.run(statement, self.owner_id, self.region, name, value)

    @property
    def encrypts(self) -> bool:
        """Whether what is made is encrypted where a request does not say (EBS User Guide)."""
        return self.setting("ebs-encryption-by-default", "false") == "true"

    @property
    def default_key(self) -> str:
        """The ARN of the key that is used where none is named."""
        own = KeyFacts.of_ebs(self.region, self.owner_id).arn
        return self.setting("ebs-default-key", own)

    @property
    def now_s(self) -> float:
        """Now, in seconds since 1970."""
        return self.now.timestamp()

    @property
    def ready_at_s(self) -> float:
        """When what is made now is no longer pending."""
        return self.now_s + self.pending_s

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Return what a statement finds."""
        return self.connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the first that a statement finds."""
        found: sqlite3.Row | None = self.connection.execute(statement, values).fetchone()
        return found

    def run(self, statement: str, *values: Any) -> int:
        """Change rows; return how many."""
        return self.connection.execute(statement, values).rowcount

    def insert(self, table: str, values: Mapping[str, records.Value]) -> None:
        """Write a row."""
        records.insert(self.connection, table, values)

    def tags_of(self, ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
        """Return the tags of resources, as EC2 shows them, by their ids."""
        found: dict[str, list[dict[str, str]]] = {one: [] for one in ids}
        for row in rows_of_ids(
            self, "SELECT * FROM tags WHERE resource_id IN ({}) ORDER BY key", ids
        ):
            found[row["resource_id"]].append({"Key": row["key"], "Value": row["value"]})
        return found


def rows_of_ids(session: Session, statement: str, ids: Sequence[str]) -> Iterable[sqlite3.Row]:
    """Yield what a statement finds, which has {} for a list of ids; at most 500 at a time."""
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        yield from session.rows(statement.format(", ".join("?" * len(some))), *some)


def new_id(prefix: str) -> str:
    """Return a new id: the prefix and 17 hexadecimal digits."""
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


def check_id(value: str, *, prefix: str, code: str) -> None:
    """Refuse what cannot be an id, with EC2's code for it, as InvalidAMIID.Malformed."""
    if not re.fullmatch(f"({prefix})-{_DIGITS}", value):
        expected = prefix.partition("|")[0]
        raise RefusedError(code, f'Invalid id: "{value[:100]}" (expecting "{expected}-...")')


def iso(moment: datetime) -> str:
    """Return a time as EC2 writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def iso_of_s(seconds: float) -> str:
    """Return a time as EC2 writes it, of seconds since 1970."""
    return iso(datetime.fromtimestamp(seconds, UTC))


def requested_tags(parameters: Parameters, *allowed: str) -> dict[str, dict[str, str]]:
    """Return the tags of a request's TagSpecifications, by resource type.

    Raises RefusedError for a type that the action does not make, or tags that break a rule.
    """
    found: dict[str, dict[str, str]] = {kind: {} for kind in allowed}
    seen = set()
    for specification in parameters.get("TagSpecifications", []):
        kind = specification.get("ResourceType", "")
        if kind not in allowed:
            raise invalid_value(
                kind, "ResourceType", why=f"It must be one of {', '.join(allowed)} here."
            )
        if kind in seen:
            raise RefusedError(
                "InvalidParameterValue", f"Tag specification for {kind} is given twice"
            )
        seen.add(kind)
        found[kind] = read_tags(specification.get("Tags", []))
    return found


def read_tags(listed: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return tags of their list; raise RefusedError for those that break a rule (EC2: Tags)."""
    found: dict[str, str] = {}
    for tag in listed:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        check_tag(key, value)
        if key in found:
            raise RefusedError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        found[key] = value
    if len(found) > _MOST_TAGS:
        raise RefusedError("TagLimitExceeded", f"The maximum number of tags is {_MOST_TAGS}.")
    return found


def check_tag(key: str, value: str) -> None:
    """Refuse a tag that breaks a rule."""
    if not key:
        raise RefusedError("InvalidParameterValue", "Tag key cannot be null or empty.")
    if len(key) > 128:
        raise invalid_value(key, "Key", why="Tag keys have at most 128 characters.")
    if key.lower().startswith("aws:"):
        raise RefusedError(
            "InvalidParameterValue",
            f"Tag keys starting with 'aws:' are reserved for internal use: {key}",
        )
    if len(value) > 256:
        raise invalid_value(value, "Value", why="Tag values have at most 256 characters.")


def request_sha256(parameters: Parameters) -> str:
    """Return a digest of a request, without its token: equal requests have one."""
    asked = {name: value for name, value in parameters.items() if name != "ClientToken"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
