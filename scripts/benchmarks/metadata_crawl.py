"""cloud-init's crawl in a guest, of the metadata service and of the same bytes as static files.

Both stand in the guest's network namespace, on two ports of 169.254.169.254: the same way in.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.figure import Figure
from imgforge.disk import Disk
from imgforge.errors import HostError
from imgforge.machine import AcceleratorWish
from imgforge.metadata import ADDRESS_IPV4
from imgforge.metadata.tree import Folder, Node, grow
from imgforge.metadata.versions import LATEST
from imgforge.start import pick_accelerator
from imgforge.testing.forge import Forge
from imgforge.testing.live import LiveInstance
from imgforge.testing.loop_thread import LoopThread
from imgforge.testing.plan import Image, Plan, Start

_LIMIT_S = 600.0
_PORT = 8080
_CRAWL = """sudo -n python3 -c '
import time
from cloudinit.sources.helpers.ec2 import get_instance_metadata as crawl
crawl("latest", "{url}")
started = time.monotonic()
assert crawl("latest", "{url}")["instance-id"]
print(time.monotonic() - started)'"""


def measure_crawl(disk: Disk, *, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure both by turns in one clone of a disk with cloud-init.

    Raises HostError where the host has no namespace for its machines.
    """
    assert disk.recipe is not None
    plan = Plan(
        image=Image(disk, disk.recipe.expect),
        accelerator=pick_accelerator(AcceleratorWish.AUTO),
        start=Start.FORK,
    )
    forge = Forge(scratch / "first-boots")

    async def measure() -> list[tuple[float, float]]:
        async with forge.machine(plan, scratch / "machine") as live:
            machine = live.witness.machine
            if machine.metadata is None or machine.gate is None:
                raise HostError("The crawl is measured in a network namespace; this host has none.")
            files = scratch / "files"
            _write(files / LATEST, grow(machine.metadata.instance).by_version[LATEST])
            static = await machine.gate.take_socket()
            static.settimeout(None)
            static.bind((ADDRESS_IPV4, _PORT))
            with _serve(files, static):
                return [(await _crawl(live, 80), await _crawl(live, _PORT)) for _ in range(runs)]

    with (loop := LoopThread()):
        ours, base = zip(*loop.call(measure()), strict=True)
    words = "cloud-init's crawl of the metadata service / of static files"
    yield Figure("metadata-crawl", 1.10, ours, base, words)


async def _crawl(live: LiveInstance, port: int) -> float:
    command = _CRAWL.format(url=f"http://{ADDRESS_IPV4}:{port}")
    done = await live.shell().run(command, timeout_s=_LIMIT_S)
    return float(done.stdout)


def _write(path: Path, node: Node) -> None:
    if isinstance(node, Folder):
        path.mkdir(parents=True)
        (path / "index").write_text("\n".join(node.lines), encoding="utf-8")
        for name, inner in node.nodes.items():
            _write(path / name, inner)
    else:
        content = node() if callable(node) else node
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def _serve(files: Path, listener: socket.socket) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Send a file."""
            found = files / self.path.strip("/")
            found = found / "index" if found.is_dir() else found
            body = found.read_bytes() if found.is_file() else b""
            self.send_response(200 if found.is_file() else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((ADDRESS_IPV4, _PORT), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_activate()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
