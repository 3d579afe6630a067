"""EC2's query protocol, read: a form's fields become an operation's parameters.

Source: botocore's ec2 model, and botocore.serialize.EC2Serializer, which writes what is read here.
"""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from imgforge.catalog import RefusedError
from imgforge.ec2.local.operations import API_VERSION

_MOST_FIELDS = 10_000
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INDEX = re.compile(r"[1-9][0-9]{0,4}")
_FLOAT = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# How the lengths of these are checked, and with which error, the rules of registering say.
_TEXTS = {"Name", "Description"}
_RULED = {"RegisterImage": _TEXTS, "CopyImage": _TEXTS, "CreateImage": _TEXTS}
_COMMON = {"Action", "Version"}

Tree = dict[str, Any]


def read_fields(body: bytes) -> dict[str, str]:
    """Return the fields of an urlencoded form. Raises RefusedError where it is none."""
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise RefusedError(
            "MalformedQueryString", "The query string contains a syntax error."
        ) from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise RefusedError("InvalidQueryParameter", f"The parameter {name} is given twice.")
        fields[name] = value
    return fields


def check_version(fields: dict[str, str]) -> None:
    """Refuse a request for another version of the API than the one there is, or for none.

    EC2 API, Common query parameters: Version is required.
    """
    version = fields.get("Version", "")
    if not version:
        raise RefusedError("MissingParameter", "The request must contain the parameter Version")
    if version != API_VERSION:
        raise RefusedError(
            "NoSuchVersion",
            f"The requested version ({version}) of service AmazonEC2 does not exist",
        )


def parse_query(fields: dict[str, str], operation: Any) -> Tree:
    """Return the parameters of an operation, each checked against the model.

    Raises RefusedError for what is missing, not known, or no value of its type.
    """
    tree: Tree = {}
    for name, value in fields.items():
        if name in _COMMON or name.startswith("X-Amz-"):
            continue
        _put(tree, name, value)
    if operation.input_shape is None:
        _refuse_unknown(tree, set(), "")
        return {}
    found = _structure(operation.input_shape, tree, "", ruled=_RULED.get(operation.name, set()))
    return dict(found)


def _put(tree: Tree, name: str, value: str) -> None:
    steps = name.split(".")
    if not all(steps) or len(steps) > 20:
        raise RefusedError("UnknownParameter", f"The parameter {name} is not recognized")
    for step in steps[:-1]:
        inner = tree.setdefault(step, {})
        if not isinstance(inner, dict):
            raise RefusedError("InvalidQueryParameter", f"The parameter {name} contradicts another")
        tree = inner
    if steps[-1] in tree:
        raise RefusedError("InvalidQueryParameter", f"The parameter {name} contradicts another")
    tree[steps[-1]] = value


def wire_name(member: str, shape: Any) -> str:
    """Return the name under which a request has a member (botocore: EC2Serializer)."""
    serialization = shape.serialization
    if "queryName" in serialization:
        return str(serialization["queryName"])
    name = str(serialization.get("name", member))
    return name[0].upper() + name[1:]


def _refuse_unknown(tree: Tree, known: set[str], prefix: str) -> None:
    for name in tree:
        if name not in known:
            message = f"The parameter {prefix}{name} is not recognized"
            raise RefusedError("UnknownParameter", message)


def _structure(shape: Any, tree: Any, prefix: str, *, ruled: set[str]) -> Tree:
    if not isinstance(tree, dict):
        raise _no_value(tree, prefix.rstrip("."), "it has parts of its own")
    names = {wire_name(member, inner): member for member, inner in shape.members.items()}
    _refuse_unknown(tree, set(names), prefix)
    found: Tree = {}
    for name, member in names.items():
        if name in tree:
            inner = shape.members[member]
            check = not (not prefix and member in ruled)
            found[member] = _value(inner, tree[name], prefix + name, limits=check)
    for member in shape.required_members:
        if member not in found:
            name = wire_name(member, shape.members[member])
            raise RefusedError(
                "MissingParameter", f"The request must contain the parameter {prefix}{name}"
            )
    return found


def _value(shape: Any, value: Any, name: str, *, limits: bool = True) -> Any:
    if shape.type_name == "structure":
        return _structure(shape, value, f"{name}.", ruled=set())
    if shape.type_name == "list":
        return _list(shape, value, name)
    if isinstance(value, dict):
        first = next(iter(value))
        raise RefusedError("UnknownParameter", f"The parameter {name}.{first} is not recognized")
    return _scalar(shape, value, name, limits=limits)


def _list(shape: Any, tree: Any, name: str) -> list[Any]:
    if tree == "":  # how some SDKs write an empty list
        return []
    if not isinstance(tree, dict):
        raise _no_value(tree, name, "it is a list: name its items by numbers")
    for step in tree:
        if not _INDEX.fullmatch(step):
            raise RefusedError("UnknownParameter", f"The parameter {name}.{step} is not recognized")
    ordered = sorted(tree.items(), key=lambda item: int(item[0]))
    found = [_value(shape.member, value, f"{name}.{step}") for step, value in ordered]
    _check_length(shape, len(found), name)
    return found


def _scalar(shape: Any, value: str, name: str, *, limits: bool) -> Any:  # noqa: C901 (a case each)
    match shape.type_name:
        case "string":
            if _NO_XML.search(value):
                raise _no_value(repr(value)[1:-1], name, "it has characters that XML has not")
            if limits:
                _check_length(shape, len(value), name)
            if shape.enum and value not in shape.enum:
                raise _no_value(value, name, "")
            return value
        case "integer" | "long":
            if not _INTEGER.fullmatch(value):
                raise _no_value(value, name, "Invalid integer")
            number = int(value)
            size_bits = 31 if shape.type_name == "integer" else 63
            if not -(2**size_bits) <= number < 2**size_bits:
                raise _no_value(value, name, "Invalid integer")
            _check_length(shape, number, name)
            return number
        case "boolean":
            if value.lower() not in {"true", "false"}:
                raise _no_value(value, name, "Must be either true or false")
            return value.lower() == "true"
        case "float" | "double":
            if not _FLOAT.fullmatch(value):
                raise _no_value(value, name, "Invalid number")
            return float(value)
        case "timestamp":
            return _timestamp(value, name)
        case "blob":
            try:
                return base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise _no_value("…", name, "Invalid base64") from None
        case _:
            raise RefusedError("UnknownParameter", f"The parameter {name} is not recognized")


def _timestamp(value: str, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _no_value(value, name, "Invalid date, as in 2026-11-23T12:00:00Z") from None


def _check_length(shape: Any, number: int, name: str) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and number < least:
        raise _no_value(number, name, f"At least {least} is needed")
    if most is not None and number > most:
        raise _no_value(number, name, f"At most {most} is allowed")


def _no_value(value: object, name: str, why: str) -> RefusedError:
    shown = str(value)[:200]
    rest = f" {why}." if why else ""
    message = f"Value ({shown}) for parameter {name} is invalid.{rest}"
    return RefusedError("InvalidParameterValue", message)
