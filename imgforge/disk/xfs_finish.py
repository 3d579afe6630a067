"""What mkfs.xfs cannot put into XFS by a prototype file is put in afterwards, in place.

Names, targets of symlinks, further names of a file, owners' bits and times are written where
they stand: version 4 has no checksums. Attributes are made by xfs_db, which knows their length but
not their content. A further name was made as a file of its own: its inode is given up, and
xfs_repair, which finds that, sets the counts and the folders' indexes right.
"""

import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imgforge.command import Setting, Streams, run
from imgforge.disk.xfs_attributes import ACLS, kept_acl, list_xfs_attributes
from imgforge.disk.xfs_filesystem import XfsFilesystem, XfsName
from imgforge.errors import CommandError, HostError
from imgforge.rootfs import EntryKind, TreeEntry

_TYPES = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.DIRECTORY: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.CHARACTER_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
    EntryKind.FIFO: stat.S_IFIFO,
}
_NAMESPACES = {"user.": ("-u", 0), "trusted.": ("-r", 0x02), "security.": ("-s", 0x04)}
_ROOT = 0x02
_KEPT_ACLS = {name: kept.decode() for kept, name in ACLS.items()}
_MODE_AT, _LINKS_AT, _TIMES_AT = 2, 16, 32
_LATEST_S = 2**31 - 1  # in version 4
_TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a prototype file could not say, by path.

    `names` are the last names under which paths were made instead, of the same length; `targets`
    those of symlinks that were made as another of the same length; `links` the first name of a
    file of which a path is a further one.
    """

    names: dict[bytes, bytes]
    targets: dict[bytes, bytes]
    links: dict[bytes, bytes]


def is_kept_attribute(name: str) -> bool:
    """Tell whether an attribute of this name can be made."""
    prefix, _, rest = name.partition(".")
    if name in _KEPT_ACLS:
        return True
    plain = rest.isascii() and rest.isprintable() and not set(rest) & set(" \"'\\")
    return f"{prefix}." in _NAMESPACES and bool(rest) and plain and not rest.startswith("-")


def finish_xfs(disk: Path, entries: Mapping[bytes, TreeEntry], leftover: Leftover) -> None:
    """Make the file system `disk` hold what `entries` and `leftover` say.

    Raises HostError where it holds another tree, CommandError.
    """
    with disk.open("r+b", buffering=0) as file:
        filesystem = XfsFilesystem(file)
        places = _places(filesystem, entries, leftover)
        inodes = {path: place.inode for path, place in places.items()}
        inodes[b"."] = filesystem.superblock.root_inode
        _rename(file.fileno(), places, leftover)
        _link(file.fileno(), filesystem, places, leftover)
        _lead(file.fileno(), filesystem, inodes, leftover)
    inodes |= {path: inodes[first] for path, first in leftover.links.items()}
    _set_attributes(disk, entries, inodes)
    if leftover.names or leftover.links:
        run("xfs_repair", [disk.name], setting=Setting(cwd=disk.parent), timeout_s=_TIMEOUT_S)
    with disk.open("r+b", buffering=0) as file:
        _set_metadata(file.fileno(), XfsFilesystem(file), entries, inodes)


def _places(
    filesystem: XfsFilesystem, entries: Mapping[bytes, TreeEntry], leftover: Leftover
) -> dict[bytes, XfsName]:
    """Return where each path's name stands. Raises HostError for others than were asked for."""
    made = {
        path.rpartition(b"/")[0] + b"/" + leftover.names.get(path, path.rpartition(b"/")[2]): path
        for path in entries
    }
    found: dict[bytes, XfsName] = {}
    pending = [(b"", filesystem.superblock.root_inode)]
    while pending:
        folder, number = pending.pop()
        for name in filesystem.list_folder(filesystem.inode(number)):
            if name.name in {b".", b".."}:
                continue
            path = made.get(folder + b"/" + name.name)
            if path is None or path in found:
                raise HostError(f"xfs: mkfs.xfs made {os.fsdecode(folder + name.name)!r} unasked.")
            found[path] = name
            if entries[path].kind is EntryKind.DIRECTORY:
                pending.append((path, name.inode))
    if missing := entries.keys() - found.keys() - {b"."}:
        raise HostError(f"xfs: mkfs.xfs did not make {os.fsdecode(min(missing))!r}.")
    return found


def _rename(descriptor: int, places: Mapping[bytes, XfsName], leftover: Leftover) -> None:
    for path in leftover.names:
        os.pwrite(descriptor, path.rpartition(b"/")[2], places[path].name_at)


def _link(
    descriptor: int,
    filesystem: XfsFilesystem,
    places: Mapping[bytes, XfsName],
    leftover: Leftover,
) -> None:
    """Let further names lead to their file; what they led to is no inode any more."""
    links: dict[bytes, int] = {}
    for path, first in leftover.links.items():
        place, target = places[path], places[first].inode
        given_up = filesystem.inode(place.inode)
        os.pwrite(descriptor, target.to_bytes(place.inode_width), place.inode_at)
        os.pwrite(descriptor, bytes(2), given_up.at + _MODE_AT)
        links[first] = links.get(first, 1) + 1
    for first, count in links.items():
        inode = filesystem.inode(places[first].inode)
        os.pwrite(descriptor, struct.pack(">I", count), inode.at + _LINKS_AT)


def _lead(
    descriptor: int, filesystem: XfsFilesystem, inodes: Mapping[bytes, int], leftover: Leftover
) -> None:
    """Write where symlinks point."""
    for path, target in leftover.targets.items():
        inode = filesystem.inode(inodes[path])
        fork = inode.data
        at = fork.at if fork.is_local else next(filesystem.extents(inode, fork)).physical
        os.pwrite(descriptor, target, at)


def _attributes(entry: TreeEntry) -> Iterator[tuple[str, int, str, bytes]]:
    """Yield an entry's attributes: xfs_db's option, XFS's flag, the name there, the value."""
    for name, value in sorted(entry.xattrs.items()):
        if name in _KEPT_ACLS:
            yield "-r", _ROOT, _KEPT_ACLS[name], kept_acl(value)
            continue
        prefix, _, rest = name.partition(".")
        option, flag = _NAMESPACES[f"{prefix}."]
        yield option, flag, rest, value


def _set_attributes(
    disk: Path, entries: Mapping[bytes, TreeEntry], inodes: Mapping[bytes, int]
) -> None:
    by_inode = {inodes[path]: entry for path, entry in entries.items() if entry.xattrs}
    if not by_inode:
        return
    commands = []
    for number, entry in by_inode.items():
        commands.append(f"inode {number}")
        for option, _, name, value in _attributes(entry):
            commands.append(f"attr_set {option} -v {len(value)} {name}")
    completed = run(
        "xfs_db",
        ["-x", disk.name],
        streams=Streams(stdin="\n".join([*commands, "quit", ""]).encode()),
        setting=Setting(cwd=disk.parent),
        timeout_s=_TIMEOUT_S,
    )
    if completed.stderr.strip():
        said = completed.stderr.decode(errors="replace")[:1000]
        raise CommandError(f"xfs_db could not do all it was asked:\n  {completed.line}\n{said}")
    with disk.open("r+b", buffering=0) as file:
        filesystem = XfsFilesystem(file)
        for number, entry in by_inode.items():
            _fill_attributes(file.fileno(), filesystem, number, entry)


def _fill_attributes(
    descriptor: int, filesystem: XfsFilesystem, number: int, entry: TreeEntry
) -> None:
    wanted = {(flag, name.encode()): value for _, flag, name, value in _attributes(entry)}
    for one in list_xfs_attributes(filesystem, filesystem.inode(number)):
        value = wanted.pop((one.flags & 0x06, one.name), None)
        if value is None or len(value) != len(one.value):
            raise HostError(f"xfs: xfs_db made another attribute of /{entry.path}.")
        for at, count in one.runs:
            os.pwrite(descriptor, value[:count], at)
            value = value[count:]
    if wanted:
        raise HostError(f"xfs: xfs_db did not make all attributes of /{entry.path}.")


def _set_metadata(
    descriptor: int,
    filesystem: XfsFilesystem,
    entries: Mapping[bytes, TreeEntry],
    inodes: Mapping[bytes, int],
) -> None:
    """Give the inodes sticky bits and times, which a prototype file does not hold."""
    for path, entry in entries.items():
        at = filesystem.inode(inodes[path]).at
        mode = _TYPES[entry.kind] | entry.mode & 0o7777
        os.pwrite(descriptor, struct.pack(">H", mode), at + _MODE_AT)
        time = struct.pack(">iI", min(entry.mtime_s, _LATEST_S), 0)
        os.pwrite(descriptor, time * 3, at + _TIMES_AT)
