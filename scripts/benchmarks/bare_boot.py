"""A bare boot: QEMU with the same disk and devices, a plain metadata server, and ssh in a loop."""

import contextlib
import shlex
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from imgforge.acceptance import Login
from imgforge.command import run, spawn
from imgforge.disk import Disk
from imgforge.machine import Accelerator, MachineSpec, plain_storage
from imgforge.machine.argv import Wiring, qemu_argv
from imgforge.metadata import Instance, relay
from imgforge.metadata.answer import HttpRequest, answer
from imgforge.metadata.tokens import Tokens
from imgforge.metadata.tree import grow
from imgforge.start import Start, new_instance

_POLL_S = 0.25
_LIMIT_S = 900.0
_CONSOLE_FD, _MONITOR_FD = 3, 4  # only to find their places in QEMU's arguments
_SSH_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=1",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "LogLevel=QUIET",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
)


def bare_boot(disk: Disk, start: Start, *, accelerator: Accelerator, login: Login) -> float:
    """Return the seconds from QEMU's start until `ssh … id -un` got in; then QEMU is killed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        spec = MachineSpec(
            disk=disk.path,
            accelerator=accelerator,
            instance=new_instance(login),
            folder=folder,
            source=start.source,
        )
        overlay = folder / "overlay.qcow2"
        backing = ("-b", disk.path.absolute(), "-F", "raw")
        with _metadata_server(spec.instance, folder) as launcher:
            started = time.monotonic()
            run("qemu-img", ["create", "-q", "-f", "qcow2", *backing, overlay])
            port = _free_port()
            qemu = spawn("qemu-system-x86_64", _argv(spec, overlay, launcher, port))
            try:
                _await_login(login, port, until=started + _LIMIT_S)
                return time.monotonic() - started
            finally:
                qemu.kill()


def _argv(spec: MachineSpec, overlay: Path, launcher: Path, port: int) -> list[str]:
    """Return imgforge's own arguments without its monitor, and with the console into a file."""
    wiring = Wiring(
        plain_storage(overlay, disk_format="qcow2"),
        launcher,
        console_fd=_CONSOLE_FD,
        monitor_fd=_MONITOR_FD,
    )
    text = "\n".join(qemu_argv(spec, wiring))
    for found, replacement in (
        ("\n-S\n", "\n"),
        (f"socket,id=console,fd={_CONSOLE_FD}", f"file,id=console,path={spec.folder}/console"),
        (f"-chardev\nsocket,id=monitor,fd={_MONITOR_FD}\n-mon\nchardev=monitor,mode=control\n", ""),
        ("hostfwd=tcp:127.0.0.1:0-:22", f"hostfwd=tcp:127.0.0.1:{port}-:22"),
    ):
        assert text.count(found) == 1, f"QEMU's arguments changed: {found!r}"
        text = text.replace(found, replacement)
    return text.split("\n")


def _await_login(login: Login, port: int, *, until: float) -> None:
    options = [word for option in _SSH_OPTIONS for word in ("-o", option)]
    arguments = ["-F", "/dev/null", "-T", "-p", str(port), "-i", str(login.private_key), *options]
    while time.monotonic() < until:
        next_at = time.monotonic() + _POLL_S
        tried = run(
            "ssh",
            [*arguments, f"{login.user}@127.0.0.1", "id -un"],
            accepted_exit_codes=range(256),
            timeout_s=60,
        )
        if tried.exit_code == 0 and tried.stdout.split() == [login.user.encode()]:
            return
        time.sleep(max(0.0, next_at - time.monotonic()))
    raise TimeoutError(f"nobody got in within {_LIMIT_S:g} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _metadata_server(instance: Instance, folder: Path) -> Iterator[Path]:
    """Serve `instance` by http.server on a UNIX socket; give the script slirp is to run."""
    tokens = Tokens()
    trees = grow(instance)

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = HttpRequest(self.command, self.path.partition("?")[0], headers)
            given = answer(asked, trees, tokens, time.monotonic())
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        do_GET = do_PUT = do_HEAD = _reply  # noqa: N815  (http.server's names)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    address = folder / "metadata"
    launcher = folder / "relay"
    words = [sys.executable, "-I", "-S", relay.__file__, str(address)]
    launcher.write_text(f"exec {shlex.join(words)} 2>/dev/null\n")
    with socketserver.ThreadingUnixStreamServer(str(address), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield launcher
        finally:
            server.shutdown()
            thread.join()
