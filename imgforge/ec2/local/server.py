"""An application behind a port of the loopback, in threads of this process."""

import functools
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cheroot import wsgi

from imgforge.ec2.local.app import App, Application
from imgforge.ec2.local.connection import Connection, Respond, cut_off
from imgforge.ec2.local.wire import CUT
from imgforge.errors import HostError

_LOG = logging.getLogger("imgforge.ec2.local")
_THREADS = 16
_MORE_THREADS = 16
_SPARE_THREADS = 4
_MOST_THREADS = 256
_REQUEST_TIMEOUT_S = 60
_TICK_S = 0.05  # how long an end is noticed after it was asked for
_END_LIMIT_S = 10.0


class _Gateway(wsgi.Gateway_10):
    """Tells the application how to cut the connection: WSGI has no way."""

    def get_environ(self) -> Any:
        environ = super().get_environ()  # type: ignore[no-untyped-call]
        return {**environ, CUT: functools.partial(cut_off, self.req.conn.socket)}

    def respond(self) -> None:
        """Answer, headers and body in one piece where that is short."""
        answer = self.req.conn.wfile
        answer.hold()
        try:
            super().respond()
        finally:
            answer.flush()


class _Server(wsgi.Server):
    """A server whose threads become more where all wait for clients that are slow."""

    @property
    def respond(self) -> Respond | None:
        """What answers a request without WSGI; None for an application that knows nothing else."""
        app = self.wsgi_app
        return app.respond if isinstance(app, App) else None

    def process_conn(self, conn: Any) -> None:
        """Hand a connection that something has come on to a thread."""
        if self.requests.idle < self.requests.qsize + _SPARE_THREADS:
            self.requests.grow(self.requests.qsize + _MORE_THREADS)
        super().process_conn(conn)


@contextmanager
def serving(app: Application, *, port: int = 0) -> Iterator[str]:
    """Answer on a port of 127.0.0.1, any free one by default, while the block runs; give its URL.

    Raises HostError where the port cannot be had.
    """
    server = _Server(
        ("127.0.0.1", port),
        app,
        numthreads=_THREADS,
        max=_MOST_THREADS,
        timeout=_REQUEST_TIMEOUT_S,
        shutdown_timeout=1,
    )
    server.gateway = _Gateway
    server.ConnectionClass = Connection
    server.expiration_interval = _TICK_S
    vars(server)["error_log"] = _log  # cheroot's own writes to stderr
    try:
        server.prepare()
    except OSError as error:
        raise HostError(
            f"Port {port} of 127.0.0.1: cannot be had: {error.strerror or error}."
        ) from None
    thread = threading.Thread(target=server.serve, name="endpoint", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join(_END_LIMIT_S)


def _log(msg: str = "", level: int = logging.DEBUG, traceback: bool = False) -> None:  # noqa: FBT001, FBT002 (cheroot's)
    """Keep what a client that goes away leaves behind."""
    _LOG.debug("%s", msg, exc_info=traceback)
