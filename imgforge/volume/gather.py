"""What is found goes into a tree of our own, as far as the selection keeps it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from itertools import chain, islice

from imgforge.progress import report
from imgforge.rootfs import EntryKind, FileContent, Found, PlainTree, TreeEntry
from imgforge.volume.selection import Selection

_PATHS_PER_REPORT = 20_000
# What a kernel needs of /dev before it has one of its own (Documentation/admin-guide/devices.txt).
_NODES = (
    ("console", 0o600, (5, 1)),
    ("null", 0o666, (1, 3)),
    ("tty", 0o666, (5, 0)),
    ("zero", 0o666, (1, 5)),
)


def gather(found: Iterable[Found], tree: PlainTree, selection: Selection) -> None:
    """Copy what is found into `tree`; hard links stay links, holes stay holes.

    A folder /dev gets the nodes that a kernel needs there. Raises BadInputError, naming them, where
    files cannot be read.
    """
    first: dict[tuple[int, int], str] = {}
    for count, one in enumerate(found, start=1):
        if count % _PATHS_PER_REPORT == 0:
            report(f"tree: {count} paths")
        known = first.get(one.identity) if one.identity is not None else None
        if known is not None:
            tree.add_hard_link(one.entry.path, known)
        elif _add(one, tree, selection) and one.identity is not None:
            first[one.identity] = one.entry.path
    selection.require_readable(tree.origin)
    dev = tree.get("dev")
    if dev is not None and dev.kind is EntryKind.DIRECTORY and "dev" in selection.rules.emptied:
        for name, mode, device in _NODES:
            kind = EntryKind.CHARACTER_DEVICE
            tree.add_node(TreeEntry(f"dev/{name}", kind, mode, 0, 0, dev.mtime_s, device))


def _add(one: Found, tree: PlainTree, selection: Selection) -> bool:
    entry = one.entry
    match entry.kind:
        case EntryKind.DIRECTORY:
            tree.add_folder(entry)
        case EntryKind.SYMLINK:
            tree.add_symlink(entry, one.target)
        case EntryKind.FILE:
            return _add_file(one, tree, selection)
        case _:
            tree.add_node(entry)
    return True


def _add_file(one: Found, tree: PlainTree, selection: Selection) -> bool:
    assert one.content is not None
    path = one.entry.path
    try:
        with _opened(one.content) as content:
            blocks = _reading(content.blocks)
            start = list(islice(blocks, 1))
            head = start[0][1] if start and start[0][0] == 0 else b""
            if not selection.keeps_content(one.entry, content.size_bytes, head):
                return False
            tree.add_content(one.entry, replace(content, blocks=chain(start, blocks)))
            if content.changed():
                selection.changed.append(path)
    except _ReadError as failed:
        if isinstance(failed.error, FileNotFoundError):
            selection.passed_over(path, "vanished")
        else:
            selection.unreadable(path, failed.error)
        return False
    return True


class _ReadError(Exception):
    """A file of the source cannot be read; a full disk of ours is another matter."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _opened(content: Callable[[], AbstractContextManager[FileContent]]) -> Iterator[FileContent]:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(content())
        except OSError as error:
            raise _ReadError(error) from None
        yield opened


def _reading(blocks: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    try:
        yield from blocks
    except OSError as error:
        raise _ReadError(error) from None
