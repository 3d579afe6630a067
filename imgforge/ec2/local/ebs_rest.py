"""EBS direct: paths, headers and JSON become parameters, and what it gives becomes those.

Source: botocore's ebs model (rest-json), and botocore.serialize.RestJSONSerializer, which writes
what is read here.
"""

import functools
import http
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from imgforge.catalog import RefusedError
from imgforge.ec2.local.operations import find_operation, service_model

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INTEGER_BITS = {"integer": 31, "long": 63}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What EBS direct says of a parameter that is wrong; of all others INVALID_PARAMETER_VALUE.
_REASONS = {
    "SnapshotId": "INVALID_SNAPSHOT_ID",
    "FirstSnapshotId": "INVALID_SNAPSHOT_ID",
    "SecondSnapshotId": "INVALID_SNAPSHOT_ID",
    "ParentSnapshotId": "INVALID_SNAPSHOT_ID",
    "NextToken": "INVALID_PAGE_TOKEN",
    "BlockToken": "INVALID_BLOCK_TOKEN",
    "VolumeSize": "INVALID_VOLUME_SIZE",
    "KmsKeyArn": "INVALID_CUSTOMER_KEY",
    "Tags": "INVALID_TAG",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: the status, headers with lower-case names, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes


def find_route(
    method: str, path: str, *, service: str = "ebs"
) -> tuple[Any, dict[str, str]] | None:
    """Return the operation that a method and a path ask for, and what the path says."""
    for operation, its_method, pattern in _routes(service):
        if its_method == method and (match := pattern.fullmatch(path)):
            return operation, {key: unquote(value) for key, value in match.groupdict().items()}
    return None


@functools.cache
def _routes(service: str) -> tuple[tuple[Any, str, re.Pattern[str]], ...]:
    """Return all operations, each with its method and what its path looks like."""
    found = []
    for name in service_model(service).operation_names:
        operation = find_operation(service, name)
        assert operation is not None
        uri = re.escape(operation.http["requestUri"])
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", uri)
        found.append((operation, operation.http["method"], re.compile(pattern)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request, taken apart; `headers` have lower-case names."""

    in_path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All values of each name in the query."""


def parse_rest(operation: Any, request: RestRequest) -> dict[str, Any]:
    """Return an operation's parameters. Raises RefusedError for what is missing or no value."""
    shape = operation.input_shape
    payload = shape.serialization.get("payload")
    found: dict[str, Any] = {}
    in_body = {}
    for member, inner in shape.members.items():
        name = inner.serialization.get("name", member)
        place = inner.serialization.get("location", "body")
        if member == payload:
            found[member] = request.body
        elif place == "body":
            in_body[name] = (member, inner)
        else:
            value = _outside_body(inner, request, place=place, name=name, member=member)
            if value is not None:
                found[member] = value
    if in_body and request.body:
        for name, value in json_object(request.body).items():
            # What is not known, EBS direct leaves aside, as rest-json services do.
            if name in in_body and value is not None:
                member, inner = in_body[name]
                found[member] = json_value(inner, value, member)
    for member in shape.required_members:
        if member not in found:
            raise invalid(member, f"{member} is required")
    return found


def _outside_body(
    shape: Any, request: RestRequest, *, place: str, name: str, member: str
) -> Any | None:
    """Return what the path, the query or a header says of a parameter; None where nothing does."""
    where = {"uri": request.in_path, "querystring": request.query}
    source = where.get(place, request.headers)
    value = source.get(name if place in where else name.lower())
    if value is None:
        return None
    if shape.type_name == "list":
        return list(request.lists.get(name, [value]))
    return _text_value(shape, value, member)


def json_object(body: bytes) -> dict[str, Any]:
    """Return a body of JSON. Raises RefusedError where it is none, or no object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError("SerializationException", "The body is no JSON") from None
    if not isinstance(value, dict):
        raise RefusedError("SerializationException", "The body is no JSON object")
    return value


def _text_value(shape: Any, value: str, member: str) -> Any:
    if shape.type_name in _INTEGER_BITS:
        if not _INTEGER.fullmatch(value):
            raise invalid(member, f"{member} must be an integer")
        return _check(shape, int(value), member)
    return _check(shape, value, member)


def json_value(shape: Any, value: Any, member: str) -> Any:
    """Return a value by its shape; what that does not know is left aside. Raises RefusedError."""
    kind = shape.type_name
    fits = {
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "long": isinstance(value, int) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "list": isinstance(value, list),
        "structure": isinstance(value, dict),
        "map": isinstance(value, dict),
        "blob": isinstance(value, str),
        "timestamp": isinstance(value, int | float) and not isinstance(value, bool),
    }
    if not fits.get(kind, False):
        raise RefusedError("SerializationException", f"{member} must be a {kind}")
    if kind == "list":
        return [json_value(shape.member, one, member) for one in value]
    if kind == "structure":
        for needed in shape.required_members:
            if value.get(needed) is None:
                raise invalid(member, f"{member}.{needed} is required")
        known = {
            inner.serialization.get("name", name): name for name, inner in shape.members.items()
        }
        return {
            known[name]: json_value(shape.members[known[name]], one, member)
            for name, one in value.items()
            if name in known and one is not None
        }
    if kind == "map":
        return {name: json_value(shape.value, one, member) for name, one in value.items()}
    if kind in {"blob", "timestamp"}:
        return value
    return _check(shape, value, member)


def _matches(pattern: str, value: str) -> bool:
    """Tell whether a value is as its pattern says; some are none of Python's, and say nothing."""
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


def _check(shape: Any, value: str | int, member: str) -> str | int:
    if isinstance(value, str):
        if _NO_XML.search(value):
            raise invalid(member, f"{member} has characters that are not allowed")
        pattern = shape.metadata.get("pattern")
        if pattern and not _matches(pattern, value):
            raise invalid(member, f"{member} must match {pattern}")
        if shape.enum and value not in shape.enum:
            raise invalid(member, f"{member} must be one of {', '.join(shape.enum)}")
    elif shape.type_name in _INTEGER_BITS:
        bits = _INTEGER_BITS[shape.type_name]
        if not -(2**bits) <= value < 2**bits:
            raise invalid(member, f"{member} must be an integer of {bits + 1} bits")
    number = len(value) if isinstance(value, str) else value
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and number < least:
        raise invalid(member, f"{member} must be at least {least}")
    if most is not None and number > most:
        raise invalid(member, f"{member} must be at most {most}")
    return value


def invalid(member: str, message: str) -> RefusedError:
    """Return EBS direct's answer to a parameter that is wrong."""
    reason = _REASONS.get(member, "INVALID_PARAMETER_VALUE")
    return RefusedError("ValidationException", message, reason=reason)


def write_rest(operation: Any, result: Mapping[str, Any], *, request_id: str) -> Answer:
    """Return an operation's answer by its model."""
    shape = operation.output_shape
    payload = shape.serialization.get("payload")
    headers = {"x-amzn-requestid": request_id}
    body = {}
    raw: bytes | None = None
    for name, value in result.items():
        if value is None:
            continue
        inner = shape.members[name]
        if name == payload:
            raw = value
        elif inner.serialization.get("location") == "header":
            headers[inner.serialization["name"].lower()] = str(value)
        else:
            body[inner.serialization.get("name", name)] = _to_json(inner, value)
    if raw is not None:
        headers["content-type"] = "application/octet-stream"
        content = raw
    else:
        headers["content-type"] = "application/json"
        content = json.dumps(body).encode()
    status = operation.http.get("responseCode", 200)
    return Answer(status, headers, b"" if status == http.HTTPStatus.NO_CONTENT else content)


def _to_json(shape: Any, value: Any) -> Any:
    match shape.type_name:
        case "timestamp":
            return datetime.fromisoformat(value).timestamp()
        case "list":
            return [_to_json(shape.member, one) for one in value]
        case "structure":
            members = shape.members
            return {
                members[name].serialization.get("name", name): _to_json(members[name], one)
                for name, one in value.items()
                if one is not None
            }
        case _:
            return value


def write_rest_error(error: RefusedError, *, request_id: str) -> Answer:
    """Return a refusal, as EBS direct writes it."""
    body = {"Message": str(error)} | ({"Reason": error.reason} if error.reason else {})
    headers = {
        "content-type": "application/json",
        "x-amzn-errortype": error.code,
        "x-amzn-requestid": request_id,
    }
    return Answer(error.status, headers, json.dumps(body).encode())
