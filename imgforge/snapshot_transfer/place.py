"""Where journals are kept: one for each upload of a disk, and one for each snapshot it made."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imgforge import host
from imgforge.ec2 import Cloud, EndpointKind
from imgforge.errors import HostError
from imgforge.files import lock_within, told_writing

_FOLDER = "snapshot-uploads"
_KEY_DIGITS = 32


def journals_folder() -> Path:
    """Return the folder of the journals, which is made where it is missing."""
    folder = host.data_dir() / _FOLDER
    with told_writing(folder.parent, "the journals of uploads"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def upload_journal(cloud: Cloud, disk: Path, options: Mapping[str, Any]) -> Path:
    """Return where the journal of an upload stands: the same disk, options and endpoint, the same.

    No secret is in its name or in it.
    """
    text = json.dumps([str(disk.resolve()), dict(options), *_where(cloud)], sort_keys=True)
    return journals_folder() / f"{_digest(text)}.journal"


def snapshot_journal(cloud: Cloud, snapshot_id: str) -> Path:
    """Return where the digests of a snapshot stand that was uploaded from here."""
    return journals_folder() / f"{snapshot_id}{_of_cloud(cloud)}"


def kept_journals(cloud: Cloud) -> dict[str, Path]:
    """Return the journals of snapshots that were uploaded from here to this cloud, by their ids."""
    end = _of_cloud(cloud)
    return {path.name.removesuffix(end): path for path in sorted(journals_folder().glob(f"*{end}"))}


def _of_cloud(cloud: Cloud) -> str:
    return f"-{_digest(json.dumps(_where(cloud)))}.blocks"


def _where(cloud: Cloud) -> list[str]:
    endpoint = cloud.endpoint
    if endpoint.kind is EndpointKind.EMBEDDED:  # its port is another each time, its catalog is not
        return ["embedded", str(host.catalog_dir()), cloud.region]
    return [endpoint.kind.value, endpoint.url, cloud.region]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


@contextmanager
def alone(journal: Path, what: str) -> Iterator[None]:
    """Let one run at a time work with a journal. Raises HostError where another does."""
    descriptor = lock_journal(journal)
    if descriptor is None:
        raise HostError(
            f"{what}: another run is at it.", hint="Wait for it, or end it; then run it again."
        )
    try:
        yield
    finally:
        os.close(descriptor)


def lock_journal(journal: Path) -> int | None:
    """Return the descriptor that locks a journal while it is open; None where another has it.

    Raises HostError where the lock's file cannot be made.
    """
    lock = journal.with_suffix(".lock")
    while True:
        with told_writing(lock.parent, "the lock of an upload"):
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=0):
            os.close(descriptor)
            return None
        try:
            if os.path.samestat(lock.lstat(), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # its file was pruned meanwhile: another has its name
