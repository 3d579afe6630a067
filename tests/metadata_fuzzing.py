"""Hostile requests for two metadata services of one process, and what must hold for each answer.

As a program it serves: `python metadata_fuzzing.py FOLDER` answers on FOLDER/a and FOLDER/b until
its standard input ends, and tells one of b's tokens.
"""

import asyncio
import base64
import gc
import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypothesis import strategies as st  # noqa: E402

from imgforge.metadata import HttpTokens, MetadataOptions, MetadataService, Secrets  # noqa: E402
from imgforge.metadata.tree import Folder, Node, grow  # noqa: E402
from tests.metadata_instances import FULL  # noqa: E402

_LIMIT_S = 30.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATUSES = {100, 200, 400, 401, 403, 404, 405, 431}
OURS = replace(FULL, options=MetadataOptions(http_tokens=HttpTokens.REQUIRED))
# Another machine: nothing of it may ever be told by the first.
THEIRS = replace(OURS, instance_id="i-bbbbbbbbbbbbbbbbb", user_data=b"the other's secret")
_OWN, _FOREIGN = b"@OWN-TOKEN@", b"@FOREIGN-TOKEN@"


def _texts(node: Node) -> set[bytes]:
    if isinstance(node, Folder):
        listing = "\n".join(node.lines).encode()
        return {listing}.union(*(_texts(inner) for inner in node.nodes.values()))
    content = node() if callable(node) else node
    return {content.encode() if isinstance(content, str) else content}


_TREES = grow(OURS).by_version
TOLD = {"\n".join(_TREES).encode()}.union(*(_texts(tree) for tree in _TREES.values()))
"""Everything that the first service may answer a GET with."""

_WORDS = st.sampled_from(
    b"latest 1.0 2021-03-23 meta-data dynamic user-data api token instance-identity document iam "
    b"public-keys 0 openssh-key network .. . %2e%2e %2f %00 %ff % * etc passwd \xff".split(b" ")
)
_LATEST = st.sampled_from(
    b"/latest/meta-data/ami-id /latest/user-data /latest/api/token / /latest/ "
    b"/latest/meta-data/iam/security-credentials/web-role /latest/meta-data/tags/x".split(b" ")
)
_TARGETS = st.one_of(
    _LATEST,
    st.lists(_WORDS | st.just(b""), max_size=7).map(lambda words: b"/" + b"/".join(words)),
    st.builds(
        bytes.__add__, _LATEST, st.sampled_from([b"/", b"//", b"?a=b", b"#x", b"/../..", b" "])
    ),
    st.sampled_from(
        [b"*", b"http://169.254.169.254/latest/", b"http://[::1/", b"x:80", b"/" * 9000]
    ),
    st.binary(max_size=30),
)
_METHODS = st.one_of(
    st.sampled_from([b"GET", b"GET", b"GET", b"PUT", b"PUT", b"HEAD", b"POST", b"OPTIONS", b"get"]),
    st.sampled_from([b"DELETE", b"TRACE", b"CONNECT", b"PRI", b"M-SEARCH"]),
    st.binary(max_size=8),
)
_TTLS = st.one_of(
    st.sampled_from([b"60", b"1", b"21600", b"21601", b"0", b"-1", b"1e3", b"", b"9" * 4000]),
    st.binary(max_size=6),
)
_VALUES = st.one_of(st.binary(max_size=20), st.just(b"y" * 70_000), st.just(b"60"))
_HEADERS = st.one_of(
    st.sampled_from([(b"X-aws-ec2-metadata-token", _OWN), (b"X-aws-ec2-metadata-token", _FOREIGN)]),
    st.tuples(st.just(b"X-aws-ec2-metadata-token"), st.binary(max_size=60).map(base64.b64encode)),
    st.tuples(st.just(b"X-aws-ec2-metadata-token-ttl-seconds"), _TTLS),
    st.tuples(
        st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Expect", b"Connection"]),
        st.sampled_from([b"0", b"5", b"-1", b"chunked", b"100-continue", b"close", b"keep-alive"])
        | _VALUES,
    ),
    st.tuples(
        st.sampled_from(
            [b"Host", b"X-Forwarded-For", b"Upgrade", b"Range", b"User-Agent", b"", b" "]
        ),
        _VALUES,
    ),
    st.tuples(st.binary(max_size=10), _VALUES),
)


@dataclass(frozen=True, slots=True)
class Hostile:
    """What is sent, in pieces; a request that is not `complete` has been cut short."""

    pieces: tuple[bytes, ...]
    method: bytes
    has_own_token: bool
    half_close: bool


@st.composite
def hostile_requests(draw: st.DrawFn) -> Hostile:
    """Make requests that a service should answer, some that are nearly so, and garbage."""
    method, target = draw(_METHODS), draw(_TARGETS)
    version = draw(st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/9.9", b"", b"\x00"]))
    headers = draw(st.lists(_HEADERS, max_size=5))
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]))
    if draw(st.integers(0, 3)):
        headers = [(b"Host", b"x"), *headers]
    lines = [b" ".join((method, target, version)), *(b": ".join(header) for header in headers)]
    data = end.join([*lines, b"", b""]) + draw(st.binary(max_size=40) | st.just(b"5\r\nabcde\r\n"))
    data *= draw(st.sampled_from([1, 1, 1, 1, 2, 20]))  # pipelined
    kept = draw(st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.5, 0.1]))
    data = data[: int(len(data) * kept)]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    edges = [0, *cuts, len(data)]
    return Hostile(
        tuple(data[start:stop] for start, stop in pairwise(edges)),
        method,
        has_own_token=_OWN in data,
        half_close=draw(st.booleans()),
    )


class Services:
    """The two services, in a process of their own, whose memory can be looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        """Start them. Raises ValueError where they do not begin."""
        with ExitStack() as stack:
            self._errors = stack.enter_context((self._folder / "stderr").open("wb"))
            self._process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, self._folder],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                )
            )
            assert self._process.stdout is not None
            self._foreign = json.loads(self._process.stdout.readline()).encode()
            self._own = self.token("a")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_LIMIT_S)
        self._stack.close()

    @property
    def memory_bytes(self) -> int:
        """What they keep in memory."""
        statm = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * _PAGE_BYTES

    @property
    def said(self) -> str:
        """What they wrote on stderr: nothing, where nothing went wrong."""
        return (self._folder / "stderr").read_text(errors="replace")

    def connect(self, name: str) -> socket.socket:
        """Return a new connection to one of them."""
        wire = socket.socket(socket.AF_UNIX)
        wire.connect(str(self._folder / name / "metadata"))  # waits while the backlog is full
        wire.settimeout(_LIMIT_S)
        return wire

    def ask(self, name: str, request: bytes) -> bytes:
        """Return the whole answer to a request."""
        with self.connect(name) as wire:
            wire.sendall(request)
            return _read(wire)

    def token(self, name: str) -> bytes:
        """Return a token of one of them."""
        head = b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n"
        reply = self.ask(name, head + b"X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n")
        return reply.partition(b"\r\n\r\n")[2]

    def answers(self, name: str) -> bool:
        """Tell whether one of them answers a good request."""
        head = (
            b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: "
        )
        return b" 200 OK" in self.ask(name, head + self.token(name) + b"\r\n\r\n")

    def check(self, hostile: Hostile) -> None:
        """Send it to the first service, and assert what holds for any answer."""
        with self.connect("a") as wire:
            try:
                for piece in hostile.pieces:
                    own = piece.replace(_OWN, self._own)
                    wire.sendall(own.replace(_FOREIGN, self._foreign))
                if hostile.half_close:
                    wire.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            # Without an end, half a request has no answer yet: look at what is there, and go.
            reply = _read(wire) if hostile.half_close else _read_now(wire)
        check_reply(reply, hostile)


def check_reply(reply: bytes, hostile: Hostile) -> None:
    """Assert what holds for any answer of the first service."""
    for never in (
        b"Traceback",
        b'File "',
        b"site-packages",
        b"root:",
        b"bbbbbbbb",
        b"other's secret",
    ):
        assert never not in reply
    if not reply:
        return
    if reply.startswith(b"HTTP/1.1 100 "):
        reply = reply.partition(b"\r\n\r\n")[2]
    found = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", reply)
    assert found is not None or not reply, reply[:80]
    _, complete, body = reply.partition(b"\r\n\r\n")
    if found is None or not complete:
        return
    status = int(found[1])
    assert status in _STATUSES, reply[:80]
    if status == 200 and len(body) != 56 and body:  # neither a token nor HEAD nor OPTIONS
        assert body in TOLD, body[:80]
        assert hostile.has_own_token, "an answer without a token of this machine"


def _read(wire: socket.socket) -> bytes:
    data = b""
    try:
        while piece := wire.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def _read_now(wire: socket.socket) -> bytes:
    wire.setblocking(False)
    try:
        return wire.recv(65536)
    except (BlockingIOError, ConnectionResetError):
        return b""


def hold(services: Services, count: int) -> list[socket.socket]:
    """Return so many connections to the first service, each with half a request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 256:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 256, hard), hard))
    held = []
    for _ in range(count):
        held.append(services.connect("a"))
        held[-1].sendall(b"GET /latest/meta-data/ HTTP/1.1\r\nX-Slow: ")
    return held


async def _serve(folder: Path) -> None:
    async with (
        MetadataService(OURS, folder=folder / "a", clock=time.monotonic, tell=lambda _: None),
        MetadataService(
            THEIRS,
            folder=folder / "b",
            clock=time.monotonic,
            tell=lambda _: None,
            secrets=(secrets := Secrets()),
        ),
    ):
        token = secrets.tokens.issue(
            ttl_s=21600, instance_id=THEIRS.instance_id, now_s=time.monotonic()
        )
        gc.freeze()
        print(json.dumps(token), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    _folder = Path(sys.argv[1])
    for _name in ("a", "b"):
        (_folder / _name).mkdir()
    asyncio.run(_serve(_folder))
