"""The cache is kept small: what was not used for longest goes first, what is in use never does.

A thing goes by a rename aside and is deleted there: a kill leaves nothing that looks whole, and
what it leaves goes with the next run that works in that folder.
"""

import contextlib
import math
import os
import stat
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imgforge import host
from imgforge.command import run
from imgforge.errors import BadInputError
from imgforge.files import locked_folder, scratch_folder, sweep
from imgforge.inventory import CacheItem, CacheKind, is_alive, take_inventory
from imgforge.progress import report, warn
from imgforge.recipe import parse_size
from imgforge.rootfs import remove_with_subordinate_ids
from imgforge.usage import alone

EVERY_AGE_S = -math.inf
"""An age that everything has, in seconds."""
_FROZEN_LIMIT_BYTES = 8 * 2**30
_AGES_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MOST_AGE_DIGITS = 6
_DELETE_LIMIT_S = 600.0
_ANY_EXIT_CODE = range(-64, 256)


@dataclass(frozen=True, slots=True)
class PruneWish:
    """What is to go: of these kinds (all where empty), what is older, and the oldest beyond a size.

    `older_than_s` is the time since the last use, in seconds; EVERY_AGE_S takes all.
    `max_size_bytes` is what all things of the kinds may take together. Without either, frozen
    machines beyond their own limit are to go.
    """

    kinds: tuple[CacheKind, ...] = ()
    older_than_s: float | None = None
    max_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go; what should have gone and is in use; and what could not go."""

    removed: tuple[CacheItem, ...]
    in_use: tuple[CacheItem, ...]
    failed: tuple[CacheItem, ...] = ()


def parse_age(text: str) -> float:
    """Return the seconds of an age such as "30d": a whole number with s, m, h, d or w behind it."""
    number, unit = text.strip()[:-1], text.strip()[-1:]
    short = number.isascii() and number.isdigit() and len(number) <= _MOST_AGE_DIGITS
    if not short or unit not in _AGES_S:
        raise ValueError('an age is a whole number with s, m, h, d or w behind it, as in "30d"')
    return float(int(number) * _AGES_S[unit])


def default_frozen_limit_bytes() -> int:
    """Return what frozen machines may take together: IMGFORGE_FROZEN_LIMIT, else 8 GiB."""
    text = host.frozen_limit()
    if not text:
        return _FROZEN_LIMIT_BYTES
    try:
        return parse_size(text)
    except ValueError as error:
        raise BadInputError(f"IMGFORGE_FROZEN_LIMIT={text}: {error}.") from None


def prune(cache: Path, wish: PruneWish, *, remove: bool = True) -> Pruned:
    """Remove what `wish` asks for, least recently used first; never what is in use, or not ours.

    Leftovers of killed runs always go, where `wish` has no kinds or names them. With `remove`
    False nothing goes, and the answer is what would. While a build runs, only frozen machines go.
    """
    items = take_inventory(cache, kinds=wish.kinds)
    going, held = choose(items, wish, now_s=time.time())
    if wish.older_than_s is None and wish.max_size_bytes is None:
        frozen = [item for item in items if item.kind is CacheKind.FROZEN]
        limit = PruneWish(max_size_bytes=default_frozen_limit_bytes())
        also = choose(frozen, limit, now_s=time.time())
        going, held = going + also[0], held + also[1]
    if not remove:
        return Pruned(tuple(going), tuple(held))
    return _remove_all(cache, going, held)


def make_room(folder: Path, limit_bytes: int | None = None) -> Pruned:
    """Remove the frozen machines in `folder`, CACHE/frozen, that were not used for longest.

    So many that the rest takes at most `limit_bytes` (default_frozen_limit_bytes() without). Those
    in use stay, and the one used last, which was just made: whatever they take.
    """
    limit = default_frozen_limit_bytes() if limit_bytes is None else limit_bytes
    items = take_inventory(folder.parent, kinds=[CacheKind.FROZEN])
    going, held = choose(items, PruneWish(max_size_bytes=limit), now_s=time.time())
    pruned = _remove_all(folder.parent, [item for item in going if item != items[-1]], held)
    for item in pruned.removed:
        report(f"cache: the frozen machine of {item.what} went, beyond {limit / 2**30:.1f} GiB")
    return pruned


def choose(
    items: Sequence[CacheItem], wish: PruneWish, *, now_s: float
) -> tuple[list[CacheItem], list[CacheItem]]:
    """Return what goes and what would if it were not in use; `items` in the order of last use."""
    total = sum(item.size_bytes for item in items if item.kind is not CacheKind.OTHER)
    going: list[CacheItem] = []
    held: list[CacheItem] = []
    for item in items:
        if item.kind is CacheKind.OTHER:
            continue
        leftover = item.kind is CacheKind.LEFTOVER and not item.in_use
        old = wish.older_than_s is not None and item.last_used_s <= now_s - wish.older_than_s
        over = wish.max_size_bytes is not None and total > wish.max_size_bytes
        if not (leftover or old or over):
            continue
        (held if item.in_use else going).append(item)
        if not item.in_use:
            total -= item.size_bytes
    return going, held


def _remove_all(cache: Path, going: Sequence[CacheItem], held: Sequence[CacheItem]) -> Pruned:
    ends: dict[_End, list[CacheItem]] = {end: [] for end in _End}
    ends[_End.IN_USE] += held
    leftovers = [item for item in going if item.kind is CacheKind.LEFTOVER]
    with ExitStack() as stack:
        asides = _Asides(stack)
        # Renames are quick: a build that begins meanwhile waits for these, not for the deletion.
        with alone(cache) as nobody_builds:
            for item in going:
                if item.kind is CacheKind.LEFTOVER:
                    continue
                may_go = nobody_builds or item.kind in {CacheKind.FROZEN, CacheKind.SNAPSHOTS}
                ends[_set_aside(item, asides) if may_go else _End.IN_USE].append(item)
        for path in asides.taken:
            _delete(path)
    for parent in {item.path.parent for item in leftovers}:
        with contextlib.suppress(FileNotFoundError), locked_folder(parent):
            sweep(parent, remove=_delete)
    for item in leftovers:
        stays = _End.IN_USE if is_alive(item.path) else _End.FAILED
        ends[stays if item.path.exists() else _End.REMOVED].append(item)
    return Pruned(*(tuple(ends[end]) for end in (_End.REMOVED, _End.IN_USE, _End.FAILED)))


class _End(StrEnum):
    """What became of a thing that was to go; another prune may have been faster."""

    REMOVED = "removed"
    IN_USE = "in use"
    FAILED = "failed"
    WAS_GONE = "was gone"


class _Asides:
    """A folder aside for each folder that something is removed from."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._by_parent: dict[Path, Path] = {}
        self.taken: list[Path] = []

    def take(self, path: Path) -> None:
        """Rename `path` aside."""
        parent = path.parent
        if parent not in self._by_parent:
            self._by_parent[parent] = self._stack.enter_context(scratch_folder(parent))
        place = self._by_parent[parent] / str(len(self.taken))
        path.rename(place)
        self.taken.append(place)


def _set_aside(item: CacheItem, asides: _Asides) -> _End:
    try:
        if item.path.is_symlink() or not item.path.is_dir():
            asides.take(item.path)
        else:
            with alone(item.path) as had:
                if not had:
                    return _End.IN_USE if item.path.exists() else _End.WAS_GONE
                asides.take(item.path)
    except FileNotFoundError:
        return _End.WAS_GONE
    except OSError as error:
        warn(f"{item.path} cannot be removed: {error.strerror}")
        return _End.FAILED
    if item.kind in {CacheKind.ROOTFS, CacheKind.BASES}:
        # Where those wait who make the same: nobody does, since nobody builds.
        with contextlib.suppress(OSError):
            (item.path.parent / "locks" / item.path.name.removesuffix(".tar")).rmdir()
    return _End.REMOVED


def _delete(path: Path) -> None:
    """Delete what stands aside: also folders that may not be written, and other users' of ours."""
    folders = [path]
    while folders:
        folder = folders.pop()
        try:
            if stat.S_ISDIR(folder.lstat().st_mode):
                folder.chmod(0o700)
                folders += folder.iterdir()
        except OSError:  # another user's, or too deep to be named
            continue
    run("rm", ["-rf", "--", path], timeout_s=_DELETE_LIMIT_S, accepted_exit_codes=_ANY_EXIT_CODE)
    if os.path.lexists(path):
        remove_with_subordinate_ids(path)
