"""The archive format of an initramfs: newc (kernel: driver-api/early-userspace/buffer-format)."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_END = "TRAILER!!!"
_MAGIC = b"070701"


@dataclass(frozen=True, slots=True)
class CpioEntry:
    """One path of the archive, root's: `mode` with the file type; `content` a symlink's target."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(path: str) -> CpioEntry:
    """Return a folder with mode 0755."""
    return CpioEntry(path, stat.S_IFDIR | 0o755)


def file(path: str, content: bytes, *, mode: int = 0o644) -> CpioEntry:
    """Return a file."""
    return CpioEntry(path, stat.S_IFREG | mode, content)


def symlink(path: str, target: str) -> CpioEntry:
    """Return a symlink."""
    return CpioEntry(path, stat.S_IFLNK | 0o777, target.encode())


def write_cpio(entries: Iterable[CpioEntry], *, mtime_s: int) -> bytes:
    """Return the archive of `entries` in their order; parents must come before children."""
    parts = [
        _record(entry, inode=number, mtime_s=mtime_s) for number, entry in enumerate(entries, 1)
    ]
    parts.append(_record(CpioEntry(_END, 0), inode=0, mtime_s=0))
    archive = b"".join(parts)
    return archive + bytes(-len(archive) % 512)


def _record(entry: CpioEntry, *, inode: int, mtime_s: int) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    sizes = (len(entry.content), 0, 0, *entry.device, len(name), 0)
    numbers = (inode, entry.mode, 0, 0, links, mtime_s, *sizes)
    header = _MAGIC + b"".join(b"%08X" % number for number in numbers) + name
    return header + bytes(-len(header) % 4) + entry.content + bytes(-len(entry.content) % 4)
