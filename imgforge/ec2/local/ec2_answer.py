"""EC2's answers, written: what an operation gives becomes XML by its model.

Source: botocore's ec2 model, and botocore.parsers.EC2QueryParser, which reads what is written here.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from imgforge.ec2.local.operations import API_VERSION

_NAMESPACE = f"http://ec2.amazonaws.com/doc/{API_VERSION}/"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def write_xml(operation: Any, result: Mapping[str, Any], *, request_id: str) -> bytes:
    """Return an operation's answer. A member that its shape has not is a KeyError."""
    pieces = [
        _HEAD,
        f'<{operation.name}Response xmlns="{_NAMESPACE}">',
        f"<requestId>{request_id}</requestId>",
    ]
    if operation.output_shape is None:
        pieces.append("<return>true</return>")
    else:
        _members(pieces, operation.output_shape, result)
    pieces.append(f"</{operation.name}Response>")
    return "".join(pieces).encode()


def write_xml_error(code: str, message: str, *, request_id: str) -> bytes:
    """Return a refusal, as EC2 writes it."""
    return (
        f"{_HEAD}<Response><Errors><Error><Code>{escape(code)}</Code>"
        f"<Message>{escape(message)}</Message></Error></Errors>"
        f"<RequestID>{request_id}</RequestID></Response>"
    ).encode("utf-8", errors="replace")


def _members(pieces: list[str], shape: Any, values: Mapping[str, Any]) -> None:
    members = shape.members
    for name, value in values.items():
        if value is not None:
            inner = members[name]
            _element(pieces, inner, value, inner.serialization.get("name", name))


def _element(pieces: list[str], shape: Any, value: Any, tag: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        pieces.append(f"<{tag}>")
        _members(pieces, shape, value)
        pieces.append(f"</{tag}>")
    elif kind == "list":
        item = shape.member
        item_tag = item.serialization.get("name", "member")
        pieces.append(f"<{tag}>")
        for one in value:
            _element(pieces, item, one, item_tag)
        pieces.append(f"</{tag}>")
    else:
        pieces.append(f"<{tag}>{_text(kind, value)}</{tag}>")


def _text(kind: str, value: Any) -> str:
    if kind == "string":
        return escape(value)
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return iso_time(value)
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    return str(value)


def iso_time(value: datetime | str) -> str:
    """Return a time as EC2 writes it: ISO 8601 with milliseconds and Z."""
    if isinstance(value, str):
        return value
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
