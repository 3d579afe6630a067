"""An application behind a port of the loopback, in threads of this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cheroot import wsgi

from imgforge.ec2.local.app import App
from imgforge.ec2.local.wire import CUT
from imgforge.errors import HostError

_THREADS = 8
_MOST_THREADS = 64
_REQUEST_TIMEOUT_S = 60
_START_LIMIT_S = 10.0


class _Gateway(wsgi.Gateway_10):
    """Tells the application how to cut the connection: WSGI has no way."""

    def get_environ(self) -> Any:
        environ = super().get_environ()  # type: ignore[no-untyped-call]
        end = self.req.conn.socket

        def cut() -> None:
            with suppress(OSError):  # the client may have gone
                end.shutdown(socket.SHUT_RDWR)

        return {**environ, CUT: cut}


@contextmanager
def serving(app: App, *, port: int = 0) -> Iterator[str]:
    """Answer on a port of 127.0.0.1, any free one by default, while the block runs; give its URL.

    Raises HostError where the port cannot be had.
    """
    server = wsgi.Server(
        ("127.0.0.1", port),
        app,
        numthreads=_THREADS,
        max=_MOST_THREADS,
        timeout=_REQUEST_TIMEOUT_S,
        shutdown_timeout=1,
    )
    server.gateway = _Gateway
    try:
        server.prepare()
    except OSError as error:
        raise HostError(f"Port {port} of 127.0.0.1: cannot be had: {error.strerror}.") from None
    thread = threading.Thread(target=server.serve, name="endpoint", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join(_START_LIMIT_S)
