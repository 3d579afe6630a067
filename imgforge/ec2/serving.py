"""All services behind one port, for the flow to start; loaded when they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imgforge.ec2.local.fault import Fault

if TYPE_CHECKING:
    # Whoever uploads a bundle need not load images, disks and machines.
    from imgforge.catalog import BundleFacts

OpenPart = Callable[[str], AbstractContextManager[BinaryIO]]
"""Gives a part's bytes by its file name. Raises RefusedError where EC2 may not read it."""
ReadBundle = Callable[[bytes, str, OpenPart, Sequence[str]], "BundleFacts"]
"""Reads a manifest of an account's, and verifies the parts, and by the account's signing
certificates, in PEM, its signature; with none of them nobody tells. Raises RefusedError."""


@dataclass(frozen=True, slots=True)
class WholeWish:
    """An endpoint to be: images, snapshots and volumes of `catalog`, S3's objects of `storage`.

    What is made stays pending for `pending_s`; `read_bundle` reads what is registered from S3.
    With `access_keys` only who signs with one of them is let in.
    """

    catalog: Path
    storage: Path
    read_bundle: ReadBundle
    pending_s: float
    port: int = 0
    faults: Sequence[Fault] = ()
    access_keys: frozenset[str] | None = None


@contextmanager
def serving_all(wish: WholeWish) -> Iterator[str]:
    """Answer on a port of 127.0.0.1 while the block runs; give the URL.

    Raises HostError where the port or a folder cannot be had.
    """
    from imgforge.ec2.local.whole import serve_whole

    with serve_whole(wish) as url:
        yield url
