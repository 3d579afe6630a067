"""The local EC2: the catalog behind the endpoint, on a port of this host, until it is stopped."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgforge import host
from imgforge.ec2 import Fault, WholeWish, serving_all
from imgforge.stored_bundle import read_stored_bundle


@dataclass(frozen=True, slots=True)
class ServeWish:
    """What `imgforge serve` is asked for; port 0 is a free one.

    `pending_s` is how long images, snapshots and volumes that are made stay pending.
    """

    port: int = 0
    catalog: Path | None = None
    pending_s: float = 1.0
    faults: Sequence[Fault] = ()


def serve(wish: ServeWish, *, announce: Callable[[str], None]) -> None:
    """Answer requests until a signal raises KeyboardInterrupt; `announce` is told the URL first.

    Raises HostError where the port or the catalog cannot be had.
    """
    folder = wish.catalog or host.catalog_dir()
    whole = WholeWish(
        catalog=folder,
        storage=host.s3_dir(folder),
        read_bundle=read_stored_bundle,
        pending_s=wish.pending_s,
        port=wish.port,
        faults=wish.faults,
    )
    with serving_all(whole) as url:
        announce(url)
        threading.Event().wait()
