"""Recycle Bin's rules: how long what is deleted of a kind, or of a tag, is kept (rbin API)."""

import json
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.filters import read_page
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session, iso_of_s

_LETTERS = string.ascii_letters + string.digits
_DAY_S = 24 * 3600.0
_MOST_RULES = 250
_LOCK_DAYS = (7, 30)
# Recycle Bin API, RetentionPeriod, for snapshots and images: botocore's model lets ten years pass.
_RETENTION_DAYS = (1, 365)
_SUMMARY = ("Identifier", "Description", "RetentionPeriod", "LockState", "RuleArn")
_CHOSEN = ("ResourceTags", "ExcludeResourceTags")
Rule = dict[str, Any]


@action("CreateRule")
def create_rule(session: Session, parameters: Parameters) -> Result:
    """Make a rule."""
    _check_choice(parameters)
    (made,) = session.rows(
        "SELECT count(*) FROM recycle_rules WHERE owner_id = ? AND region = ?",
        session.owner_id,
        session.region,
    )
    if made[0] >= _MOST_RULES:
        raise RefusedError(
            "ServiceQuotaExceededException", f"{_MOST_RULES} rules are there.", status=402
        )
    identifier = "".join(secrets.choice(_LETTERS) for _ in range(11))
    rule: Rule = {
        "Identifier": identifier,
        "Description": parameters.get("Description", ""),
        "ResourceType": parameters["ResourceType"],
        "RetentionPeriod": parameters["RetentionPeriod"],
        "ResourceTags": parameters.get("ResourceTags", []),
        "ExcludeResourceTags": parameters.get("ExcludeResourceTags", []),
        "Tags": parameters.get("Tags", []),
        "LockState": "unlocked",
        "RuleArn": f"arn:aws:rbin:{session.region}:{session.owner_id}:rule/{identifier}",
    }
    if "LockConfiguration" in parameters:
        _lock(rule, parameters["LockConfiguration"])
    session.insert(
        "recycle_rules",
        {
            "identifier": identifier,
            "owner_id": session.owner_id,
            "region": session.region,
            "resource_type": rule["ResourceType"],
            "rule_json": json.dumps(rule),
        },
    )
    return {**_shown(session, rule), "Tags": rule["Tags"]}


def _check_choice(parameters: Parameters) -> None:
    if parameters.get("ResourceTags") and parameters.get("ExcludeResourceTags"):
        raise RefusedError(
            "ValidationException", "ResourceTags and ExcludeResourceTags exclude each other."
        )
    days = parameters["RetentionPeriod"]["RetentionPeriodValue"]
    least, most = _RETENTION_DAYS
    if not least <= days <= most:
        raise RefusedError(
            "ValidationException", f"RetentionPeriodValue must be {least} to {most} days."
        )


def _lock(rule: Rule, configuration: Mapping[str, Any]) -> None:
    if rule["ResourceTags"]:
        raise RefusedError("ValidationException", "Only rules of a whole region can be locked.")
    days = configuration["UnlockDelay"]["UnlockDelayValue"]
    if not _LOCK_DAYS[0] <= days <= _LOCK_DAYS[1]:
        raise RefusedError("ValidationException", "UnlockDelayValue must be 7 to 30 days.")
    rule.update(LockConfiguration=dict(configuration), LockState="locked", LockEndTime=None)


def _find(session: Session, identifier: str) -> Rule:
    row = session.row(
        "SELECT rule_json FROM recycle_rules WHERE identifier = ? AND owner_id = ? AND region = ?",
        identifier,
        session.owner_id,
        session.region,
    )
    if row is None:
        raise RefusedError(
            "ResourceNotFoundException",
            f"The rule {identifier} was not found.",
            status=404,
            reason="RULE_NOT_FOUND",
        )
    rule: Rule = json.loads(row["rule_json"])
    end_s = rule.get("LockEndTime")
    if end_s is not None and end_s <= session.now_s:
        rule["LockState"] = "unlocked"
    return rule


def _find_by_arn(session: Session, arn: str) -> Rule:
    return _find(session, arn.rpartition("/")[2])


def _keep(session: Session, rule: Rule) -> None:
    session.run(
        "UPDATE recycle_rules SET rule_json = ?, resource_type = ? WHERE identifier = ?",
        json.dumps(rule),
        rule["ResourceType"],
        rule["Identifier"],
    )


def _shown(_session: Session, rule: Rule) -> Result:
    shown = {name: value for name, value in rule.items() if name != "Tags" and value is not None}
    if "LockEndTime" in shown:
        shown["LockEndTime"] = iso_of_s(shown["LockEndTime"])
    return {**shown, "Status": "available"}


def _require_unlocked(rule: Rule) -> None:
    if rule["LockState"] != "unlocked":
        raise RefusedError(
            "ConflictException",
            f"The rule {rule['Identifier']} is locked.",
            status=409,
            reason="INVALID_RULE_STATE",
        )


@action("GetRule", Access.READ)
def get_rule(session: Session, parameters: Parameters) -> Result:
    """Return a rule."""
    return _shown(session, _find(session, parameters["Identifier"]))


@action("ListRules", Access.READ)
def list_rules(session: Session, parameters: Parameters) -> Result:
    """Return the rules of a kind, a page of them."""
    page = read_page(parameters, least=1, most=1000)
    rows = session.rows(
        "SELECT rowid AS number, identifier FROM recycle_rules WHERE owner_id = ? AND region = ?"  # noqa: S608 (a number)
        f" AND resource_type = ? AND rowid > ? ORDER BY rowid{page.limit}",
        session.owner_id,
        session.region,
        parameters["ResourceType"],
        page.after,
    )
    rows, result = page.cut(rows)
    rules = [_find(session, row["identifier"]) for row in rows]
    for name in _CHOSEN:
        for tag in parameters.get(name, []):
            rules = [rule for rule in rules if any(_fits(one, tag) for one in rule[name])]
    state = parameters.get("LockState")
    shown = [
        {name: rule[name] for name in _SUMMARY}
        for rule in rules
        if state in {None, rule["LockState"]}
    ]
    return {"Rules": shown, **result}


def _fits(tag: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    value = wanted.get("ResourceTagValue")
    same = tag.get("ResourceTagKey") == wanted.get("ResourceTagKey")
    return same and value in {None, tag.get("ResourceTagValue")}


@action("UpdateRule")
def update_rule(session: Session, parameters: Parameters) -> Result:
    """Change a rule."""
    rule = _find(session, parameters["Identifier"])
    _require_unlocked(rule)
    if parameters.get("ResourceType", rule["ResourceType"]) != rule["ResourceType"]:
        raise RefusedError("ValidationException", "The resource type of a rule stays as it is.")
    for name in ("Description", "RetentionPeriod", *_CHOSEN):
        if name in parameters:
            rule[name] = parameters[name]
    _check_choice(rule)
    _keep(session, rule)
    shown = _shown(session, rule)
    shown.pop("LockConfiguration", None)
    return shown


@action("DeleteRule")
def delete_rule(session: Session, parameters: Parameters) -> Result:
    """Delete a rule; what it keeps already stays as long as it said."""
    rule = _find(session, parameters["Identifier"])
    _require_unlocked(rule)
    session.run("DELETE FROM recycle_rules WHERE identifier = ?", rule["Identifier"])
    return {}


@action("LockRule")
def lock_rule(session: Session, parameters: Parameters) -> Result:
    """Lock a rule: it is changed by nobody."""
    rule = _find(session, parameters["Identifier"])
    _require_unlocked(rule)
    _lock(rule, parameters["LockConfiguration"])
    _keep(session, rule)
    return _shown(session, rule)


@action("UnlockRule")
def unlock_rule(session: Session, parameters: Parameters) -> Result:
    """Begin to unlock a rule, which takes the days that were said when it was locked."""
    rule = _find(session, parameters["Identifier"])
    if rule["LockState"] != "locked":
        raise RefusedError("ConflictException", "The rule is not locked.", status=409)
    days = rule["LockConfiguration"]["UnlockDelay"]["UnlockDelayValue"]
    rule.update(LockState="pending_unlock", LockEndTime=session.now_s + days * _DAY_S)
    _keep(session, rule)
    return _shown(session, rule)


@action("ListTagsForResource", Access.READ)
def list_tags(session: Session, parameters: Parameters) -> Result:
    """Return a rule's own tags."""
    return {"Tags": _find_by_arn(session, parameters["ResourceArn"])["Tags"]}


@action("TagResource")
def tag_rule(session: Session, parameters: Parameters) -> Result:
    """Put tags to a rule."""
    rule = _find_by_arn(session, parameters["ResourceArn"])
    tags = {tag["Key"]: tag for tag in (*rule["Tags"], *parameters["Tags"])}
    rule["Tags"] = list(tags.values())
    _keep(session, rule)
    return {}


@action("UntagResource")
def untag_rule(session: Session, parameters: Parameters) -> Result:
    """Take tags from a rule."""
    rule = _find_by_arn(session, parameters["ResourceArn"])
    rule["Tags"] = [tag for tag in rule["Tags"] if tag["Key"] not in parameters["TagKeys"]]
    _keep(session, rule)
    return {}


def kept_until_s(session: Session, kind: str, resource_id: str) -> float | None:
    """Return until when a resource that is deleted now is kept; None where no rule keeps it.

    Of several rules the longest counts (EBS User Guide, "Recycle Bin": how retention rules work).
    """
    rows = session.rows(
        "SELECT rule_json FROM recycle_rules WHERE owner_id = ? AND region = ?"
        " AND resource_type = ?",
        session.owner_id,
        session.region,
        kind,
    )
    if not rows:
        return None
    tags = session.tags_of([resource_id])[resource_id]
    days = [
        int(rule["RetentionPeriod"]["RetentionPeriodValue"])
        for rule in (json.loads(row["rule_json"]) for row in rows)
        if _is_meant(rule, tags)
    ]
    return session.now_s + max(days) * _DAY_S if days else None


def _is_meant(rule: Rule, tags: Sequence[Mapping[str, str]]) -> bool:
    if rule["ResourceTags"]:
        return any(_has(tags, wanted) for wanted in rule["ResourceTags"])
    return not any(_has(tags, wanted) for wanted in rule["ExcludeResourceTags"])


def _has(tags: Sequence[Mapping[str, str]], wanted: Mapping[str, str]) -> bool:
    value = wanted.get("ResourceTagValue")
    return any(
        tag["Key"] == wanted["ResourceTagKey"] and value in {None, "", tag["Value"]} for tag in tags
    )
