"""A root tree as an ordinary user can hold it: plain files, and an index of what they stand for."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class EntryKind(StrEnum):
    """What a path of the tree is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    CHARACTER_DEVICE = "character-device"
    BLOCK_DEVICE = "block-device"
    FIFO = "fifo"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """The metadata of one path: what the plain copy cannot hold without root.

    `path` is relative to the root ("." for the root itself) with surrogate escapes for bytes that
    are not UTF-8; `mode` has the permission bits, setuid, setgid and sticky; `mtime_s` is seconds
    since 1970; `device` is (major, minor); `xattrs` maps full names to values. Paths of one hard
    linked file each have an entry, with equal metadata.
    """

    path: str
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    mtime_s: int
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rootfs:
    """A root tree in the cache, never written to once it stands there.

    `tree` is a folder that the invoking user owns and can read throughout: files with their
    content and hard links, folders, symlinks, FIFOs; a device node stands there as an empty file.
    `index` holds a TreeEntry for every path, in the order of their bytes, one JSON object a line.
    `sha256` covers contents and metadata; `lock_sha256` is that of the lock text, or empty where
    the source has no packages. `content_bytes` sums the files, each hard linked one once.
    """

    tree: Path
    index: Path
    sha256: str
    lock_sha256: str
    content_bytes: int

    def entries(self) -> Iterator[TreeEntry]:
        """Read the index."""
        with self.index.open(encoding="ascii") as lines:
            yield from (_parse_entry(line) for line in lines)


def write_index(path: Path, entries: Iterable[TreeEntry]) -> None:
    """Write `entries` in the order of their paths' bytes."""
    ordered = sorted(entries, key=lambda entry: entry.path.encode(errors="surrogateescape"))
    with path.open("w", encoding="ascii") as lines:
        lines.writelines(_format_entry(entry) for entry in ordered)


def _format_entry(entry: TreeEntry) -> str:
    values = {
        "path": entry.path,
        "kind": entry.kind,
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime_s": entry.mtime_s,
        "device": entry.device,
        "xattrs": {
            name: base64.b64encode(value).decode() for name, value in sorted(entry.xattrs.items())
        },
    }
    return json.dumps(values) + "\n"


def _parse_entry(line: str) -> TreeEntry:
    values = json.loads(line)
    return TreeEntry(
        path=values["path"],
        kind=EntryKind(values["kind"]),
        mode=values["mode"],
        uid=values["uid"],
        gid=values["gid"],
        mtime_s=values["mtime_s"],
        device=(values["device"][0], values["device"][1]),
        xattrs={name: base64.b64decode(text) for name, text in values["xattrs"].items()},
    )
