"""Which packages a recipe gets today: its lock, the cache's, or what the mirrors say."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgforge.errors import BadInputError, HostError
from imgforge.files import appearing, locked_folder
from imgforge.recipe import PackagesSource, RecipeFile
from imgforge.rootfs.apt import fetch, is_stored, missing_bytes, open_room, resolve
from imgforge.rootfs.lock import (
    Lock,
    LockBase,
    check_base,
    describe_base,
    describe_changes,
    has_same_packages,
    read_lock,
)
from imgforge.usage import touch_used

_LOG = logging.getLogger("imgforge")


@dataclass(frozen=True, slots=True)
class PackageSet:
    """The packages of a recipe; `base_cache` holds package files, apt's lists and locks."""

    source: RecipeFile
    base_cache: Path
    wanted: PackagesSource

    @property
    def base(self) -> LockBase:
        """What the recipe asks for."""
        return describe_base(self.wanted)

    @property
    def store(self) -> Path:
        """Where package files stand, each named by its SHA-256."""
        return self.base_cache / "packages"

    def known(self, *, locked: bool) -> Iterator[Lock]:
        """Give the locks that may hold without asking a mirror: the recipe's, then the cache's.

        With `locked` only the recipe's counts; raises BadInputError where it is not there or was
        made for something else.
        """
        path = self.source.lock_path
        if locked:
            lock = read_lock(path)
            if lock is None:
                raise BadInputError(
                    f"Lock {path}: not there, and --locked needs it.",
                    hint="Build once without --locked to make it.",
                )
            check_base(lock, self.base, path=path)
            yield lock
            return
        for place in (path, self._cached_lock):
            try:
                lock = read_lock(place)
            except BadInputError as error:
                _LOG.warning("packages: %s It is made anew.", error)
                continue
            if lock is not None and lock.base == self.base:
                yield lock

    def resolve(self, *, locked: bool) -> Lock:
        """Return the lock to build from: the recipe's with `locked`, else today's, and keep it.

        Where the mirrors do not answer or no longer have them, a known lock whose packages are all
        in the cache will do.
        """
        known = list(self.known(locked=locked))
        if locked:
            return known[0]
        _LOG.info("packages: %s, %d asked for", self.base.suite, len(self.base.include))
        room_folder = self._room_folder
        room_folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked_folder(room_folder):
                found = resolve(open_room(room_folder, self.base), self.base)
        except (HostError, BadInputError) as error:
            stored = [lock for lock in known if is_stored(lock, self.store)]
            if not stored:
                raise
            _LOG.warning("packages: %s", str(error).splitlines()[0])
            _LOG.warning("packages: going on with the last ones known, all in the cache")
            return stored[0]
        # A lock with the same packages keeps its own bytes: nothing changed.
        lock = next((old for old in known if has_same_packages(old, found)), found)
        self.keep(lock, locked=False)
        return lock

    def keep(self, lock: Lock, *, locked: bool) -> None:
        """Write `lock` next to the recipe and into the cache where they hold something else."""
        if locked:
            return
        path = self.source.lock_path
        try:
            old = read_lock(path)
        except BadInputError:
            old = None
        if old is not None and old.base != self.base:
            _LOG.info("packages: the recipe asks for something else than its lock")
        for change in describe_changes(old, lock) if old else ():
            _LOG.info("packages: %s", change)
        _write(self._cached_lock, lock)
        try:
            _write(path, lock)
        except OSError as error:
            _LOG.warning(
                "packages: the lock %s cannot be written (%s); it is kept in the cache only",
                path,
                error.strerror,
            )

    def fetch(self, lock: Lock) -> list[Path]:
        """Return the package files of `lock`, in its order."""
        if is_stored(lock, self.store):
            files = [self.store / f"{package.sha256}.deb" for package in lock.packages]
        else:
            room_folder = self._room_folder
            room_folder.mkdir(parents=True, exist_ok=True)
            with locked_folder(room_folder):
                files = fetch(open_room(room_folder, self.base), lock, store=self.store)
        for file in files:
            touch_used(file)
        return files

    def missing_bytes(self, lock: Lock) -> int:
        """Return how many bytes `fetch` would have to download for `lock`."""
        return missing_bytes(lock, self.store)

    @property
    def _key(self) -> str:
        facts = json.dumps(self.base.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    @property
    def _cached_lock(self) -> Path:
        return self.base_cache / "locks" / f"{self._key}.lock"

    @property
    def _room_folder(self) -> Path:
        return self.base_cache / "apt" / self._key


def _write(path: Path, lock: Lock) -> None:
    try:
        if path.read_text(encoding="utf-8") == lock.text:
            return
    except (OSError, UnicodeDecodeError):
        pass
    with appearing(path) as new:
        new.write_text(lock.text, encoding="utf-8")
