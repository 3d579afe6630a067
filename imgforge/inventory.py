"""What the cache holds: each thing with its size, when it was last used, and whether it is now.

Nothing is taken for granted: whatever stands there is listed, and no symbolic link is followed.
"""

import fcntl
import json
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from imgforge.usage import alone

_BLOCK_BYTES = 512  # st_blocks, stat(2)
_MOST_JSON_BYTES = 16 * 2**20
_MOST_CHARACTERS = 120
_ASIDE = ".imgforge-aside-"
_LOCK_FOLDER = "locks"  # in a folder of a kind: whoever makes something waits there
_SCRATCH = "scratch"


class CacheKind(StrEnum):
    """What a thing in the cache is: most are named after the folder they stand in."""

    ROOTFS = "rootfs"
    BASES = "bases"
    PACKAGES = "packages"
    APT = "apt"
    LOCKS = "locks"
    ACCELERATOR = "accelerator"
    FROZEN = "frozen"
    XEN = "xen"
    SNAPSHOTS = "snapshots"
    LEFTOVER = "leftover"
    OTHER = "other"


_NAMES = {
    CacheKind.ROOTFS: re.compile(r"[0-9a-f]{64}"),
    CacheKind.BASES: re.compile(r"[0-9a-f]{64}\.tar"),
    CacheKind.PACKAGES: re.compile(r"[0-9a-f]{64}\.deb"),
    CacheKind.APT: re.compile(r"[0-9a-f]{64}"),
    CacheKind.LOCKS: re.compile(r"[0-9a-f]{64}\.lock"),
    CacheKind.ACCELERATOR: re.compile(r"[0-9a-f]{16}\.json"),
    CacheKind.XEN: re.compile(r"[0-9a-f]{64}"),
    CacheKind.SNAPSHOTS: re.compile(r"[0-9a-f]{64}"),
    CacheKind.FROZEN: re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*"),
}


@dataclass(frozen=True, slots=True)
class CacheItem:
    """One thing in the cache.

    `what` says it in words; `size_bytes` is what it takes on the disk, where a file with several
    names counts for the first thing listed; `last_used_s` is in seconds since 1970. What is of no
    known kind, "other", may be anybody's.
    """

    kind: CacheKind
    path: Path
    what: str
    size_bytes: int
    last_used_s: float
    in_use: bool


def take_inventory(cache: Path, *, kinds: Collection[CacheKind] = ()) -> list[CacheItem]:
    """Return what `cache` holds, of these kinds or of all, least recently used first."""
    wanted = frozenset(kinds or CacheKind)
    with alone(cache) as had:  # all that build hold it
        building = not had
    look = _Look(building=building, packages=_package_names(cache), seen=set())
    found = [item for item in _items(cache, look, wanted) if item.kind in wanted]
    return sorted(found, key=lambda item: (item.last_used_s, str(item.path)))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known while looking: hard links seen, packages by their files' names."""

    building: bool
    packages: dict[str, str]
    seen: set[tuple[int, int]]


def _items(cache: Path, look: _Look, wanted: Collection[CacheKind]) -> Iterator[CacheItem]:
    for path in _entries(cache):
        name = path.name
        known = name in set(_NAMES) | {_SCRATCH}
        if not known or not _is_folder(path):
            if CacheKind.OTHER in wanted:
                yield _item(CacheKind.OTHER, path, look)
            continue
        for inner in _entries(path):
            kind = _kind_of(name, inner)
            if kind in wanted and kind is not None:
                yield _item(kind, inner, look)


def _kind_of(place: str, path: Path) -> CacheKind | None:
    """Return the kind of what stands in the folder `place`; None for locks without content."""
    if path.name.startswith(_ASIDE):
        return CacheKind.LEFTOVER
    if path.name == _LOCK_FOLDER and _is_folder(path):
        return None
    if place != _SCRATCH and _NAMES[CacheKind(place)].fullmatch(path.name):
        return CacheKind(place)
    return CacheKind.OTHER


def _item(kind: CacheKind, path: Path, look: _Look) -> CacheItem:
    return CacheItem(
        kind=kind,
        path=path,
        what=_describe(kind, path, look),
        size_bytes=stored_bytes(path, look.seen),
        last_used_s=_last_used(path),
        in_use=_is_in_use(kind, path, look),
    )


def _is_in_use(kind: CacheKind, path: Path, look: _Look) -> bool:
    if kind is CacheKind.OTHER:
        return False
    if kind is CacheKind.LEFTOVER:
        return is_alive(path)
    if look.building and kind not in {CacheKind.FROZEN, CacheKind.SNAPSHOTS}:
        return True
    if not _is_folder(path):
        return False
    with alone(path) as had:
        return not had and path.exists()


def is_alive(aside: Path) -> bool:
    """Tell whether whoever made an aside folder (files.scratch_folder) still works in it."""
    try:
        descriptor = os.open(aside / ".alive", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def stored_bytes(path: Path, seen: set[tuple[int, int]]) -> int:
    """Return what `path`, and all below it, takes on the disk; `seen` holds hard links counted."""
    total = 0
    waiting = [path]
    while waiting:
        current = waiting.pop()
        try:
            status = current.lstat()
        except OSError:  # gone meanwhile, or too deep to be named
            continue
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * _BLOCK_BYTES
        if stat.S_ISDIR(status.st_mode):
            waiting += _entries(current)
    return total


def _describe(kind: CacheKind, path: Path, look: _Look) -> str:
    try:
        return f"a link to {path.readlink()}, not followed"[:_MOST_CHARACTERS]
    except OSError:  # no link
        pass
    match kind:
        case CacheKind.ROOTFS:
            words = _describe_rootfs(path)
        case CacheKind.FROZEN:
            words = _describe_frozen(path)
        case CacheKind.PACKAGES:
            words = look.packages.get(path.name, "")
        case CacheKind.ACCELERATOR:
            words = _words(_read_json(path) or {}, "kind")
        case _:
            words = _describe_other(kind, path)
    return words[:_MOST_CHARACTERS]


def _describe_other(kind: CacheKind, path: Path) -> str:
    match kind:
        case CacheKind.XEN:
            return _describe_appliance(path)
        case CacheKind.SNAPSHOTS:
            return _describe_snapshot(path)
        case CacheKind.LOCKS:
            return _describe_lock(path) or "no lock: it cannot be read"
        case CacheKind.APT:
            return _describe_lock(path.parent.parent / "locks" / f"{path.name}.lock")
        case CacheKind.LEFTOVER:
            return "of a run that works, or was killed"
        case CacheKind.OTHER:
            return "not imgforge's: left alone"
        case _:
            return ""


def _describe_rootfs(path: Path) -> str:
    facts = _read_json(path / "rootfs.json")
    if facts is None:
        return "no root tree: its rootfs.json cannot be read"
    return _words(facts, "recipe")


def _describe_frozen(path: Path) -> str:
    facts = _read_json(path / "frozen.json")
    if facts is None:
        return "no frozen machine: its frozen.json cannot be read"
    shown = [_words(facts, name) for name in ("disk", "instance_type", "qemu_version", "created")]
    disk, instance_type, qemu, created = shown
    return f"{disk} on {instance_type}, QEMU {qemu}, {created}"


def _describe_appliance(path: Path) -> str:
    match _read_json(path / "appliance.json"):
        case {"packages": list(packages)}:
            return "appliance: " + ", ".join(str(name) for name in packages)
        case _:
            return "no appliance: its appliance.json cannot be read"


def _describe_snapshot(path: Path) -> str:
    facts = _read_json(path / "snapshot.json")
    if facts is None:
        return "no disk of an image: its snapshot.json cannot be read"
    image, snapshot, region = (_words(facts, name) for name in ("image", "snapshot", "region"))
    return f"{image}, {snapshot} in {region}"


def _describe_lock(path: Path) -> str:
    """Return what packages a lock is of, or "" where it cannot be read."""
    match _read_json(path):
        case {"base": {"suite": str(suite), "variant": str(variant)}, "packages": list(packages)}:
            return f"{suite}, {variant}, {len(packages)} packages"
        case _:
            return ""


def _package_names(cache: Path) -> dict[str, str]:
    """Return name and version of the package files that the cache's locks name."""
    known = {}
    for path in _entries(cache / "locks") if _is_folder(cache / "locks") else []:
        match _read_json(path):
            case {"packages": list(packages)}:
                for package in packages:
                    match package:
                        case {"name": str(name), "version": str(version), "sha256": str(sha256)}:
                            known[f"{sha256}.deb"] = f"{name} {version}"
    return known


def _words(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name, "")
    return str(value) if isinstance(value, str | int | float) else "?"


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return the object a file holds; None for anything else, be it a link or a FIFO."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = json.loads(file.read(_MOST_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _last_used(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
