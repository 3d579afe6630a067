"""What an endpoint is asked, what it answers, and how it refuses."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

CHUNK_BYTES = 2**20
CUT = "imgforge.cut"
"""What ends the connection, in WSGI's environment."""
_CREDENTIAL = re.compile(
    r"(?:^|Credential=)(?P<key>[^/\s,=]{1,128})/[0-9]{8}/(?P<region>[a-z0-9-]{1,32})/(?P<service>[a-z0-9-]{1,32})"
    r"/aws4_request"
)


class Readable(Protocol):
    """A body that comes in."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, none at its end."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body, and how long its head says it is."""

    stream: Readable
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by its signature (AWS Signature Version 4), and which region it means."""

    access_key: str
    region: str
    service: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request of HTTP; header names are in lower case, `path` is as it was sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Readable
    size_bytes: int
    caller: Caller | None
    """None for somebody who does not say who they are."""
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All values of each name in the query."""
    cut: Callable[[], None] = lambda: None
    """Ends the connection at once, for a fault that was asked for."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of HTTP; a body of None has the length its headers say (HEAD)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    size_bytes: int | None = 0


class Service(Protocol):
    """One of AWS's services, as `App` asks it."""

    def respond(self, request: Request) -> Response:
        """Answer a request; refusals are answers, too."""


class RefusalError(Exception):
    """A request that is refused, by AWS's own code."""

    def __init__(self, code: str, message: str, *, status: int = 400, **told: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.told = told
        """Further elements of the error."""


def read_request(environ: Mapping[str, Any]) -> Request:
    """Read a request out of WSGI's environment (PEP 3333)."""
    target = str(environ.get("REQUEST_URI") or environ.get("PATH_INFO", "/"))
    if "?" not in target and environ.get("QUERY_STRING"):
        target = f"{target}?{environ['QUERY_STRING']}"
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = str(environ["CONTENT_TYPE"])
    length = str(environ.get("CONTENT_LENGTH") or "0")
    return request_of(
        str(environ["REQUEST_METHOD"]),
        target,
        headers,
        Body(environ["wsgi.input"], int(length) if length.isdecimal() else 0),
        cut=environ.get(CUT, lambda: None),
    )


def request_of(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Body,
    *,
    cut: Callable[[], None],
) -> Request:
    """Return a request of what its head says; header names are in lower case."""
    path, _, query_text = target.partition("?")
    if not path.startswith("/"):  # a proxy's form
        path = "/" + path.partition("://")[2].partition("/")[2]
    lists: dict[str, list[str]] = {}
    for name, value in parse_qsl(query_text, keep_blank_values=True):
        lists.setdefault(name, []).append(value)
    query = {name: values[-1] for name, values in lists.items()}
    return Request(
        method=method,
        path=path,
        query=query,
        headers=headers,
        body=body.stream,
        size_bytes=body.size_bytes,
        caller=_caller(headers.get("authorization", ""), query),
        lists=lists,
        cut=cut,
    )


def _caller(authorization: str, query: Mapping[str, str]) -> Caller | None:
    text = authorization or unquote(query.get("X-Amz-Credential", ""))
    found = _CREDENTIAL.search(text)
    return Caller(found["key"], found["region"], found["service"]) if found else None


def chunks_of(body: Readable, size_bytes: int) -> Iterator[bytes]:
    """Yield a body of a known length. Raises RefusalError where it ends before."""
    while size_bytes:
        try:
            chunk = body.read(min(CHUNK_BYTES, size_bytes))
        except OSError:
            chunk = b""
        if not chunk:
            raise RefusalError(
                "IncompleteBody", "The body is shorter than its Content-Length says."
            )
        size_bytes -= len(chunk)
        yield chunk
