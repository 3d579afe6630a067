"""What snapshots hold, in blocks of 512 KiB: each kept once, known by its SHA-256.

A content is an index, a file of 32-byte digests at 32 times their block's number; a block that is
absent, and reads as zeros, has a digest of zeros, mostly a hole. Blocks are in packs: whoever has
the digest has the block, so a child of a snapshot, its copies and other snapshots share theirs. A
content can also be a raw disk among the blobs.
"""

import base64
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from imgforge.catalog.blobs import blob_path, data_extents
from imgforge.catalog.packs import ABSENT, BLOCK_BYTES, DIGEST_BYTES, Packs
from imgforge.catalog.sweep_lock import referring
from imgforge.errors import HostError
from imgforge.files import scratch_folder, sync, sync_folder

_CHUNK_BYTES = 2**20
_ZEROS = bytes(BLOCK_BYTES)
_ZEROS_SHA256 = hashlib.sha256(_ZEROS).digest()


@dataclass(frozen=True, slots=True)
class Content:
    """Where a snapshot's data is: blocks under its id, or a blob of so many bytes."""

    content_id: str
    blob_sha256: str = ""
    blob_size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Writing:
    """A content that blocks are put into."""

    _descriptor: int
    _packs: Packs

    def put(self, number: int, data: bytes, *, digest: bytes) -> None:
        """Keep a block, whose SHA-256 the caller has compared, as the content's `number`th."""
        self._packs.keep(data, digest=digest)
        os.pwrite(self._descriptor, digest, number * DIGEST_BYTES)


class Contents:
    """The contents of a catalog's `folder`; a context manager, safe between threads and processes.

    A block appears whole or not at all, and before its digest does: a kill leaves no digest of a
    block that is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blocks = folder / "blocks"
        self._indexes = folder / "contents"
        self._stack = ExitStack()
        self._aside = folder
        self._packs = Packs(self._blocks)
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        self._blocks.mkdir(exist_ok=True)
        self._indexes.mkdir(exist_ok=True)
        if not os.access(self._blocks, os.W_OK):  # it is looked at, and no more
            return self
        self._aside = self._stack.enter_context(scratch_folder(self._blocks))
        self._stack.callback(self._packs.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def is_begun(self, content_id: str) -> bool:
        """Tell whether something was written to a content."""
        return os.path.exists(self._written_path(content_id))  # noqa: PTH110 (for each block)

    @contextmanager
    def writing(self, content_id: str) -> Iterator["Writing"]:
        """Hold a content open for blocks: it is not completed meanwhile."""
        with self._locked(content_id, fcntl.LOCK_SH) as descriptor:
            yield Writing(descriptor, self._packs)

    @contextmanager
    def completing(self, content_id: str) -> Iterator[None]:
        """Keep everybody from writing to a content."""
        with self._locked(content_id, fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, content_id: str, kind: int) -> Iterator[int]:
        with referring(self._folder):
            descriptor = os.open(self._written_path(content_id), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, kind)
                yield descriptor
            finally:
                os.close(descriptor)

    def sweep_blocks(self, is_needed: Callable[[bytes], bool]) -> int:
        """Take away the blocks that are not needed, by their digests; return how many."""
        return self._packs.sweep(is_needed)

    def written(self, content_id: str) -> Iterator[tuple[int, bytes]]:
        """Yield number and digest of the blocks that were put, by ascending number."""
        return _read_digests(self._written_path(content_id), 0)

    def complete(self, content_id: str, parent: Content | None) -> None:
        """Make what was put the content, over its parent's blocks; it is on the disk then."""
        aside = self._aside / f"index-{content_id}"
        with aside.open("wb") as index:
            for number, digest in self.digests(parent) if parent else ():
                os.pwrite(index.fileno(), digest, number * DIGEST_BYTES)
            for number, digest in self.written(content_id):
                os.pwrite(index.fileno(), digest, number * DIGEST_BYTES)
        sync(self._blocks)  # blocks, and the index with them: one sync of the file system
        self._packs.check()
        aside.replace(self._index_path(content_id))
        sync_folder(self._indexes)

    def digests(self, content: Content, *, first: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield number and digest of a content's blocks from `first` on, by ascending number."""
        if content.blob_sha256:
            return _read_digests(self._blob_index(content), first)
        return _read_digests(self._index_path(content.content_id), first)

    def read(self, content: Content, number: int) -> tuple[bytes, bytes] | None:
        """Return a block and its digest; None where it is absent.

        Raises HostError where its data is gone.
        """
        index = (
            self._blob_index(content)
            if content.blob_sha256
            else self._index_path(content.content_id)
        )
        digest = _read_digest(index, number)
        if digest is None:
            return None
        if content.blob_sha256:
            data = _read_of_blob(blob_path(self._folder, content.blob_sha256), number)
        else:
            data = self._packs.read(digest) or self._read_file(digest)
        if len(data) != BLOCK_BYTES:
            raise HostError(f"Catalog {self._folder}: block {digest.hex()} is gone or cut short.")
        return data, digest

    def _read_file(self, digest: bytes) -> bytes:
        """Return a block of a catalog whose blocks were files of their own, as they once were."""
        name = digest.hex()
        try:
            return (self._blocks / "sha256" / name[:2] / name).read_bytes()
        except OSError:
            return b""

    def _written_path(self, content_id: str) -> str:
        return f"{self._indexes}/{content_id}.written"

    def _index_path(self, content_id: str) -> Path:
        return self._indexes / f"{content_id}.index"

    def _blob_index(self, content: Content) -> Path:
        """Return the index of a blob; it is made when it is first needed."""
        path = self._indexes / f"{content.blob_sha256}.index"
        with self._turn:
            if not path.exists():
                aside = self._aside / path.name
                _index_blob(blob_path(self._folder, content.blob_sha256), aside)
                aside.replace(path)
        return path


def block_sha256(data: bytes) -> bytes:
    """Return a block's SHA-256; that of zeros is known, and zeros are told 10 times as fast."""
    return _ZEROS_SHA256 if data == _ZEROS else hashlib.sha256(data).digest()


def linear_checksum(blocks: Iterator[tuple[int, bytes]]) -> tuple[int, str]:
    """Return how many blocks there are, and EBS direct's aggregate of their digests.

    That is base64 of the SHA-256 over the raw digests, by ascending number (EBS direct API,
    CompleteSnapshot: LINEAR).
    """
    aggregate = hashlib.sha256()
    count = 0
    for _, digest in blocks:
        aggregate.update(digest)
        count += 1
    return count, base64.b64encode(aggregate.digest()).decode("ascii")


def _read_digests(path: Path | str, first: int) -> Iterator[tuple[int, bytes]]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        size_bytes = os.fstat(descriptor).st_size
        for start, end in data_extents(descriptor, size_bytes):
            position = max(start - start % DIGEST_BYTES, first * DIGEST_BYTES)
            while position < end:
                chunk = os.pread(descriptor, _CHUNK_BYTES, position)
                for offset in range(0, min(len(chunk), end - position), DIGEST_BYTES):
                    digest = chunk[offset : offset + DIGEST_BYTES]
                    if digest != ABSENT and len(digest) == DIGEST_BYTES:
                        yield (position + offset) // DIGEST_BYTES, digest
                if not chunk:
                    break
                position += _CHUNK_BYTES
    finally:
        os.close(descriptor)


def _read_digest(path: Path, number: int) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        digest = os.pread(descriptor, DIGEST_BYTES, number * DIGEST_BYTES)
    finally:
        os.close(descriptor)
    return digest if len(digest) == DIGEST_BYTES and digest != ABSENT else None


def _index_blob(blob: Path, index: Path) -> None:
    """Write the digests of a blob's blocks; those within its holes are absent."""
    with blob.open("rb") as data, index.open("wb") as target:
        size_bytes = os.fstat(data.fileno()).st_size
        done = -1
        for start, end in data_extents(data.fileno(), size_bytes):
            for number in range(max(done + 1, start // BLOCK_BYTES), -(-end // BLOCK_BYTES)):
                digest = hashlib.sha256(_read_of_blob(blob, number)).digest()
                os.pwrite(target.fileno(), digest, number * DIGEST_BYTES)
                done = number


def _read_of_blob(blob: Path, number: int) -> bytes:
    """Return a block of a blob, with zeros behind its end; empty where the blob is gone."""
    try:
        descriptor = os.open(blob, os.O_RDONLY)
    except OSError:
        return b""
    try:
        data = os.pread(descriptor, BLOCK_BYTES, number * BLOCK_BYTES)
    finally:
        os.close(descriptor)
    return data.ljust(BLOCK_BYTES, b"\0")
