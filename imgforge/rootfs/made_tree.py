"""A tree of the cache read like any other."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from imgforge.rootfs.found import FileContent, Found, read_blocks
from imgforge.rootfs.standing_tree import Reader
from imgforge.rootfs.tree import EntryKind, Rootfs


def read_rootfs(rootfs: Rootfs, reader: Reader) -> Iterator[Found]:
    """Yield what `reader` keeps of a tree, in the order of its index: parents first."""
    closed: set[str] = set()
    for entry in rootfs.entries():
        parent = entry.path.rpartition("/")[0]
        is_folder = entry.kind is EntryKind.DIRECTORY
        plain = rootfs.tree / entry.path
        status = plain.lstat()
        several = not is_folder and status.st_nlink > 1
        identity = (status.st_dev, status.st_ino) if several else None
        if parent in closed or not reader.keeps(entry, identity):
            if is_folder:
                closed.add(entry.path)
            continue
        yield Found(
            entry,
            target=str(plain.readlink()) if entry.kind is EntryKind.SYMLINK else "",
            identity=identity,
            content=partial(_content, plain) if entry.kind is EntryKind.FILE else None,
        )
        if is_folder and entry.path != "." and not reader.enters(entry.path):
            closed.add(entry.path)


@contextmanager
def _content(plain: Path) -> Iterator[FileContent]:
    with plain.open("rb") as file:
        size_bytes = plain.stat().st_size
        yield FileContent(size_bytes, read_blocks(file.fileno(), size_bytes))
