"""A snapshot becomes a raw disk: whole or not at all, and what is zeros stays a hole."""

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from imgforge import host
from imgforge.ec2 import BLOCK_BYTES, Blocks, Cloud, ListedBlock
from imgforge.errors import BadInputError, CloudError, HostError
from imgforge.files import lock_within, sync_folder
from imgforge.progress import report, warn
from imgforge.snapshot_transfer.crew import Crew
from imgforge.snapshot_transfer.journal import (
    Entry,
    Journal,
    create_journal,
    open_journal,
    read_journal,
)
from imgforge.snapshot_transfer.reading import list_blocks, read_blocks
from imgforge.snapshot_transfer.source import ZEROS_SHA256, sha256_of

_GIB = 2**30
_PATIENCE_S = 120.0
_FAR_WORKERS = 32
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Existing(StrEnum):
    """What becomes of a file that stands where the disk is to go."""

    REFUSE = "refuse"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class DownloadWish:
    """How a snapshot is downloaded."""

    existing: Existing = Existing.REFUSE
    patience_s: float = field(default_factory=lambda: _PATIENCE_S)


@dataclass(frozen=True, slots=True)
class DownloadedSnapshot:
    """A disk that is here, whole; `blocks_kept` were here from an earlier run."""

    path: Path
    snapshot_id: str
    size_bytes: int
    blocks_fetched: int
    blocks_kept: int


def download_snapshot(
    cloud: Cloud, snapshot_id: str, destination: Path, wish: DownloadWish = DownloadWish()
) -> DownloadedSnapshot:
    """Download a snapshot as a sparse raw disk of its volume's size.

    Each block is compared with its checksum. The disk appears when all of it is on the disk; until
    then it grows beside it, as `.NAME.part`, and another run goes on with that. Raises
    BadInputError, CloudError, HostError.
    """
    _check_place(destination, wish)
    part = destination.with_name(f".{destination.name}.part")
    # Before a file is made: who may not read it leaves none.
    size_gib, listed = list_blocks(cloud.blocks, snapshot_id)
    if not size_gib or any(number * BLOCK_BYTES >= size_gib * _GIB for number in listed):
        raise CloudError(
            f"Snapshot {snapshot_id}: its blocks are not within its {size_gib} GiB.", code="NoEBS"
        )
    with _told(destination), _claimed(part, destination) as descriptor:
        done = _Download(cloud, snapshot_id, part, wish)
        return done.run(listed, descriptor, size_bytes=size_gib * _GIB, destination=destination)


@contextmanager
def _claimed(part: Path, destination: Path) -> Iterator[int]:
    """Give the file that the disk grows in, locked. Raises HostError where another run has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(part, flags, 0o644)
    try:
        is_had = lock_within(descriptor, fcntl.LOCK_EX, limit_s=0)
        # Whoever had it may have let it appear meanwhile: then it is no longer this name's.
        if (
            not is_had
            or not part.exists()
            or not os.path.samestat(part.stat(), os.fstat(descriptor))
        ):
            raise HostError(
                f"Disk {destination}: another run downloads it.", hint="Wait for it, or end it."
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _check_place(destination: Path, wish: DownloadWish) -> None:
    if destination.is_dir() or (os.path.lexists(destination) and not destination.is_file()):
        raise BadInputError(f"File {destination}: is no regular file; name one that is to be made.")
    if destination.exists() and wish.existing is Existing.REFUSE:
        raise BadInputError(
            f"File {destination}: already exists.", hint="Name another, or use --force."
        )
    if not destination.parent.is_dir():
        raise BadInputError(f"Folder {destination.parent}: is not there.")


@contextmanager
def _told(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = destination.parent
        if error.errno in _FULL:
            raise HostError(
                f"Folder {folder}: no space is left on its file system for the disk.",
                hint="Free some; what is here stays: run the command again, it goes on from there.",
            ) from error
        raise HostError(f"Folder {folder}: cannot be written to: {error.strerror}.") from error


class _Download:
    """One download."""

    def __init__(self, cloud: Cloud, snapshot_id: str, part: Path, wish: DownloadWish) -> None:
        self._cloud = cloud
        self._blocks: Blocks = cloud.blocks
        self._snapshot_id = snapshot_id
        self._part = part
        self._wish = wish

    def run(
        self,
        listed: Mapping[int, ListedBlock],
        descriptor: int,
        *,
        size_bytes: int,
        destination: Path,
    ) -> DownloadedSnapshot:
        """Fetch what is missing, and let the disk appear."""
        journal_path = self._part.with_name(f"{self._part.name}.journal")
        here = self._here(journal_path, descriptor)
        missing = {number: block for number, block in listed.items() if number not in here}
        report(f"download: {len(missing)} of {len(listed)} blocks of {self._snapshot_id}")
        if not here:
            os.ftruncate(descriptor, 0)
        os.ftruncate(descriptor, size_bytes)
        with self._staying(), self._journal(journal_path, is_new=not here) as journal:
            self._fetch(journal, missing, descriptor)
        os.fsync(descriptor)
        self._part.replace(destination)
        sync_folder(destination.parent)
        journal_path.unlink()
        return DownloadedSnapshot(
            destination, self._snapshot_id, size_bytes, len(missing), len(listed) - len(missing)
        )

    @contextmanager
    def _staying(self) -> Iterator[None]:
        """Say what stays of a disk where the block fails or is interrupted."""
        try:
            yield
        except BaseException:
            warn(
                f"download: what is here stays in {self._part}: the same command goes on with it; "
                "removing that file gives it up"
            )
            raise

    def _here(self, journal_path: Path, descriptor: int) -> Mapping[int, bytes]:
        """Return the blocks that an earlier run has written, and that are on the disk."""
        told = read_journal(journal_path)
        if told is None or told.head.get("snapshot_id") != self._snapshot_id:
            return {}
        # A host that failed may have written down what it has not written.
        here = {
            number: digest
            for number, digest in told.fetched.items()
            if _digest_at(descriptor, number) == digest
        }
        if here:
            report(f"download: {len(here)} blocks of {self._snapshot_id} are here")
        return here

    def _journal(self, path: Path, *, is_new: bool) -> Journal:
        if is_new:
            return create_journal(path, {"snapshot_id": self._snapshot_id})
        return open_journal(path)

    def _fetch(self, journal: Journal, missing: dict[int, ListedBlock], descriptor: int) -> None:
        def write(number: int, data: bytes, sha256: bytes) -> None:
            if sha256 != ZEROS_SHA256:
                _write_at(descriptor, number, data)
            journal.write(Entry.FETCHED, number, sha256)

        workers = 2 * host.cpu_count() if self._cloud.endpoint.is_near else _FAR_WORKERS
        crew = Crew("download", workers=workers, patience_s=self._wish.patience_s)
        read_blocks(self._blocks, self._snapshot_id, missing, crew=crew, take=write)


def _write_at(descriptor: int, number: int, data: bytes) -> None:
    done = os.pwrite(descriptor, data, number * BLOCK_BYTES)
    while done < len(data):  # on a file system that becomes full, the next one fails
        done += os.pwrite(descriptor, data[done:], number * BLOCK_BYTES + done)


def _digest_at(descriptor: int, number: int) -> bytes:
    return sha256_of(os.pread(descriptor, BLOCK_BYTES, number * BLOCK_BYTES))
