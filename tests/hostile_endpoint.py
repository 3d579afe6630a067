"""An endpoint whose answers are wrong: what stands before `imgforge serve` and changes them."""

import http.client
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

LOGIN_PAGE = b"<html><head><title>Log in</title></head><body><form></form></body></html>"
_LIMIT_S = 60
_STRANGE_XML = (
    "abc",
    "-1",
    "9" * 5000,
    "9" * 30,
    "",
    "NaN",
    "x" * 100_000,
    "\u009b31m\u202e",
    "../../x",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:00",
    "pending",
)
_STRANGE_JSON: tuple[Any, ...] = (
    None,
    -1,
    True,
    10**30,
    float("nan"),
    float("inf"),
    1.5,
    "abc",
    "",
    "\x1b[31m\ud800",
    "x" * 100_000,
    "../../x",
    [],
    [None],
    {},
    {"a": 1},
)


@dataclass(frozen=True)
class Answer:
    """An answer as it goes out; `is_cut` ends it before its length is reached."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_cut: bool = False


Change = Callable[[Answer], Answer]


def other(status: int, body: bytes, **headers: str) -> Change:
    """Return the change into another answer altogether."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Answer(status, named, body)


WHOLE: dict[str, Change] = {
    "a log-in page": other(200, LOGIN_PAGE, Content_Type="text/html"),
    "a log-in page that is no XML": other(200, b"<html><br>&nbsp;", Content_Type="text/html"),
    "a redirection": other(301, LOGIN_PAGE, Location="https://login.example/\x9b31m"),
    "a redirection without a place": other(307, b""),
    "a proxy's refusal": other(407, LOGIN_PAGE, Content_Type="text/html"),
    "nothing": other(200, b""),
    "JSON": other(200, b'{"a": [1, 2]}', Content_Type="application/json"),
    "a JSON list": other(200, b"[1]", Content_Type="application/json"),
    "XML": other(200, b"<a><b>1</b></a>", Content_Type="text/xml"),
    "deep JSON": other(200, b'{"a":' * 50_000),
    "bytes": other(200, bytes(range(256)) * 8),
    "a strange refusal": other(400, b'{"code": {"a": 1}, "message": ["\\u001b[31m"]}'),
    "a refusal in colours": other(
        400,
        b"<Response><Errors><Error><Code>\xc2\x9b31mX</Code><Message>\xc2\x9b31m</Message></Error>"
        b"</Errors></Response>",
    ),
    "a refusal with a strange type": other(403, b"{}", x_amzn_errortype="\x9b31m" + "x" * 5000),
    "a status of its own": other(299, b""),
    "no status": other(999, b""),
    "half of it": lambda one: Answer(one.status, one.headers, one.body[: len(one.body) // 2]),
    "an end too early": lambda one: Answer(one.status, one.headers, one.body, is_cut=True),
    "a long length": lambda one: Answer(
        one.status,
        {**one.headers, "Content-Length": "9" * 5000, "Connection": "close"},
        one.body,
    ),
    "a huge length": lambda one: Answer(
        one.status, {**one.headers, "Content-Length": str(10**15)}, one.body, is_cut=True
    ),
    "no headers": lambda one: Answer(one.status, {}, one.body),
}
"""Changes of a whole answer, by what it is then."""


def member_change(seed: int) -> Change:
    """Return a change of one member, of XML or JSON: it is gone, doubled, or something else."""

    def change(answer: Answer) -> Answer:
        chance = random.Random(seed)
        body = _changed_xml(answer.body, chance) or _changed_json(answer.body, chance)
        headers = {name: value for name, value in answer.headers.items() if "checksum" not in name}
        return Answer(answer.status, answer.headers if body else headers, body or answer.body[:-1])

    return change


def _changed_xml(body: bytes, chance: random.Random) -> bytes:
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return b""
    inner = [(parent, child) for parent in root.iter() for child in parent]
    if not inner:
        return b"<x/>"
    parent, child = chance.choice(inner)
    match chance.randrange(4):
        case 0:
            parent.remove(child)
        case 1:
            parent.append(child)
        case _:
            for one in list(child):
                child.remove(one)
            child.text = chance.choice(_STRANGE_XML)
    return ElementTree.tostring(root)


def _changed_json(body: bytes, chance: random.Random) -> bytes:
    try:
        value = json.loads(body)
    except ValueError:
        return b""
    places: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        places += [(one, key) for key in keys]
        waiting += [one[key] for key in keys if isinstance(one[key], dict | list)]
    if not places:
        return b"[]"
    holder, key = chance.choice(places)
    if chance.randrange(3) == 0:
        del holder[key]
    else:
        holder[key] = chance.choice(_STRANGE_JSON)
    return json.dumps(value).encode()


@dataclass
class HostileEndpoint:
    """An endpoint at `url`: the answers to `action` are changed, all others pass."""

    url: str
    action: str = ""
    change: Change = field(default=lambda answer: answer)
    asked: list[str] = field(default_factory=list)


@contextmanager
def hostile_endpoint(behind: str) -> Iterator[HostileEndpoint]:
    """Give an endpoint before that of the URL `behind`."""
    place = urlsplit(behind).netloc
    state = HostileEndpoint("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            action = _action(self.command, self.path, self.headers, data)
            state.asked.append(action)
            told = _forwarded(place, self.command, self.path, dict(self.headers), data)
            if action == state.action:
                told = state.change(told)
            self._send(told)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 (http.server's names)

        def _send(self, told: Answer) -> None:
            lines = [f"HTTP/1.1 {told.status} X"]
            headers = {"Content-Length": str(len(told.body)), **told.headers}
            lines += [f"{name}: {value}" for name, value in headers.items()]
            self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            if self.command != "HEAD":
                self.wfile.write(told.body[: len(told.body) // 2] if told.is_cut else told.body)
            self.close_connection = told.is_cut or "Connection" in told.headers

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that hangs up

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join(_LIMIT_S)


def _forwarded(place: str, method: str, path: str, headers: dict[str, str], data: bytes) -> Answer:
    asking = http.client.HTTPConnection(place, timeout=_LIMIT_S)
    try:
        asking.request(method, path, body=data, headers={**headers, "Connection": "close"})
        found = asking.getresponse()
        body = found.read()
    finally:
        asking.close()
    dropped = {"content-length", "transfer-encoding", "connection", "date", "server"}
    kept = {name: value for name, value in found.getheaders() if name.lower() not in dropped}
    return Answer(found.status, kept, body)


def _action(method: str, path: str, headers: Any, data: bytes) -> str:
    """Return the action that a request is for: EC2's, KMS's, EBS direct's; else "S3"."""
    if target := headers.get("X-Amz-Target"):
        return str(target).rpartition(".")[2]
    where = urlsplit(path).path
    if where.startswith("/snapshots"):
        parts = where.split("/")[1:]
        if len(parts) == 1:
            return "StartSnapshot"
        if parts[1] == "completion":
            return "CompleteSnapshot"
        if len(parts) == 3:
            return "ListSnapshotBlocks"
        return "PutSnapshotBlock" if method == "PUT" else "GetSnapshotBlock"
    if named := parse_qs(data.decode("latin-1")).get("Action"):
        return named[0]
    return "S3"
