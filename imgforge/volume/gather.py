"""What is found goes into a tree of our own, as far as the selection keeps it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from imgforge.progress import report
from imgforge.rootfs import EntryKind, FileContent, Found, PlainTree, TreeEntry
from imgforge.volume.content import Content
from imgforge.volume.selection import Selection

_PATHS_PER_REPORT = 20_000
# What a kernel needs of /dev before it has one of its own (Documentation/admin-guide/devices.txt).
_NODES = (
    ("console", 0o600, (5, 1)),
    ("null", 0o666, (1, 3)),
    ("tty", 0o666, (5, 0)),
    ("zero", 0o666, (1, 5)),
)


def gather(found: Iterable[Found], *, tree: PlainTree, selection: Selection) -> None:
    """Copy what is found into `tree`; hard links stay links, holes stay holes.

    A folder /dev gets the nodes that a kernel needs there. Raises BadInputError, naming them, where
    files cannot be read.
    """
    linked: dict[tuple[int, int], _Linked] = {}
    for count, one in enumerate(found, start=1):
        if count % _PATHS_PER_REPORT == 0:
            report(f"tree: {count} paths")
        known = linked.get(one.identity) if one.identity is not None else None
        if known is not None:
            _add_link(one, known, tree=tree, selection=selection)
            continue
        is_added, content = _add(one, tree=tree, selection=selection)
        if is_added and one.identity is not None:
            linked[one.identity] = _Linked([one.entry], content)
    _remove_held(linked, tree=tree, selection=selection)
    selection.require_readable(tree.origin)
    dev = tree.get("dev")
    if dev is not None and dev.kind is EntryKind.DIRECTORY and "dev" in selection.rules.emptied:
        for name, mode, device in _NODES:
            kind = EntryKind.CHARACTER_DEVICE
            tree.add_node(TreeEntry(f"dev/{name}", kind, mode, 0, 0, dev.mtime_s, device))


@dataclass(frozen=True, slots=True)
class _Linked:
    """The names of one file, and what its content tells."""

    entries: list[TreeEntry]
    content: Content | None


def _add_link(one: Found, known: _Linked, *, tree: PlainTree, selection: Selection) -> None:
    content = known.content
    if content and not selection.keeps_content(one.entry, content, identity=one.identity):
        return
    tree.add_hard_link(one.entry.path, known.entries[0].path)
    known.entries.append(one.entry)


def _remove_held(
    linked: dict[tuple[int, int], _Linked], *, tree: PlainTree, selection: Selection
) -> None:
    """Take out the further names of what the filter held back under one name.

    What is public, or empty, was held back for its name alone.
    """
    for identity in linked.keys() & selection.held.keys():
        known = linked[identity]
        if known.content is not None and known.content.is_public:
            continue
        for entry in known.entries:
            if not selection.keeps_link(entry, identity):
                tree.remove(entry.path)


def _add(one: Found, *, tree: PlainTree, selection: Selection) -> tuple[bool, Content | None]:
    entry = one.entry
    match entry.kind:
        case EntryKind.DIRECTORY:
            tree.add_folder(entry)
        case EntryKind.SYMLINK:
            tree.add_symlink(entry, one.target)
        case EntryKind.FILE:
            return _add_file(one, tree=tree, selection=selection)
        case _:
            tree.add_node(entry)
    return True, None


def _add_file(one: Found, *, tree: PlainTree, selection: Selection) -> tuple[bool, Content | None]:
    """Copy a file; take it out again where it turns out to hold what must not leave."""
    assert one.content is not None
    path = one.entry.path
    seen: Content | None = None
    try:
        with _opened(one.content) as content:
            blocks = _reading(content.blocks)
            if selection.looks_into(one.entry, one.identity):
                seen = Content(content.size_bytes)
                blocks = seen.watch(blocks)
            tree.add_content(one.entry, replace(content, blocks=blocks))
            if seen and not selection.keeps_content(one.entry, seen, identity=one.identity):
                tree.remove(path)
                return False, None
            if content.changed():
                selection.changed.append(path)
    except _ReadError as failed:
        if isinstance(failed.error, FileNotFoundError):
            selection.passed_over(path, "vanished")
        else:
            selection.unreadable(path, failed.error)
        (tree.folder / path).unlink(missing_ok=True)
        return False, None
    if seen is not None and one.identity is not None:
        seen.forget()
    return True, seen


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
