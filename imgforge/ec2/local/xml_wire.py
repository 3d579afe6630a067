"""XML of AWS's services, by botocore's shapes: values become elements, and elements values."""

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from botocore.model import ListShape, Shape, StructureShape

from imgforge.ec2.local.wire import RefusalError

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_DEEPEST = 32


def error_xml(code: str, message: str, **told: str) -> bytes:
    """Return a refusal as S3 writes it."""
    values = {"Code": code, "Message": message, **told, "RequestId": secrets.token_hex(8).upper()}
    inside = "".join(f"<{name}>{_text(value)}</{name}>" for name, value in values.items())
    return f"{_DECLARATION}<Error>{inside}</Error>".encode()


def document(shape: Shape, value: Any, *, root: str, namespace: str = "") -> bytes:
    """Return a value of a shape as an XML document."""
    spoken = f" xmlns={quoteattr(namespace)}" if namespace else ""
    return f"{_DECLARATION}<{root}{spoken}>{_inside(shape, value)}</{root}>".encode()


def _inside(shape: Shape, value: Any) -> str:
    if isinstance(shape, StructureShape):
        return "".join(
            _member(member, member_shape, value[member])
            for member, member_shape in shape.members.items()
            if value.get(member) is not None
            and "location" not in member_shape.serialization
            and not member_shape.serialization.get("xmlAttribute")
        )
    if isinstance(shape, ListShape):
        name = shape.member.serialization.get("name", "member")
        return "".join(f"<{name}>{_inside(shape.member, one)}</{name}>" for one in value)
    return _text(scalar_text(shape, value))


def _member(member: str, shape: Shape, value: Any) -> str:
    name = shape.serialization.get("name", member)
    if isinstance(shape, ListShape) and shape.serialization.get("flattened"):
        name = shape.member.serialization.get("name", name)
        return "".join(f"<{name}>{_inside(shape.member, one)}</{name}>" for one in value)
    return f"<{name}{_attributes(shape, value)}>{_inside(shape, value)}</{name}>"


def _attributes(shape: Shape, value: Any) -> str:
    """Return what stands in an element's head: a grantee's type is an attribute of it."""
    if not isinstance(shape, StructureShape):
        return ""
    space = shape.serialization.get("xmlNamespace", {})
    text = f" xmlns:{space['prefix']}={quoteattr(space['uri'])}" if space.get("prefix") else ""
    for member, member_shape in shape.members.items():
        if member_shape.serialization.get("xmlAttribute") and value.get(member) is not None:
            text += f" {member_shape.serialization['name']}={quoteattr(str(value[member]))}"
    return text


def scalar_text(shape: Shape, value: Any) -> str:
    """Return a number, a time or a text as XML and headers hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if shape.serialization.get("location") == "header":
            return format_datetime(value.astimezone(UTC), usegmt=True)
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return str(value)


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", escape(text, {"\r": "&#13;"}))


class _Element:
    """An element as it was read: its name without its name space."""

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[_Element] = []
        self.text = ""

    def named(self, name: str) -> "list[_Element]":
        """Return its children of a name."""
        return [child for child in self.children if child.name == name]


def read_document(content: bytes, shape: Shape) -> Any:
    """Return an XML document as a value of a shape. Raises RefusalError (MalformedXML)."""
    return _value(shape, _read(content))


def _read(content: bytes) -> _Element:
    top = _Element("", {})
    open_elements = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_elements) > _DEEPEST:
            raise _malformed()
        element = _Element(name.rpartition(":")[2], attributes)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def text(piece: str) -> None:
        open_elements[-1].text += piece

    def refuse(*_: Any) -> None:
        raise _malformed()

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse  # and with it all entities
    parser.buffer_text = True
    try:
        parser.Parse(content, True)  # noqa: FBT003 (expat's own)
    except (expat.ExpatError, ValueError, LookupError):
        raise _malformed() from None
    return top.children[0]


def _value(shape: Shape, element: _Element) -> Any:
    if isinstance(shape, StructureShape):
        found = {
            member: value
            for member, member_shape in shape.members.items()
            if (value := _member_value(member, member_shape, element)) is not None
        }
        if any(member not in found for member in shape.required_members):
            raise _malformed()
        return found
    if isinstance(shape, ListShape):
        name = shape.member.serialization.get("name", "member")
        return [_value(shape.member, child) for child in element.named(name)]
    return scalar_value(shape, element.text)


def _member_value(member: str, shape: Shape, element: _Element) -> Any:
    name = shape.serialization.get("name", member)
    if shape.serialization.get("xmlAttribute"):
        return element.attributes.get(name)
    if isinstance(shape, ListShape) and shape.serialization.get("flattened"):
        children = element.named(shape.member.serialization.get("name", name))
        return [_value(shape.member, child) for child in children] or None
    children = element.named(name)
    if len(children) > 1:
        raise _malformed()
    return _value(shape, children[0]) if children else None


def scalar_value(shape: Shape, text: str) -> Any:
    """Return a text as its shape's number, time or text. Raises RefusalError."""
    try:
        match shape.type_name:
            case "integer" | "long":
                return int(text)
            case "boolean":
                return {"true": True, "false": False}[text.strip().lower()]
            case "timestamp":
                return _time(text)
    except (ValueError, KeyError, TypeError):
        raise RefusalError("InvalidArgument", f"Not a {shape.type_name}: {text[:64]}") from None
    allowed = getattr(shape, "enum", None)
    if allowed and text not in allowed:
        raise RefusalError("InvalidArgument", f"{shape.name} is not one of {', '.join(allowed)}")
    return text


def _time(text: str) -> datetime:
    if "," in text:
        return parsedate_to_datetime(text)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _malformed() -> RefusalError:
    return RefusalError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
