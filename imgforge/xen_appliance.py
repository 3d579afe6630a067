"""The Xen appliance: made once of locked packages, and kept in the cache by its content."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from imgforge.errors import BadInputError, HostError
from imgforge.files import appearing, locked_folder, tidy
from imgforge.machine import XenAppliance
from imgforge.progress import report, warn
from imgforge.recipe import PackagesSource, Recipe, RecipeFile, RootfsPart
from imgforge.rootfs import (
    HYPERVISOR,
    INITRAMFS,
    KERNEL,
    LOADER,
    LOADER_32,
    Lock,
    PackageSet,
    build_appliance,
)
from imgforge.toml_file import TomlForm
from imgforge.usage import in_use, touch_used

KIND = "xen"
"""The appliances' folder in the cache."""
_FORMAT = 2  # raise it when the same packages and scripts give another appliance
_FILES = (HYPERVISOR, KERNEL, INITRAMFS, LOADER, LOADER_32)
_FACTS = "appliance.json"
_SCRIPTS = ("block", "grub.cfg", "init", "vif", "xl.conf")
_NAME = "xen-appliance"


@dataclass(frozen=True, slots=True)
class ApplianceState:
    """An appliance as `doctor` tells of it: its folder if it is there, and what it takes."""

    folder: Path | None
    size_bytes: int = 0


def source_folder() -> Path:
    """Return the folder of what is ours in the appliance; a checkout has it (guest/xen)."""
    return Path(__file__).parents[1] / "guest" / "xen"


def prepare_appliance(cache: Path, *, sources: Path | None = None) -> XenAppliance:
    """Return the appliance, from `cache` or made there, which one does while others wait.

    Exactly the packages of its lock are used, as long as they can be had. Raises HostError.
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
        report("Xen appliance: made once, of Debian's packages")
        folder = cache / KIND / appliance_key(lock, sources)
        with appearing(folder) as new:
            new.mkdir()
            build_appliance(files, scripts=sources, destination=new)
            (new / _FACTS).write_text(json.dumps(_facts(lock)) + "\n", encoding="utf-8")
        return folder


def find_appliance(cache: Path) -> ApplianceState:
    """Look for the appliance without making anything. Raises HostError without its sources."""
    sources = source_folder()
    lock = _known_lock(_package_set(sources, cache))
    folder = None if lock is None else _find(cache, lock, sources)
    if folder is None:
        return ApplianceState(None)
    return ApplianceState(folder, sum((folder / name).stat().st_size for name in _FILES))


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
            hint="It is part of imgforge's checkout: run imgforge from there.",
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
        try:
            return known, packages.fetch(known)
        except HostError as error:
            warn(f"{error} Today's packages are taken.")
    lock = packages.resolve(locked=False)
    return lock, packages.fetch(lock)


def _find(cache: Path, lock: Lock, sources: Path) -> Path | None:
    folder = cache / KIND / appliance_key(lock, sources)
    whole = all((folder / name).is_file() for name in (*_FILES, _FACTS))
    return folder if whole else None


def _facts(lock: Lock) -> dict[str, object]:
    """Return what a person looking through the cache wants to know."""
    return {
        "packages": [
            item.release
            for item in lock.packages
            if item.name.startswith(("xen-hypervisor", "linux-image-", "grub-xen"))
        ]
    }
