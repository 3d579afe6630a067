"""Requests become an operation's values, and its answers HTTP, by botocore's models (rest-xml).

https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape

from imgforge.ec2.local.routes import Route
from imgforge.ec2.local.wire import RefusalError, Request, Response, chunks_of
from imgforge.ec2.local.xml_wire import document, read_document, scalar_text, scalar_value

_MOST_XML_BYTES = 2**21
_XML = "application/xml"


@dataclass(frozen=True, slots=True)
class Call:
    """An operation with its values; a body of bytes stays in the request."""

    operation: OperationModel
    values: Mapping[str, Any]
    request: Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers, by its members' names; a streamed body, and another status."""

    values: Mapping[str, Any] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    body_bytes: int = 0
    status: int = 0
    root: str = ""
    document: bytes | None = None


def find_call(routes: tuple[Route, ...], request: Request, *, path: str) -> Call:
    """Return what a request asks for. Raises RefusalError."""
    for route in routes:
        found = route.match(request.method, path, request.query, request.headers)
        if found is not None:
            return Call(route.operation, _values(route.operation, request, found), request)
    words = "The specified method is not allowed against this resource."
    raise RefusalError("MethodNotAllowed", words, status=405)


def _values(
    operation: OperationModel, request: Request, in_path: Mapping[str, str]
) -> dict[str, Any]:
    shape = operation.input_shape
    values: dict[str, Any] = {}
    for member, member_shape in shape.members.items() if shape else ():
        name = member_shape.serialization.get("name", member)
        match member_shape.serialization.get("location"):
            case "uri":
                values[member] = in_path.get(name)
            case "querystring":
                values[member] = _scalar(member_shape, request.query.get(name))
            case "header":
                values[member] = _scalar(member_shape, request.headers.get(name.lower()))
            case "headers":
                values[member] = {
                    header[len(name) :]: text
                    for header, text in request.headers.items()
                    if header.startswith(name.lower())
                }
    payload = shape.serialization.get("payload") if shape else None
    if shape and payload and shape.members[payload].type_name == "structure":
        if request.size_bytes > _MOST_XML_BYTES:
            raise RefusalError("MaxMessageLengthExceeded", "Your request was too big.")
        content = b"".join(chunks_of(request.body, request.size_bytes))
        if content:
            values[payload] = read_document(content, shape.members[payload])
        elif payload in shape.required_members:
            words = "Request body is empty."
            raise RefusalError("MissingRequestBodyError", words)
    return {member: value for member, value in values.items() if value is not None}


def _scalar(shape: Shape, text: str | None) -> Any:
    if text is None:
        return None
    if isinstance(shape, ListShape):
        return [one.strip() for one in text.split(",")]
    if isinstance(shape, MapShape):
        return None
    return scalar_value(shape, text)


def write_answer(operation: OperationModel, answer: Answer, *, namespace: str) -> Response:
    """Return an operation's answer as HTTP."""
    status = answer.status or operation.http.get("responseCode", 200)
    shape = operation.output_shape
    headers = dict(_headers(operation, answer.values))
    payload = shape.serialization.get("payload") if shape else None
    if shape and payload and shape.members[payload].type_name == "blob":
        return Response(status, headers, answer.body, answer.body_bytes)
    if operation.http["method"] == "HEAD":
        return Response(status, headers, (), answer.body_bytes)
    content = answer.document
    if content is None and shape is not None:
        content = _content(operation, answer, payload, namespace)
    if content is None:
        return Response(status, headers)
    headers.setdefault("Content-Type", _XML)
    return Response(status, headers, (content,), len(content))


def _content(
    operation: OperationModel, answer: Answer, payload: str | None, namespace: str
) -> bytes | None:
    shape = operation.output_shape
    assert shape is not None
    if payload is not None:
        inner = shape.members[payload]
        value = answer.values.get(payload)
        return value and document(inner, value, root=answer.root or payload, namespace=namespace)
    if all("location" in member.serialization for member in shape.members.values()):
        return None
    root = answer.root or f"{operation.name}Result"
    return document(shape, answer.values, root=root, namespace=namespace)


def _headers(operation: OperationModel, values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    shape = operation.output_shape
    for member, member_shape in shape.members.items() if shape else ():
        value = values.get(member)
        if value is None:
            continue
        name = member_shape.serialization.get("name", member)
        match member_shape.serialization.get("location"):
            case "header":
                yield name, scalar_text(member_shape, value)
            case "headers":
                yield from ((name + key, str(text)) for key, text in value.items())
