"""How 169.254.169.254 answers: a pure function of the request, the instance and the time.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from imgforge.metadata.instance import HttpTokens, Instance
from imgforge.metadata.tokens import MAX_TTL_S, MIN_TTL_S, Tokens
from imgforge.metadata.tree import VERSIONS, find, instance_tree, listing

TOKEN_PATH = "/latest/api/token"  # noqa: S105  (a path, not a password)
TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request: `path` is decoded and without its query, header names are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `token` tells whether the request carried a valid IMDSv2 token."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    token: bool = False


def answer(request: HttpRequest, instance: Instance, tokens: Tokens, now_s: float) -> Answer:
    """Answer `request` as EC2 does, IMDSv1 and IMDSv2. Never raises."""
    if request.path.rstrip("/") == TOKEN_PATH:
        return _token(request, tokens, now_s)
    if request.method not in {"GET", "HEAD"}:
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD")
    token = request.headers.get(TOKEN_HEADER)
    valid = token is not None and tokens.is_valid(token, now_s=now_s)
    if not valid and (token is not None or instance.http_tokens is HttpTokens.REQUIRED):
        return refusal(HTTPStatus.UNAUTHORIZED)
    return _lookup(request.path, instance, token=valid)


def _token(request: HttpRequest, tokens: Tokens, now_s: float) -> Answer:
    if request.method != "PUT":
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, allow="PUT")
    if "x-forwarded-for" in request.headers:  # a proxy stands between: the token would leak
        return refusal(HTTPStatus.FORBIDDEN)
    text = request.headers.get(TTL_HEADER, "").strip()
    ttl_s = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        return refusal(HTTPStatus.BAD_REQUEST)
    headers = {"content-type": "text/plain", TTL_HEADER: str(ttl_s)}
    return Answer(HTTPStatus.OK, headers, tokens.issue(ttl_s=ttl_s, now_s=now_s).encode())


def _lookup(path: str, instance: Instance, *, token: bool) -> Answer:
    if path == "/":
        return _text("\n".join(VERSIONS), token=token)
    version, _, rest = path.removeprefix("/").partition("/")
    if version not in VERSIONS:
        return refusal(HTTPStatus.NOT_FOUND, token=token)
    tree = instance_tree(instance)
    if not rest:  # on EC2 these three are listed without their slashes
        return _text("\n".join(tree), token=token)
    node = find(tree, rest)
    match node:
        case None:
            return refusal(HTTPStatus.NOT_FOUND, token=token)
        case str():
            return _text(node, token=token)
        case bytes():
            headers = {"content-type": "application/octet-stream"}
            return Answer(HTTPStatus.OK, headers, node, token)
        case _:
            return _text(listing(node), token=token)


def _text(text: str, *, token: bool) -> Answer:
    return Answer(HTTPStatus.OK, {"content-type": "text/plain"}, text.encode(), token)


def refusal(status: HTTPStatus, *, allow: str = "", token: bool = False) -> Answer:
    """Return the page that EC2's service answers with where it does not give what was asked."""
    title = f"{status.value} - {status.phrase}"
    body = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
        '         "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
        f" <head>\n  <title>{title}</title>\n </head>\n"
        f" <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    )
    headers = {"content-type": "text/html", **({"allow": allow} if allow else {})}
    return Answer(status, headers, body.encode(), token)
