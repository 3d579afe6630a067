"""The tree in an XFS file system of a disk, read without mounting it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from imgforge.disk.ext import S_IFMT
from imgforge.disk.tree_walk import KINDS, S_IFSOCK, Run, blocks_of, walk_tree
from imgforge.disk.volume import Volume
from imgforge.disk.xfs_attributes import read_xfs_attributes
from imgforge.disk.xfs_filesystem import XfsFilesystem, XfsInode
from imgforge.disk.xfs_log import require_clean_log
from imgforge.errors import BadInputError
from imgforge.rootfs import EntryKind, FileContent, Found, Reader, TreeEntry

_DEVICES = {EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE}
_LARGEST_FILE_BYTES = 2**44


def read_xfs_tree(disk: Path, volume: Volume, reader: Reader) -> Iterator[Found]:
    """Yield what `reader` keeps of a volume's tree, its root first, by the names' bytes.

    Raises BadInputError where the file system contradicts itself.
    """
    with disk.open("rb") as file:
        filesystem = XfsFilesystem(file, offset=volume.start_bytes)
        yield from walk_tree(_XfsTree(filesystem), reader)


def require_unmounted(disk: Path, volume: Volume) -> None:
    """Raise BadInputError where an xfs was not unmounted: its log is to be replayed."""
    with disk.open("rb") as file:
        filesystem = XfsFilesystem(file, offset=volume.start_bytes)
        require_clean_log(filesystem, what=f"Disk {disk}: the xfs file system in {volume.name}")


class _XfsTree:
    name = "xfs"

    def __init__(self, filesystem: XfsFilesystem) -> None:
        self._filesystem = filesystem
        self.root = filesystem.superblock.root_inode

    def names(self, inode: int) -> Iterator[tuple[bytes, int]]:
        for one in self._filesystem.list_folder(self._filesystem.inode(inode)):
            yield one.name, one.inode

    def find(self, inode: int, path: str, reader: Reader) -> Found | None:
        return _found(self._filesystem, self._filesystem.inode(inode), path, reader)


def _found(filesystem: XfsFilesystem, inode: XfsInode, path: str, reader: Reader) -> Found | None:
    form = inode.mode & S_IFMT
    if form == S_IFSOCK:
        reader.passed_over(path, "socket")
        return None
    kind = KINDS.get(form)
    if kind is None:
        raise BadInputError(f"xfs inode {inode.number}: {path!r} is of no kind.")
    if inode.is_realtime or inode.size_bytes > _LARGEST_FILE_BYTES:
        raise BadInputError(
            f"xfs inode {inode.number}: {path!r} is on a realtime device, or damaged."
        )
    several = kind is not EntryKind.DIRECTORY and inode.links > 1
    identity = (0, inode.number) if several else None
    entry = _describe(inode, path, kind, xattrs={})
    if not reader.keeps(entry, identity):
        return None
    xattrs = read_xfs_attributes(filesystem, inode)
    is_link = kind is EntryKind.SYMLINK
    target = filesystem.read_symlink(inode) if is_link else b""
    return Found(
        _describe(inode, path, kind, xattrs=xattrs),
        target=target.decode("utf-8", errors="surrogateescape"),
        identity=identity,
        content=partial(_content, filesystem, inode) if kind is EntryKind.FILE else None,
    )


def _describe(
    inode: XfsInode, path: str, kind: EntryKind, *, xattrs: dict[str, bytes]
) -> TreeEntry:
    return TreeEntry(
        path=path,
        kind=kind,
        mode=0o777 if kind is EntryKind.SYMLINK else inode.mode & 0o7777,
        uid=inode.uid,
        gid=inode.gid,
        mtime_s=inode.mtime_s,
        device=inode.device if kind in _DEVICES else (0, 0),
        xattrs=xattrs,
    )


@contextmanager
def _content(filesystem: XfsFilesystem, inode: XfsInode) -> Iterator[FileContent]:
    unit = filesystem.superblock.block_bytes
    runs = (
        Run(run.logical * unit, run.physical, run.count * unit)
        for run in filesystem.extents(inode, inode.data)
    )
    blocks = blocks_of(
        runs,
        size_bytes=inode.size_bytes,
        read_at=filesystem.read_at,
        name=f"xfs inode {inode.number}",
    )
    yield FileContent(inode.size_bytes, blocks)
