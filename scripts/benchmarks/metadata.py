"""The metadata service against moto's and against Python's own server, asked by one client."""

import json
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.figure import Figure, seconds

_SERVERS = Path(__file__).with_name("metadata_servers.py")
_REQUESTS = 2000
_TURN = 100  # by short turns, so that a busy host slows all of them alike
_AT_ONCE = 4
_LIMIT_S = 60
_ASKED = b"GET /latest/meta-data/instance-type HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"


def measure_metadata(*, runs: int) -> Iterator[Figure]:
    """Measure the seconds of 2000 requests, four at once, each with a connection of its own."""
    with ExitStack() as stack:
        ports = {}
        for name in ("ours", "moto", "http.server"):
            server = stack.enter_context(
                subprocess.Popen(  # noqa: S603  (our own program)
                    [sys.executable, _SERVERS, name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
            stack.callback(server.terminate)
            assert server.stdout is not None
            ports[name] = int(json.loads(server.stdout.readline()))
            ask(ports[name], times=_REQUESTS // 10)
        taken = [_by_turns(ports) for _ in range(runs)]
    ours = tuple(one["ours"] for one in taken)
    for base in ("moto", "http.server"):
        words = f"{_REQUESTS} requests of the metadata service / of {base}, {_AT_ONCE} at once"
        bare = tuple(one[base] for one in taken)
        yield Figure(f"metadata: {base}", 1.0, ours, bare, words)


def _by_turns(ports: Mapping[str, int]) -> Mapping[str, float]:
    """Return the seconds of all requests to each server."""
    taken = dict.fromkeys(ports, 0.0)
    for _ in range(_REQUESTS // _TURN):
        for name, port in ports.items():
            taken[name] += seconds(partial(ask, port, times=_TURN))
    return taken


def ask(port: int, *, times: int) -> None:
    """Ask so often, with some connections at once. Raises RuntimeError for an answer but a 200."""
    left, answers = times, 0
    with selectors.DefaultSelector() as selector:
        for _ in range(min(_AT_ONCE, left)):
            left -= 1
            selector.register(_begin(port), selectors.EVENT_READ, bytearray())
        while answers < times:
            ready = selector.select(_LIMIT_S)
            if not ready:
                raise RuntimeError(f"no answer on port {port} for {_LIMIT_S} s")
            for key, _ in ready:
                wire, data = key.fileobj, key.data
                assert isinstance(wire, socket.socket)
                piece = wire.recv(65536)
                data += piece
                if piece and not _is_whole(data):
                    continue
                if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                    raise RuntimeError(f"port {port} answered {bytes(data[:80])!r}")
                answers += 1
                selector.unregister(wire)
                wire.close()
                if left:
                    left -= 1
                    selector.register(_begin(port), selectors.EVENT_READ, bytearray())


def _begin(port: int) -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S)
    wire.sendall(_ASKED)
    return wire


def _is_whole(data: bytearray) -> bool:
    head, complete, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if complete and line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return False
