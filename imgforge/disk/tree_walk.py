"""A tree in a file system that is not mounted, walked: whatever file system it is."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from imgforge.disk.ext import S_IFDIR, S_IFLNK, S_IFREG
from imgforge.errors import BadInputError
from imgforge.rootfs import EntryKind, Found, Reader

BLOCK_BYTES = 2**20
KINDS = {
    S_IFDIR: EntryKind.DIRECTORY,
    S_IFREG: EntryKind.FILE,
    S_IFLNK: EntryKind.SYMLINK,
    0o010000: EntryKind.FIFO,
    0o020000: EntryKind.CHARACTER_DEVICE,
    0o060000: EntryKind.BLOCK_DEVICE,
}
S_IFSOCK = 0o140000
# No kernel follows a path that is longer.
_DEEPEST = 1000


class Tree(Protocol):
    """A file system's tree; its methods raise BadInputError where that contradicts itself."""

    name: str
    root: int

    def names(self, inode: int) -> Iterable[tuple[bytes, int]]:
        """Return a folder's names and their inodes, with or without "." and ".."."""
        ...

    def find(self, inode: int, path: str, reader: Reader) -> Found | None:
        """Return what stands at a path; None where `reader` does not keep it."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of a file: their place in it, where they stand, how many."""

    position: int
    source: int
    size_bytes: int


def walk_tree(tree: Tree, reader: Reader) -> Iterator[Found]:
    """Yield what `reader` keeps of a tree, its root first, by the names' bytes.

    Raises BadInputError where a folder contains itself, or a name cannot be one.
    """
    entered = {tree.root}
    root = tree.find(tree.root, ".", reader)
    if root is None:
        return
    yield root
    stack = [("", _children(tree, tree.root))]
    while stack:
        place, names = stack[-1]
        if not names:
            stack.pop()
            continue
        name, inode = names.pop()
        path = place + name.decode("utf-8", errors="surrogateescape")
        found = tree.find(inode, path, reader)
        if found is None:
            continue
        is_folder = found.entry.kind is EntryKind.DIRECTORY
        if is_folder:
            if inode in entered or len(stack) > _DEEPEST:
                raise BadInputError(f"{tree.name}: folder {path!r} contains itself.")
            entered.add(inode)
        yield found
        if is_folder and reader.enters(path):
            stack.append((f"{path}/", _children(tree, inode)))


def _children(tree: Tree, inode: int) -> list[tuple[bytes, int]]:
    """Return a folder's names, the first one last."""
    found: dict[bytes, int] = {}
    for name, child in tree.names(inode):
        if name in {b".", b".."}:
            continue
        if not name or b"/" in name or b"\0" in name or name in found:
            raise BadInputError(f"{tree.name} inode {inode}: a name in it cannot be a name.")
        found[name] = child
    return sorted(found.items(), reverse=True)


def blocks_of(
    runs: Iterable[Run], *, size_bytes: int, read_at: Callable[[int, int], bytes], name: str
) -> Iterator[tuple[int, bytes]]:
    """Yield a file's blocks of 1 MiB, put together from the runs on the disk.

    Raises BadInputError, naming the file, where the runs are not in their order.
    """
    start, block = -1, bytearray()
    for run in runs:
        position = run.position
        end = min(position + run.size_bytes, size_bytes)
        source = run.source - position
        while position < end:
            window = position // BLOCK_BYTES * BLOCK_BYTES
            if window != start:
                if start > window:
                    raise BadInputError(f"{name}: its blocks go backwards.")
                if block:
                    yield start, bytes(block)
                start, block = window, bytearray(min(BLOCK_BYTES, size_bytes - window))
            count = min(window + BLOCK_BYTES, end) - position
            data = read_at(source + position, count)
            block[position - window : position - window + count] = data
            position += count
    if block:
        yield start, bytes(block)
