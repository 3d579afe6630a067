"""A root tree while it is made: plain files in a folder, what they stand for in memory.

Symlinks are followed only in memory, as the guest would follow them, never by the host's kernel:
whatever a hostile archive names, nothing outside the folder is read or written.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from imgforge.errors import BadInputError
from imgforge.rootfs.found import FileContent
from imgforge.rootfs.tree import EntryKind, TreeEntry, write_index

_BLOCK_BYTES = 1024 * 1024
_ZEROS = bytes(_BLOCK_BYTES)
_NAME_LIMIT_BYTES = 255  # ext2/3/4 and xfs
# mke2fs 1.47.0 -d writes behind its buffer where "/" and a path are exactly 2040 bytes (path_append
# in misc/create_inode.c: no room for the NUL); the depth is for what walks the tree by recursion.
_PATH_LIMIT_BYTES = 2000
_DEPTH_LIMIT = 256
_SYMLINK_LIMIT = 40  # as Linux (path_resolution(7))


@dataclass(frozen=True, slots=True)
class Content:
    """What identifies the content of one inode: the digest of a file, or a symlink's target."""

    inode: int
    digest: str
    size_bytes: int


class PlainTree:
    """A tree that grows: later entries replace earlier ones, folders merge.

    `origin` names the source in messages. A path's parents are followed through the tree's own
    symlinks; those that are missing become root's folders with mode 0755 and `mtime_s`.
    """

    def __init__(self, folder: Path, *, origin: str, mtime_s: int) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self.folder = folder
        self.origin = origin
        self.mtime_s = mtime_s
        self._entries: dict[str, TreeEntry] = {}
        self._targets: dict[str, str] = {}
        self._contents: dict[int, Content] = {}
        self._inodes: dict[str, int] = {}
        self._awaited: dict[str, TreeEntry] = {}
        self._entries["."] = self._root_folder(".")

    def get(self, path: str) -> TreeEntry | None:
        """Return the entry at `path`, or None; parents are followed, the last step is not."""
        place = self._find(path)
        return self._entries.get(place) if place is not None else None

    def locate(self, path: str) -> Path | None:
        """Return the plain file of `path`, all symlinks followed within the tree, or None."""
        for _ in range(_SYMLINK_LIMIT):
            place = self._find(path)
            if place is None or place not in self._entries:
                return None
            if place not in self._targets:
                return self.folder / place
            path = _join(place, self._targets[place])
        return None

    def children(self, path: str) -> list[str]:
        """Return the names in the folder `path`, sorted; none where it is not a folder."""
        plain = self.locate(path)
        return sorted(child.name for child in plain.iterdir()) if plain and plain.is_dir() else []

    def await_folder(self, entry: TreeEntry) -> None:
        """Keep a folder's metadata for when something below it is added, if ever."""
        self._awaited[self._clean(entry.path)] = entry

    def add_folder(self, entry: TreeEntry) -> None:
        """Add a folder, or give the one that stands there this metadata."""
        place = self._place(entry.path)
        for _ in range(_SYMLINK_LIMIT):
            if place not in self._targets:
                break
            place = self._place(_join(place, self._targets[place]))
        existing = self._entries.get(place)
        if existing is None:
            with self._naming(place):
                (self.folder / place).mkdir()
                (self.folder / place).chmod(0o755)
        elif existing.kind is not EntryKind.DIRECTORY:
            raise self._refuse(entry.path, f"is a folder here and a {existing.kind} below it")
        self._entries[place] = replace(entry, path=place)

    def add_file(self, entry: TreeEntry, content: BinaryIO) -> None:
        """Add a file, replacing what is no folder; blocks of zeros become holes."""
        place = self._make_way(entry.path)
        plain = self.folder / place
        digest = hashlib.sha256()
        size_bytes = 0
        with self._naming(place), plain.open("xb") as file:
            while block := content.read(_BLOCK_BYTES):
                digest.update(block)
                if block == _ZEROS:
                    file.seek(len(block), os.SEEK_CUR)
                else:
                    file.write(block)
                size_bytes += len(block)
            file.truncate(size_bytes)
            os.fchmod(file.fileno(), 0o644)
            inode = os.fstat(file.fileno()).st_ino
        self._keep(replace(entry, path=place), Content(inode, digest.hexdigest(), size_bytes))

    def add_content(self, entry: TreeEntry, content: FileContent) -> None:
        """Add a file of which only what is no hole is read, replacing what is no folder."""
        place = self._make_way(entry.path)
        plain = self.folder / place
        digest = hashlib.sha256(b"%d\n" % content.size_bytes)
        with self._naming(place), plain.open("xb") as file:
            for offset, block in content.blocks:
                if block.strip(b"\0"):
                    digest.update(b"%d %d\n" % (offset, len(block)))
                    digest.update(block)
                    file.seek(offset)
                    file.write(block)
            file.truncate(content.size_bytes)
            os.fchmod(file.fileno(), 0o644)
            inode = os.fstat(file.fileno()).st_ino
        kept = Content(inode, digest.hexdigest(), content.size_bytes)
        self._keep(replace(entry, path=place), kept)

    def add_symlink(self, entry: TreeEntry, target: str) -> None:
        """Add a symlink, replacing what is no folder."""
        if not target or len(os.fsencode(target)) > 4095 or "\0" in target:
            raise self._refuse(entry.path, "is a symlink with an impossible target")
        place = self._make_way(entry.path)
        with self._naming(place):
            (self.folder / place).symlink_to(target)
        inode = (self.folder / place).lstat().st_ino
        self._keep(replace(entry, path=place, mode=0o777), Content(inode, target, 0))
        self._targets[place] = target

    def add_node(self, entry: TreeEntry) -> None:
        """Add a device node (an empty file stands for it) or a FIFO."""
        place = self._make_way(entry.path)
        plain = self.folder / place
        with self._naming(place):
            if entry.kind is EntryKind.FIFO:
                os.mkfifo(plain)
            else:
                plain.touch(exist_ok=False)
            plain.chmod(0o644)
        self._keep(replace(entry, path=place), Content(plain.lstat().st_ino, "", 0))

    def add_hard_link(self, path: str, target: str) -> None:
        """Give the file `target`, which must be in the tree, the further name `path`."""
        source = self._find(target)
        existing = self._entries.get(source) if source is not None else None
        if source is None or existing is None or existing.kind is EntryKind.DIRECTORY:
            raise self._refuse(path, f"is a hard link to {target!r}, which is no file in the tree")
        if self._find(path) == source:
            return
        place = self._make_way(path)
        with self._naming(place):
            os.link(self.folder / source, self.folder / place, follow_symlinks=False)
        self._entries[place] = replace(existing, path=place)
        self._inodes[place] = self._inodes[source]
        if source in self._targets:
            self._targets[place] = self._targets[source]

    def remove(self, path: str) -> None:
        """Take out what is no folder; further names of the same file stay."""
        self._make_way(path)

    def finish(self, index: Path) -> tuple[str, int]:
        """Write the index; return the digest of content and metadata, and the files' bytes."""
        write_index(index, self._entries.values())
        digest = hashlib.sha256()
        first: dict[int, str] = {}
        with index.open("rb") as lines:
            ordered = sorted(self._entries, key=os.fsencode)
            for place, line in zip(ordered, lines, strict=True):
                digest.update(line)
                if place in self._inodes:
                    inode = self._inodes[place]
                    name = first.setdefault(inode, place)
                    facts = f"{self._contents[inode].digest}\n{name}\n"
                    digest.update(facts.encode(errors="surrogateescape"))
        return digest.hexdigest(), sum(self._contents[inode].size_bytes for inode in first)

    def _root_folder(self, place: str) -> TreeEntry:
        return TreeEntry(place, EntryKind.DIRECTORY, 0o755, 0, 0, self.mtime_s)

    def _keep(self, entry: TreeEntry, content: Content) -> None:
        self._entries[entry.path] = entry
        self._inodes[entry.path] = content.inode
        self._contents[content.inode] = content

    def _make_way(self, path: str) -> str:
        """Return where `path` goes, its parents made and nothing left in its place."""
        place = self._place(path)
        existing = self._entries.get(place)
        if existing is None:
            return place
        if existing.kind is EntryKind.DIRECTORY:
            raise self._refuse(path, "is a folder already and cannot become something else")
        (self.folder / place).unlink()
        del self._entries[place]
        self._inodes.pop(place, None)
        self._targets.pop(place, None)
        return place

    def _place(self, path: str) -> str:
        """Return where `path` goes, making the parents that are missing."""
        place = self._find(path, make=True)
        if place is None:
            raise self._refuse(path, "leads through something that is no folder")
        self._check_length(path, place)  # symlinks may have made it longer
        return place

    def _find(self, path: str, *, make: bool = False) -> str | None:
        """Follow all but the last step of `path`, as a chroot would; None where there is no way."""
        steps = self._clean(path).split("/")[::-1]
        done: list[str] = []
        budget = _SYMLINK_LIMIT
        while len(steps) > 1:
            step = steps.pop()
            if step in {"", "."}:
                continue
            if step == "..":  # out of a symlink's target: the root is its own parent
                done = done[:-1]
                continue
            place = "/".join([*done, step])
            entry = self._entries.get(place)
            if entry is None:
                if not make:
                    return None
                self.add_folder(self._awaited.get(place, self._root_folder(place)))
            elif place in self._targets:
                budget -= 1
                if budget < 0:
                    raise self._refuse(path, "leads through a loop of symlinks")
                target = self._targets[place]
                if target.startswith("/"):
                    done = []
                steps.extend(target.split("/")[::-1])
                continue
            elif entry.kind is not EntryKind.DIRECTORY:
                return None
            done.append(step)
        return "/".join([*done, steps[0]]) if steps[0] != "." else "/".join(done) or "."

    def _clean(self, path: str) -> str:
        steps = [step for step in path.split("/") if step not in {"", "."}]
        if ".." in steps:
            raise self._refuse(path, 'has ".." in its path')
        if any(len(os.fsencode(step)) > _NAME_LIMIT_BYTES for step in steps):
            raise self._refuse(path, f"has a name above {_NAME_LIMIT_BYTES} bytes")
        cleaned = "/".join(steps) or "."
        if "\0" in cleaned:
            raise self._refuse(path, "has a NUL in its path")
        self._check_length(path, cleaned)
        return cleaned

    def _check_length(self, path: str, place: str) -> None:
        size_bytes = len(os.fsencode(place))
        if size_bytes > _PATH_LIMIT_BYTES:
            raise self._refuse(
                path, f"is a path of {size_bytes} bytes; mke2fs takes up to {_PATH_LIMIT_BYTES}"
            )
        if place.count("/") >= _DEPTH_LIMIT:
            raise self._refuse(path, f"lies in more than {_DEPTH_LIMIT - 1} folders, the most")

    @contextmanager
    def _naming(self, place: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}:
                raise self._refuse(place, f"cannot be kept: {error.strerror}") from None
            raise

    def _refuse(self, path: str, what: str) -> BadInputError:
        shown = path if len(path) <= 120 else path[:119] + "…"
        return BadInputError(f"{self.origin}: {shown!r} {what}.")


def _join(place: str, target: str) -> str:
    """Return where the symlink at `place` points, ".." taken by name ("/" is its own parent)."""
    steps = [] if target.startswith("/") else place.split("/")[:-1]
    for step in target.split("/"):
        if step == "..":
            steps = steps[:-1]
        elif step not in {"", "."}:
            steps.append(step)
    return "/".join(steps) or "."
