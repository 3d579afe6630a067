"""Tar archives, read as a stream and with suspicion, into a tree."""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from imgforge.errors import BadInputError
from imgforge.rootfs.exclusion import Exclusion, exclude
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, TreeEntry

_XATTR = "SCHILY.xattr."  # star's and GNU tar's prefix in pax headers
_ID_LIMIT = 2**32 - 2  # -1 means "no change" to chown(2)
_MAJOR_LIMIT, _MINOR_LIMIT = 2**12, 2**20  # include/linux/kdev_t.h
_MTIME_LIMIT_S = 2**31 - 1  # inodes of 128 bytes hold no more
_SPARSE_LIMIT_BYTES = 64 * 2**30
_DAMAGED = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    UnicodeDecodeError,
    ValueError,
    OverflowError,
)
_OPENERS: tuple[tuple[bytes, Callable[[BinaryIO], BinaryIO]], ...] = (
    (b"\x1f\x8b", lambda file: cast("BinaryIO", gzip.GzipFile(fileobj=file))),
    (b"BZh", lambda file: cast("BinaryIO", bz2.BZ2File(file))),
    (b"\xfd7zXZ\0", lambda file: cast("BinaryIO", lzma.LZMAFile(file))),  # noqa: SIM115
)
_KINDS = {
    tarfile.CHRTYPE: EntryKind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: EntryKind.BLOCK_DEVICE,
    tarfile.FIFOTYPE: EntryKind.FIFO,
}


class _Tail(io.RawIOBase):
    """A stream that remembers its last bytes: a whole archive ends in a block of zeros."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        if block:
            self.last = (self.last + block)[-tarfile.BLOCKSIZE :]
        return block


def unpack(
    path: Path, tree: PlainTree, *, excluded: Exclusion | None = None, latest_mtime_s: int
) -> None:
    """Lay the tar archive at `path` (plain, gzip, bzip2 or xz) into `tree`.

    Modification times are clamped to 0 … `latest_mtime_s`. Raises BadInputError where the archive
    is damaged, or holds what no tree can hold: "..", links out of it, sockets.
    """
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        opener = next((open_it for start, open_it in _OPENERS if magic.startswith(start)), None)
        stream = _Tail(opener(file) if opener else file)
        try:
            _unpack_stream(stream, tree, excluded or exclude(()), latest_mtime_s)
        except (*_DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a full disk, not what bz2 says of a broken stream
            raise BadInputError(f"{tree.origin}: damaged, or no tar archive: {error}.") from None
        if stream.last.strip(b"\0") or not stream.last:
            raise BadInputError(f"{tree.origin}: the archive is truncated: it has no end mark.")


def _unpack_stream(
    stream: _Tail, tree: PlainTree, excluded: Exclusion, latest_mtime_s: int
) -> None:
    with tarfile.open(
        fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for member in archive:
            entry = _describe(member, tree.origin, latest_mtime_s)
            if excluded.covers(member.name):
                if entry.kind is EntryKind.DIRECTORY:
                    tree.await_folder(entry)
            else:
                _add(archive, member, entry, tree)
    while stream.read(tarfile.RECORDSIZE):  # what pads the last record
        pass


def _add(
    archive: tarfile.TarFile, member: tarfile.TarInfo, entry: TreeEntry, tree: PlainTree
) -> None:
    if member.islnk():
        tree.add_hard_link(member.name, member.linkname)
    elif member.issym():
        tree.add_symlink(entry, member.linkname)
    elif member.isdir():
        tree.add_folder(entry)
    elif entry.kind is EntryKind.FILE:
        content = archive.extractfile(member)
        assert content is not None
        tree.add_file(entry, cast("BinaryIO", content))
    else:
        tree.add_node(entry)


def _describe(member: tarfile.TarInfo, origin: str, latest_mtime_s: int) -> TreeEntry:
    if member.name.startswith("/"):
        raise BadInputError(f"{origin}: {member.name!r} is an absolute path.")
    if not (0 <= member.uid <= _ID_LIMIT and 0 <= member.gid <= _ID_LIMIT):
        raise BadInputError(
            f"{origin}: {member.name!r} belongs to {member.uid}:{member.gid}; ids are 0 to 2^32-2."
        )
    if member.issparse() and member.size > _SPARSE_LIMIT_BYTES:
        raise BadInputError(f"{origin}: {member.name!r} is a sparse file above 64 GiB.")
    if member.isfile() or member.islnk():
        kind = EntryKind.FILE
    elif member.isdir():
        kind = EntryKind.DIRECTORY
    elif member.issym():
        kind = EntryKind.SYMLINK
    elif member.type in _KINDS:
        kind = _KINDS[member.type]
    else:
        raise BadInputError(f"{origin}: {member.name!r} is of an unknown kind {member.type!r}.")
    is_device = kind in {EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE}
    if is_device and not (
        0 <= member.devmajor < _MAJOR_LIMIT and 0 <= member.devminor < _MINOR_LIMIT
    ):
        raise BadInputError(
            f"{origin}: {member.name!r} is the device {member.devmajor}:{member.devminor}; Linux's "
            f"numbers end at {_MAJOR_LIMIT - 1}:{_MINOR_LIMIT - 1}."
        )
    return TreeEntry(
        path=member.name,
        kind=kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime_s=min(max(int(member.mtime), 0), latest_mtime_s, _MTIME_LIMIT_S),
        device=(member.devmajor, member.devminor) if is_device else (0, 0),
        xattrs={
            name.removeprefix(_XATTR): value.encode(errors="surrogateescape")
            for name, value in member.pax_headers.items()
            if name.startswith(_XATTR)
        },
    )
