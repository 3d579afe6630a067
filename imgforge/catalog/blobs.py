"""Raw disks, kept by their content, as blobs/sha256/ab/abcdef… in the catalog's folder."""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imgforge.errors import BadInputError, HostError
from imgforge.files import locked_folder, scratch_folder, sync, sync_folder
from imgforge.progress import report

if TYPE_CHECKING:
    from imgforge.disk import Disk

_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_CHUNK_BYTES = 2**20
_COPY_BYTES = 64 * 2**20
_ZEROS = memoryview(bytes(_CHUNK_BYTES))


def blob_path(folder: Path, sha256: str) -> Path:
    """Return where the blob of this digest stands under the catalog's `folder`."""
    return folder / "blobs" / "sha256" / sha256[:2] / sha256


def store_blob(folder: Path, disk: "Disk") -> Path:
    """Keep the disk's content in the catalog's `folder`; what is there already is not copied.

    The blob appears whole, checked against the disk's SHA-256, on the disk, and read-only. Holes
    stay holes. Raises BadInputError where the disk is not what its digest says, HostError where
    the folder cannot be written to.
    """
    path = blob_path(folder, disk.sha256)
    blobs = folder / "blobs"
    with _told(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whoever comes second with the same content waits, and finds it.
        with locked_folder(path.parent):
            if _is_whole(path, disk.size_bytes):
                return path
            report(f"catalog: copying {disk.path.name}")
            with scratch_folder(blobs) as aside:
                new = aside / "blob"
                _copy_checked(disk, new)
                new.chmod(0o444)
                sync(new)
                new.replace(path)
            for parent in (path.parent, path.parent.parent, blobs, folder):
                sync_folder(parent)
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, without reading its holes."""
    with path.open("rb") as file:
        return _hash_sparse(file.fileno(), path.stat().st_size)


def _is_whole(path: Path, size_bytes: int) -> bool:
    """Tell whether the blob is there; a cut one, which only a damaged disk leaves, is not."""
    return path.is_file() and path.stat().st_size == size_bytes


def _copy_checked(disk: "Disk", new: Path) -> None:
    with _open_disk(disk) as source, new.open("x+b") as target:
        _copy_sparse(source, target.fileno(), disk.size_bytes)
        found = _hash_sparse(target.fileno(), disk.size_bytes)
    if found != disk.sha256:
        raise BadInputError(
            f"Disk {disk.path}: its SHA-256 is {found} now; {disk.sha256} was built or tested.",
            hint=f"imgforge test {disk.path} looks at what it is now.",
        )


@contextlib.contextmanager
def _open_disk(disk: "Disk") -> Iterator[int]:
    if not disk.path.is_file():
        found = "is not a regular file" if disk.path.exists() else "is not there"
        raise BadInputError(f"Disk {disk.path}: {found}; a raw disk file is needed.")
    try:
        descriptor = os.open(disk.path, os.O_RDONLY)
    except OSError as error:
        raise BadInputError(f"Disk {disk.path}: cannot be read: {error.strerror}.") from None
    try:
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes != disk.size_bytes or size_bytes == 0:
            raise BadInputError(
                f"Disk {disk.path}: has {size_bytes} bytes; {disk.size_bytes} were built or tested."
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_sparse(source: int, target: int, size_bytes: int) -> None:
    """Share the blocks where the file system can, else copy the data between the holes."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        os.ftruncate(target, size_bytes)
        return
    os.ftruncate(target, size_bytes)
    for start, end in data_extents(source, size_bytes):
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            copied = os.sendfile(target, source, start, min(end - start, _COPY_BYTES))
            if copied == 0:
                return  # the disk was cut meanwhile: its digest will tell
            start += copied


def _hash_sparse(descriptor: int, size_bytes: int) -> str:
    """Return the SHA-256 of a whole file, without reading its holes."""
    digest = hashlib.sha256()
    position = 0
    for start, end in data_extents(descriptor, size_bytes):
        _hash_zeros(digest, start - position)
        position = start
        while position < end:
            chunk = os.pread(descriptor, min(end - position, _CHUNK_BYTES), position)
            if not chunk:
                return ""
            digest.update(chunk)
            position += len(chunk)
    _hash_zeros(digest, size_bytes - position)
    return digest.hexdigest()


def _hash_zeros(digest: "hashlib._Hash", count: int) -> None:
    for _ in range(count // _CHUNK_BYTES):
        digest.update(_ZEROS)
    digest.update(_ZEROS[: count % _CHUNK_BYTES])


def data_extents(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield where a file's data starts and ends, in bytes (lseek(2), SEEK_DATA)."""
    position = 0
    while position < size_bytes:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        position = min(os.lseek(descriptor, start, os.SEEK_HOLE), size_bytes)
        yield start, position


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise HostError(
                f"Catalog {folder}: no space is left on its file system for the disk.",
                hint="Free some, or set XDG_DATA_HOME to a folder elsewhere.",
            ) from error
        raise HostError(f"Catalog {folder}: cannot be written to: {error.strerror}.") from error
