"""S3 for tests: our own application on a port, with faults in front of it."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgforge.ec2.local.app import App, Application, StartResponse
from imgforge.ec2.local.s3 import S3
from imgforge.ec2.local.server import serving

SLOW_DOWN = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message></Error>"
)
DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>'
ELSEWHERE = (
    b'<?xml version="1.0"?><Error><Code>PermanentRedirect</Code><Message>The bucket you are '
    b"attempting to access must be addressed using the specified endpoint.</Message></Error>"
)
PORTAL = b"<html><body>Log in</body></html>"
# What answers in the application's place: status, body, headers.
WHOLE: dict[str, tuple[str, bytes, list[tuple[str, str]]]] = {
    "slow-down": ("503 Slow Down", SLOW_DOWN, []),
    "denied": ("403 No", DENIED, []),
    "elsewhere": ("301 Moved", ELSEWHERE, [("x-amz-bucket-region", "eu-west-1")]),
    "somewhere": ("301 Moved", ELSEWHERE, []),
    "portal": ("200 OK", PORTAL, [("Content-Type", "text/html")]),
    "broken": ("200 OK", b"<ListBucketResult><Name>", []),
}


@dataclass
class Fault:
    """What happens to requests of a method whose path has `part`, from the first to the last."""

    method: str
    part: str
    kind: str
    """slow-down, denied, cut (the answer), flip (a byte of the answer), spoil (the request).

    Or an answer that no S3 gives: elsewhere (another region), portal (a page to log in), broken
    (no XML), no-etag, no-length; or one of an S3 that knows no ranges: no-range.
    """

    first: int = 1
    last: int = 10**9
    seen: int = 0


@dataclass
class FaultyApp:
    """A WSGI application that goes wrong, and counts what it is asked."""

    app: Application
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    when_asked: Callable[[int], None] = lambda _: None
    """Called with the number of the request that comes in."""

    lock: Any = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["REQUEST_URI"]
        with self.lock:
            self.asked.append((method, path))
            self.when_asked(len(self.asked))
            kind = next(
                (fault.kind for fault in self.faults if self._meets(fault, method, path)), ""
            )
        if kind in WHOLE:
            while environ["wsgi.input"].read(2**20):
                pass
            status, words, headers = WHOLE[kind]
            start_response(status, [("Content-Length", str(len(words))), *headers])
            return [b"" if method == "HEAD" else words]
        if kind in {"no-etag", "no-length"}:
            lost = "etag" if kind == "no-etag" else "content-length"
            return self.app(environ, without(lost, start_response))
        if kind == "no-range":
            environ.pop("HTTP_RANGE", None)
        if kind == "spoil":
            environ["wsgi.input"] = Spoiled(environ["wsgi.input"])
        body = self.app(environ, start_response)
        return damaged(body, kind) if kind in {"cut", "flip"} else body

    @staticmethod
    def _meets(fault: Fault, method: str, path: str) -> bool:
        if fault.method != method or fault.part not in path:
            return False
        fault.seen += 1
        return fault.first <= fault.seen <= fault.last

    def count(self, method: str, part: str) -> int:
        """Return how often it was asked."""
        return sum(one == method and part in path for one, path in self.asked)


def without(name: str, start_response: StartResponse) -> StartResponse:
    """Return what starts an answer without one of its headers."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        kept = [one for one in headers if one[0].lower() != name]
        return start_response(status, kept, *more)

    return start


class Spoiled:
    """A body that arrives with its first byte changed."""

    def __init__(self, body: Any) -> None:
        self.body = body
        self.is_first = True

    def read(self, size: int = -1) -> bytes:
        data = bytearray(self.body.read(size))
        if self.is_first and data:
            data[0] ^= 1
            self.is_first = False
        return bytes(data)


def damaged(body: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """Yield an answer that is cut after its first piece, or whose first byte is another."""
    pieces = iter(body)
    try:
        first = bytearray(next(pieces))
        if kind == "flip":
            first[0] ^= 1
            yield from itertools.chain([bytes(first)], pieces)
            return
        yield bytes(first[: len(first) // 2])
        raise ConnectionResetError("cut on purpose")
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True)
class Served:
    """An endpoint of its own, for whoever knows its URL."""

    url: str
    app: FaultyApp

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--url", self.url)


@contextmanager
def served_s3(folder: Path, *, port: int = 0) -> Iterator[Served]:
    """Serve an S3 whose things are in `folder`."""
    app = FaultyApp(App({"s3": S3(folder)}, folder=folder))
    with serving(app, port=port) as url:
        yield Served(url, app)
