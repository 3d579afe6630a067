"""The lock of a recipe: exactly which packages it stands for, so that they can be had again."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgforge.errors import BadInputError
from imgforge.recipe import PackagesSource

_NAME = r"^[a-z0-9][a-z0-9+.-]+$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LockedPackage(_Part):
    """One Debian package, byte for byte, and where it was found.

    `archive` counts the base's mirrors from 0; `path` is the file's path there.
    """

    name: str = Field(pattern=_NAME)
    version: str = Field(pattern=r"^[0-9A-Za-z.+:~-]+$")
    architecture: str = Field(pattern=r"^[a-z0-9-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    archive: int = Field(ge=0)
    path: str = Field(pattern=r"^[\x21-\x7e]+$")

    @property
    def release(self) -> str:
        """Name and version, as people say it."""
        return f"{self.name} {self.version}"


class LockBase(_Part):
    """What the packages were chosen from, and what was asked for."""

    suite: str
    architecture: str
    variant: str
    components: tuple[str, ...]
    mirrors: tuple[str, ...]
    include: tuple[str, ...]


class Lock(_Part):
    """The lock; `snapshot` is the newest date among the mirrors' Release files, or empty."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    base: LockBase
    snapshot: str = Field(default="", pattern=r"^(\d{8}T\d{6}Z)?$")
    packages: tuple[LockedPackage, ...]

    @property
    def text(self) -> str:
        """The lock as it stands in its file."""
        values = self.model_dump(mode="json", by_alias=True)
        return json.dumps(values, indent=2, sort_keys=True) + "\n"

    @property
    def sha256(self) -> str:
        """The digest of the lock's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def describe_base(source: PackagesSource) -> LockBase:
    """Return the part of a recipe that decides which packages it gets."""
    return LockBase(
        suite=source.suite,
        architecture=source.architecture,
        variant=source.variant,
        components=source.components,
        mirrors=source.mirrors,
        include=tuple(sorted(set(source.include))),
    )


def make_lock(base: LockBase, *, packages: Iterable[LockedPackage], snapshot: str) -> Lock:
    """Return the lock of `packages`, in order."""
    ordered = sorted(packages, key=lambda package: (package.name, package.architecture))
    return Lock(base=base, packages=tuple(ordered), snapshot=snapshot)


def read_lock(path: Path) -> Lock | None:
    """Read a lock; None where there is none. Raises BadInputError for what is no lock."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"Lock {path}: cannot be read: {error}.") from None
    try:
        return Lock.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(step) for step in problem["loc"])
        raise BadInputError(
            f"Lock {path}: {place or 'the file'}: {problem['msg']}.",
            hint="Remove the file and build without --locked to make a new one.",
        ) from None


def check_base(lock: Lock, base: LockBase, *, path: Path) -> None:
    """Raise BadInputError where `lock`, which stands at `path`, is not of a recipe with `base`."""
    for name in LockBase.model_fields:
        locked, wanted = getattr(lock.base, name), getattr(base, name)
        if locked != wanted:
            raise BadInputError(
                f"Lock {path}: it was made for {name} = {_show(locked)}, the recipe now says "
                f"{_show(wanted)}.",
                hint="Build once without --locked to bring the lock up to date.",
            )


def describe_changes(old: Lock, new: Lock) -> Iterator[str]:
    """Say in words what `new` has instead of `old`."""
    before = {(package.name, package.architecture): package for package in old.packages}
    after = {(package.name, package.architecture): package for package in new.packages}
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was is None and now is not None:
            yield f"{now.release}: new"
        elif now is None and was is not None:
            yield f"{was.release}: gone"
        elif was is not None and now is not None and was.version != now.version:
            yield f"{was.release} → {now.version}"
        elif was is not None and now is not None and was.sha256 != now.sha256:
            yield f"{was.release}: rebuilt ({was.sha256[:12]}… → {now.sha256[:12]}…)"


def has_same_packages(old: Lock, new: Lock) -> bool:
    """Tell whether both hold the same packages for the same base, wherever they came from."""
    return old.base == new.base and _identities(old) == _identities(new)


def _identities(lock: Lock) -> list[tuple[str, str, str, str]]:
    return [(item.name, item.version, item.architecture, item.sha256) for item in lock.packages]


def _show(value: object) -> str:
    return " ".join(value) or "nothing" if isinstance(value, tuple) else str(value)
