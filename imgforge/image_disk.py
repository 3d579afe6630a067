"""An image's root volume becomes a disk in the cache: what machines are started from."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from imgforge import host
from imgforge.disk import Disk, disk_sha256, open_disk
from imgforge.ec2 import Cloud, EndpointKind, Image, Snapshot
from imgforge.errors import BadInputError, HostError
from imgforge.files import lock_within, scratch_folder, sync, sync_folder, told_writing
from imgforge.layout import Layout
from imgforge.made_tags import LAYOUT, LOCK_SHA256, RECIPE_SHA256, SHA256, SIZE_BYTES
from imgforge.progress import report
from imgforge.snapshot_transfer import download_snapshot
from imgforge.usage import in_use, touch_used

CACHE_FOLDER = "snapshots"
_DISK = "disk.raw"
_INCOMING = "incoming"
_FETCHED = "volume.raw"
_FACTS = "snapshot.json"
_LOCK = ".lock"
_LIMIT_S = 6 * 3600.0
_CHUNK_BYTES = 2**20
_MOST_DIGITS = 18
_KNOWN_LAYOUTS = {*Layout}


@contextmanager
def disk_of(cloud: Cloud, image: Image) -> Iterator[Disk]:
    """Give the disk of an image; it stays in the cache at least while the block runs.

    It is the snapshot of the image's root, downloaded once, sparse and whole or not at all; where
    a tag has the disk's SHA-256 it is compared. Raises BadInputError for an image that has no
    snapshot, CloudError, HostError.
    """
    if not image.root_snapshot_id:
        hint = f"imgforge convert s3://{image.text('ImageLocation')} --to ebs makes one that has."
        raise BadInputError(
            f"Image {image.image_id}: is backed by {image.text('RootDeviceType')}: it has no "
            "snapshot that could be booted.",
            hint="" if image.is_ebs else hint,
        )
    folder = host.cache_dir() / CACHE_FOLDER / _key(cloud, image)
    with told_writing(folder, "the disk of an image"):
        folder.mkdir(parents=True, exist_ok=True)
    with in_use(folder):
        with _alone(folder, image.image_id):
            if not (folder / _DISK).is_file():
                _fetch(cloud, image, folder)
        touch_used(folder)
        yield _disk(folder / _DISK, image)


def read_back(cloud: Cloud, snapshot: Snapshot) -> str:
    """Return the SHA-256 of the disk that a snapshot holds, by reading all of it.

    Its tags may say what they like, but for the disk's size: a volume is rounded up to GiB. Raises
    BadInputError, CloudError, HostError.
    """
    folder = host.cache_dir() / CACHE_FOLDER
    with told_writing(folder, "a snapshot that is compared"):
        folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as scratch:
        fetched = scratch / _FETCHED
        report(f"{snapshot.snapshot_id}: reading it back, to compare it with the verdict")
        download_snapshot(cloud, snapshot.snapshot_id, fetched)
        _cut(fetched, snapshot.tags)
        return disk_sha256(fetched)


def _key(cloud: Cloud, image: Image) -> str:
    """Return what the disk is known by in the cache: its SHA-256, or who has the snapshot."""
    sha256 = image.tags.get(SHA256, "")
    endpoint = cloud.endpoint
    # The embedded one's port is another each time, its catalog is not.
    is_embedded = endpoint.kind is EndpointKind.EMBEDDED
    where = str(host.catalog_dir()) if is_embedded else endpoint.url
    size = image.tags.get(SIZE_BYTES, "")
    named = [endpoint.kind.value, where, cloud.region, image.root_snapshot_id, sha256, size]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


@contextmanager
def _alone(folder: Path, image_id: str) -> Iterator[None]:
    """Let one run at a time download; the others wait for it."""
    with told_writing(folder, "the lock of a download"):
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=0):
            report(f"{image_id}: another run downloads its disk, waiting for that")
            if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=_LIMIT_S):
                raise HostError(f"Image {image_id}: its disk was not there in {_LIMIT_S:g} s.")
        yield
    finally:
        os.close(descriptor)


def _fetch(cloud: Cloud, image: Image, folder: Path) -> None:
    # Not in the folder itself: that is held as in use, and what appears in one locks it alone.
    fetched = folder / _INCOMING / _FETCHED
    facts = {"image": image.image_id, "snapshot": image.root_snapshot_id, "region": cloud.region}
    with told_writing(folder, "what an image's disk is of"):
        fetched.parent.mkdir(exist_ok=True)
        (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    report(f"{image.image_id}: downloading {image.root_snapshot_id}")
    if not fetched.is_file():  # else a run was killed after its download
        download_snapshot(cloud, image.root_snapshot_id, fetched)
    with told_writing(folder, "the disk of an image"):
        _cut(fetched, image.tags)
        _compare(fetched, image)
        fetched.chmod(0o444)
        sync(fetched)
        fetched.replace(folder / _DISK)
        sync_folder(folder)


def _cut(fetched: Path, tags: Mapping[str, str]) -> None:
    """Give the disk the size it had: a volume is rounded up, with zeros behind the disk."""
    text = tags.get(SIZE_BYTES, "")
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return
    size_bytes = int(text)
    if 0 < size_bytes < fetched.stat().st_size and not _has_data(fetched, size_bytes):
        os.truncate(fetched, size_bytes)


def _has_data(path: Path, start: int) -> bool:
    """Tell whether anything but zeros is behind a place; holes are not read (lseek(2))."""
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        position = start
        while position < size_bytes:
            try:
                position = max(position, os.lseek(file.fileno(), position, os.SEEK_DATA))
            except OSError:  # ENXIO: a hole up to the end
                return False
            chunk = os.pread(file.fileno(), _CHUNK_BYTES, position)
            if chunk.count(0) != len(chunk):
                return True
            position += len(chunk)
    return False


def _compare(fetched: Path, image: Image) -> None:
    wanted = image.tags.get(SHA256, "")
    if not wanted:
        return
    found = disk_sha256(fetched)
    if found != wanted:
        fetched.unlink()
        raise HostError(
            f"Image {image.image_id}: its snapshot {image.root_snapshot_id} holds a disk of the "
            f"SHA-256 {found}; its tag {SHA256} says {wanted}.",
            hint="One of the two was changed; what boots there is not what was tested.",
        )


def _disk(path: Path, image: Image) -> Disk:
    layout = image.tags.get(LAYOUT, "")
    sha256 = image.tags.get(SHA256, "")
    if layout not in _KNOWN_LAYOUTS or not sha256:  # registered by others: its own bytes tell
        return open_disk(path)
    return Disk(
        path=path,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        layout=Layout(layout),
        recipe_sha256=image.tags.get(RECIPE_SHA256, ""),
        lock_sha256=image.tags.get(LOCK_SHA256, ""),
    )
