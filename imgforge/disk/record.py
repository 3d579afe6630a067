"""NAME.disk.json: what a disk is, bound to the very file it stands beside."""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgforge.disk.disk import Disk
from imgforge.disk.partition import recognise_layout
from imgforge.errors import BadInputError
from imgforge.files import appearing
from imgforge.recipe import Layout, Recipe

_CHUNK_BYTES = 2**20
_ZEROS = bytes(_CHUNK_BYTES)
_SECTOR_BYTES = 512


class FileIdentity(BaseModel):
    """What changes whenever a file's content may have (stat(2))."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int
    inode: int
    mtime_ns: int
    ctime_ns: int


class DiskRecord(BaseModel):
    """The content of NAME.disk.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    disk: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int
    layout: Layout | None
    recipe_sha256: str
    lock_sha256: str
    recipe: Recipe | None = None
    build_key: str
    identity: FileIdentity

    def to_disk(self, path: Path) -> Disk:
        """Return the disk it describes, which stands at `path`."""
        return Disk(
            path=path,
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            layout=self.layout,
            recipe_sha256=self.recipe_sha256,
            lock_sha256=self.lock_sha256,
            recipe=self.recipe,
        )


def record_path(disk: Path) -> Path:
    """Return where the record of a disk stands: NAME.disk.json beside NAME.raw."""
    return disk.with_name(disk.name.removesuffix(".raw") + ".disk.json")


def read_record(disk: Path) -> DiskRecord | None:
    """Read a disk's record; None where there is none, or none that can be read."""
    try:
        return DiskRecord.model_validate_json(record_path(disk).read_bytes())
    except (OSError, ValidationError):
        return None


def write_record(disk: Path, record: DiskRecord) -> None:
    """Write a disk's record, whole or not at all."""
    values = record.model_dump(mode="json", by_alias=True)
    with appearing(record_path(disk)) as new:
        new.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="ascii")


def identify(status: os.stat_result) -> FileIdentity:
    """Return a file's identity."""
    return FileIdentity(
        size_bytes=status.st_size,
        inode=status.st_ino,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )


def open_disk(path: Path) -> Disk:
    """Look at a raw disk, made here or not, and return it with its digest.

    A record beside it is believed without reading the disk while the file is the one it was
    written for; else the disk is read, and the record counts only if the digests agree. Without
    one that counts, the layout is recognised from the disk's own bytes.
    Raises BadInputError for what is no disk: nothing, a folder, an empty file, a part of a
    sector, fewer bytes than its record or its partition table names.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadInputError(
            f"Disk {path}: {(error.strerror or 'cannot be read').lower()}."
        ) from None
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no regular file"
        raise BadInputError(f"Disk {path}: a raw disk is a file, this is {found}.")
    if status.st_size == 0:
        raise BadInputError(f"Disk {path}: the file is empty.", hint="Build it again.")
    record = read_record(path)
    if record is not None and identify(status) == record.identity:
        return record.to_disk(path)
    if record is not None and status.st_size < record.size_bytes:
        raise BadInputError(
            f"Disk {path}: it holds {status.st_size} bytes, {record_path(path).name} names "
            f"{record.size_bytes}: it was cut short.",
            hint="Build it again, or copy it again.",
        )
    if status.st_size % _SECTOR_BYTES:
        raise BadInputError(
            f"Disk {path}: {status.st_size} bytes are no whole number of {_SECTOR_BYTES}-byte "
            "sectors; it may have been cut short."
        )
    sha256 = disk_sha256(path)
    if record is None or record.sha256 != sha256:
        layout = recognise_layout(path)
        return Disk(path=path, sha256=sha256, size_bytes=status.st_size, layout=layout)
    with contextlib.suppress(OSError):  # a copy in a folder that is not ours to write
        write_record(
            path, record.model_copy(update={"identity": identify(status), "disk": path.name})
        )
    return record.to_disk(path)


def disk_sha256(path: Path) -> str:
    """Return the SHA-256 of a whole file, as sha256sum(1) prints it; holes are not read.

    Raises BadInputError where it cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return _hash(file.fileno())
    except OSError as error:
        raise BadInputError(f"Disk {path}: {error.strerror}.") from None


def _hash(descriptor: int) -> str:
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK_BYTES)
    position = 0
    for start, end in data_runs(descriptor):
        _feed_zeros(digest, start - position)
        position = start
        while position < end:
            count = os.preadv(
                descriptor, [memoryview(buffer)[: min(_CHUNK_BYTES, end - position)]], position
            )
            if count == 0:  # the file shrank while it was read
                raise OSError(0, "it changed while it was read")
            digest.update(memoryview(buffer)[:count])
            position += count
    _feed_zeros(digest, os.fstat(descriptor).st_size - position)
    return digest.hexdigest()


def _feed_zeros(digest: "hashlib._Hash", count: int) -> None:
    while count > 0:
        digest.update(memoryview(_ZEROS)[: min(count, _CHUNK_BYTES)])
        count -= _CHUNK_BYTES


def data_runs(descriptor: int) -> Iterator[tuple[int, int]]:
    """Walk the parts of a sparse file that are no holes, as (start, end) in bytes (lseek(2))."""
    size = os.fstat(descriptor).st_size
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # ENXIO: holes up to the end
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


@contextmanager
def synced_meanwhile(path: Path) -> Iterator[None]:
    """Bring a file to the disk while the body runs; an error of that is raised at its end."""
    errors: list[OSError] = []
    with path.open("rb") as file:

        def synchronise() -> None:
            try:
                os.fsync(file.fileno())
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=synchronise)
        thread.start()
        try:
            yield
        finally:
            thread.join()
    if errors:
        raise errors[0]
