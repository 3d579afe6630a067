"""How 169.254.169.254 answers: a pure function of the request, the instance's trees and the time.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.client import responses

from imgforge.metadata.instance import Instance
from imgforge.metadata.options import Access, HttpTokens
from imgforge.metadata.tokens import MAX_TTL_S, MIN_TTL_S, Tokens
from imgforge.metadata.tree import Folder, Trees, find
from imgforge.metadata.versions import VERSIONS

TOKEN_PATH = "/latest/api/token"  # noqa: S105  (a path, not a password)
TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105  (a header's name)
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_METHODS = "OPTIONS, PUT"  # noqa: S105  (methods of HTTP)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request: `path` is decoded and without its query, header names are in small letters.

    `target` is the path as it came over the wire, where it did.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    target: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `token` tells whether the request carried a valid IMDSv2 token, or got one."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    token: bool = False


def plain_path(path: str) -> str:
    """Return a path with one slash before it, though there be two: so asks AWS's JavaScript SDK."""
    return path[1:] if path.startswith("//") else path


def answer(request: HttpRequest, trees: Trees, tokens: Tokens, now_s: float) -> Answer:
    """Answer `request` as EC2 does, IMDSv1 and IMDSv2. Never raises."""
    instance = trees.instance
    request = replace(request, path=plain_path(request.path))
    if instance.options.http_endpoint is Access.DISABLED:
        return refusal(HTTPStatus.FORBIDDEN)
    knows_tokens = instance.options.http_tokens is not HttpTokens.OFF
    if knows_tokens and request.path.removesuffix("/") == TOKEN_PATH:
        return _token(request, instance, tokens, now_s)
    if knows_tokens and request.method == "PUT" and _is_dated_token_path(request.path):
        return refusal(HTTPStatus.FORBIDDEN)
    if request.method not in {"GET", "HEAD"}:
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD")
    token = request.headers.get(TOKEN_HEADER) if knows_tokens else None
    left_s = 0.0
    if token is not None:
        left_s = tokens.left_s(token, instance_id=instance.instance_id, now_s=now_s)
    needed = instance.options.http_tokens is HttpTokens.REQUIRED
    if not left_s and (needed or token is not None):
        return refusal(HTTPStatus.UNAUTHORIZED)
    found = _lookup(request.path, trees)
    if not left_s:
        return found
    headers = {**found.headers, TTL_HEADER: str(math.ceil(left_s))}
    return replace(found, headers=headers, token=True)


def _token(request: HttpRequest, instance: Instance, tokens: Tokens, now_s: float) -> Answer:
    if request.method == "OPTIONS":
        return Answer(HTTPStatus.OK, {"content-type": "text/plain", "allow": _TOKEN_METHODS}, b"")
    if request.method != "PUT":
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, allow=_TOKEN_METHODS)
    if "x-forwarded-for" in request.headers:  # a proxy stands between: the token would leak
        return refusal(HTTPStatus.FORBIDDEN)
    text = request.headers.get(TTL_HEADER, "").strip()
    ttl_s = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        return refusal(HTTPStatus.BAD_REQUEST)
    token = tokens.issue(ttl_s=ttl_s, instance_id=instance.instance_id, now_s=now_s)
    headers = {"content-type": "text/plain", TTL_HEADER: str(ttl_s)}
    return Answer(HTTPStatus.OK, headers, token.encode(), token=True)


def _is_dated_token_path(path: str) -> bool:
    """Tell whether a token is asked for under a dated version, which gives none: a 403.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    """
    version, _, rest = path.removeprefix("/").partition("/")
    return version in VERSIONS and rest.removesuffix("/") == "api/token"


def _lookup(path: str, trees: Trees) -> Answer:
    if path == "/":
        return _found("\n".join(VERSIONS), trees)
    version, _, rest = path.removeprefix("/").partition("/")
    tree = trees.by_version.get(version)
    if tree is None or not path.startswith("/"):
        return refusal(HTTPStatus.NOT_FOUND)
    node = find(tree, rest) if rest else tree
    if node is None:
        return refusal(HTTPStatus.NOT_FOUND)
    if isinstance(node, Folder):
        return _found("\n".join(node.lines), trees)
    return _found(node() if callable(node) else node, trees)


def _found(content: str | bytes, trees: Trees) -> Answer:
    is_text = isinstance(content, str)
    headers = {
        "content-type": "text/plain" if is_text else "application/octet-stream",
        "accept-ranges": "none",
        "last-modified": trees.last_modified,
    }
    body = content.encode() if isinstance(content, str) else content
    return Answer(HTTPStatus.OK, headers, body)


def refusal(status: int, *, allow: str = "") -> Answer:
    """Return what EC2's service answers with where it does not give what was asked."""
    if allow:  # seen on EC2: a 405 has no page
        return Answer(status, {"content-type": "text/plain", "allow": allow}, b"")
    title = f"{int(status)} - {responses.get(status, 'Unknown')}"
    body = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
        '         "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
        f" <head>\n  <title>{title}</title>\n </head>\n"
        f" <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    )
    return Answer(status, {"content-type": "text/html"}, body.encode())
