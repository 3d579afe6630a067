"""An application behind a port of the loopback, in threads of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cheroot import wsgi

from imgforge.ec2.local.app import App
from imgforge.errors import HostError

_THREADS = 8
_MOST_THREADS = 64
_REQUEST_TIMEOUT_S = 60
_START_LIMIT_S = 10.0


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
