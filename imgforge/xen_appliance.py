"""The Xen appliance: made once of locked packages, and kept in the cache by its content."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from imgforge import host
from imgforge.errors import BadInputError, HostError
from imgforge.files import appearing, locked_folder, scratch_folder, tidy, told_writing
from imgforge.machine import XenAppliance
from imgforge.progress import report, warn
from imgforge.recipe import PackagesSource, Recipe, RecipeFile, RootfsPart
from imgforge.rootfs import (
    HYPERVISOR,
    INITRAMFS,
    KERNEL,
    LOADER,
    LOADER_32,
    UNPACKED_BYTES,
    Lock,
    PackageSet,
    PackagesGoneError,
    build_appliance,
)
from imgforge.toml_file import TomlForm
from imgforge.usage import in_use, touch_used

KIND = "xen"
"""The appliances' folder in the cache."""
_FORMAT = 4  # raise it when the same packages and scripts give another appliance
_FILES = (HYPERVISOR, KERNEL, INITRAMFS, LOADER, LOADER_32)
_FACTS = "appliance.json"
_SCRIPTS = ("block", "grub.cfg", "init", "vif", "xl.conf")
_NAME = "xen-appliance"
_MB = 10**6


@dataclass(frozen=True, slots=True)
class ApplianceState:
    """An appliance as `doctor` tells of it: its folder if it is there, and what it takes.

    `damaged` are the names of its files that are not what was made.
    """

    folder: Path | None
    size_bytes: int = 0
    damaged: tuple[str, ...] = ()


def source_folder() -> Path:
    """Return the folder of what is ours in the appliance: guest/xen, to which a link leads here.

    An installed package has the files themselves.
    """
    return Path(__file__).parent / "guest_xen"


def prepare_appliance(cache: Path, *, sources: Path | None = None) -> XenAppliance:
    """Return the appliance, from `cache` or made there, which one does while others wait.

    Exactly the packages of its lock are used, as long as they can be had. One that is damaged is
    made anew. Raises HostError.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = _prepare(cache, sources or source_folder())
    touch_used(folder)
    return XenAppliance(
        hypervisor=folder / HYPERVISOR,
        kernel=folder / KERNEL,
        initramfs=folder / INITRAMFS,
        loader=folder / LOADER,
        loader_32=folder / LOADER_32,
        key=folder.name,
    )


def _prepare(cache: Path, sources: Path) -> Path:
    tidy(cache / KIND)
    packages = _package_set(sources, cache)
    known = _known_lock(packages)
    if known is not None and (folder := _find(cache, known, sources)) is not None:
        return folder
    waiting = cache / KIND / "locks"
    waiting.mkdir(parents=True, exist_ok=True)
    with locked_folder(waiting), in_use(cache):
        lock, files = _fetch(packages, known)
        found = _find(cache, lock, sources)
        if found is not None:
            return found
        folder = cache / KIND / appliance_key(lock, sources)
        _take_away_damaged(folder)
        report("Xen appliance: made once, of Debian's packages")
        _check_room(cache, UNPACKED_BYTES, "to unpack its packages")
        with told_writing(cache, "the Xen appliance"), appearing(folder) as new:
            new.mkdir()
            build_appliance(files, scripts=sources, destination=new)
            facts = json.dumps(_facts(lock, new)) + "\n"
            (new / _FACTS).write_text(facts, encoding="utf-8")
        return folder


def _take_away_damaged(folder: Path) -> None:
    """Remove an appliance that is not whole; a machine that has its files open keeps them."""
    if not folder.exists():
        return
    damaged = find_damaged(folder)
    warn(f"Xen appliance {folder}: {_told(damaged)} not what was made. It is made anew.")
    what = "the Xen appliance"
    with told_writing(folder.parent, what), scratch_folder(folder.parent) as aside:
        folder.rename(aside / "damaged")


def _told(names: tuple[str, ...]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def find_appliance(cache: Path, *, sources: Path | None = None) -> ApplianceState:
    """Look for the appliance without making anything. Raises HostError without its sources."""
    sources = sources or source_folder()
    lock = _known_lock(_package_set(sources, cache))
    folder = None if lock is None else cache / KIND / appliance_key(lock, sources)
    if folder is None or not folder.is_dir():
        return ApplianceState(None)
    damaged = find_damaged(folder)
    if damaged:
        return ApplianceState(folder, damaged=damaged)
    return ApplianceState(folder, sum((folder / name).stat().st_size for name in _FILES))


def find_damaged(folder: Path) -> tuple[str, ...]:
    """Return the names of an appliance's files that are missing, or not those that were made.

    Each is read whole and held against its SHA-256: 20 MB, some 0.05 s.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (_FACTS,)
    match facts:
        case {"sha256": dict(made)}:
            return tuple(name for name in _FILES if _digest(folder / name) != made.get(name, ""))
    return (_FACTS,)


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def appliance_key(lock: Lock, sources: Path) -> str:
    """Return the digest of all that decides the appliance's bytes."""
    scripts = {name: hashlib.sha256((sources / name).read_bytes()).hexdigest() for name in _SCRIPTS}
    packages = [(item.release, item.sha256) for item in lock.packages]
    facts = {"format": _FORMAT, "packages": packages, "scripts": scripts}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _package_set(sources: Path, cache: Path) -> PackageSet:
    path = sources / "appliance.toml"
    if not path.is_file():
        raise HostError(
            f"Xen appliance: {path} is not there.",
            hint="It is part of imgforge: install it again.",
        )
    form = TomlForm(
        "Xen appliance",
        TypeAdapter(RootfsPart),
        hint="It is a recipe's rootfs.",
        tags=("packages", "folder", "tar"),
    )
    part = form.load(path)
    if not isinstance(part.source, PackagesSource):
        raise HostError(f"Xen appliance {path}: it is made of packages.")
    # No disk is made of it: of a recipe it has the root tree alone.
    values: dict[str, Any] = {"name": _NAME, "rootfs": part}
    recipe = Recipe.model_construct(**values)
    source = RecipeFile.model_construct(path=path, recipe=recipe)
    return PackageSet(source=source, base_cache=cache, wanted=part.source)


def _known_lock(packages: PackageSet) -> Lock | None:
    try:
        return next(packages.known(locked=True), None)
    except BadInputError:  # none, or of another list of packages
        return None


def _fetch(packages: PackageSet, known: Lock | None) -> tuple[Lock, list[Path]]:
    """Return the lock, and the files of its packages: today's where the lock's are gone."""
    if known is not None:
        _check_room_for(packages, known)
        try:
            return known, packages.fetch(known)
        except PackagesGoneError as error:
            _check_room_for(packages, known)  # it may have filled meanwhile
            warn(f"{error} Today's packages are taken.")
    lock = packages.resolve(locked=False)
    _check_room_for(packages, lock)
    return lock, packages.fetch(lock)


def _check_room_for(packages: PackageSet, lock: Lock) -> None:
    missing_bytes = packages.missing_bytes(lock)
    if missing_bytes:
        _check_room(
            packages.base_cache,
            missing_bytes + UNPACKED_BYTES,
            f"for {missing_bytes // _MB} MB of packages, and to unpack them",
        )


def _check_room(cache: Path, needed_bytes: int, purpose: str) -> None:
    free_bytes = host.free_disk_bytes(cache)
    if free_bytes < needed_bytes:
        raise HostError(
            f"Xen appliance: {needed_bytes // _MB} MB are needed in {cache} {purpose}; "
            f"{free_bytes // _MB} MB are free.",
            hint="Free some (imgforge cache prune), or set IMGFORGE_CACHE to a folder elsewhere.",
        )


def _find(cache: Path, lock: Lock, sources: Path) -> Path | None:
    folder = cache / KIND / appliance_key(lock, sources)
    return None if find_damaged(folder) else folder


def _facts(lock: Lock, folder: Path) -> Mapping[str, object]:
    """Return the digests of what was made, and what a person looking through the cache asks."""
    return {
        "packages": [
            item.release
            for item in lock.packages
            if item.name.startswith(("xen-hypervisor", "linux-image-", "grub-xen"))
        ],
        "sha256": {name: _digest(folder / name) for name in _FILES},
    }
