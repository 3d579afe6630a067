"""Where a volume comes from: a tree that stands or runs, a recipe, or a raw disk."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from imgforge import host
from imgforge.disk import examine_device, find_root_volume, read_volume_tree, recipe_menu
from imgforge.errors import BadInputError
from imgforge.layout import Layout, PartitionKind, partition_kind
from imgforge.recipe import RecipeFile
from imgforge.recipe_file import load_recipe
from imgforge.rootfs import (
    Found,
    Reader,
    Rootfs,
    prepare_rootfs,
    read_rootfs,
    read_standing_tree,
)
from imgforge.usage import in_use
from imgforge.volume import Mount, left_out_mounts, mount_of, read_mounts

LARGEST_BYTES = 10 * 2**30
"""What EC2 takes of an instance-store image, and what the AMI tools make without --size."""


@dataclass(frozen=True, slots=True)
class VolumeSource:
    """A tree to be read, and what is known of the file system and the disk it comes from.

    `kind`, `label`, `identity` and `partition` are None where the source has none. An image of it
    is `size_bytes` large, or, where that is None, as large as its content needs. `mounts`
    returns the paths in the tree whose content is another file system's, told what is left out
    anyway. `read` and `menu`, which writes menu.lst where the tree has none of its own, are told
    the layout that the image will have: a recipe has another kernel for each virtualization type;
    `read` also a folder where it may keep things while it reads.
    `using` is held while the tree is read.
    """

    path: Path
    name: str
    read: Callable[[Reader, Layout, Path], Iterator[Found]]
    kind: str | None = None
    label: str | None = None
    identity: uuid.UUID | None = None
    partition: PartitionKind | None = None
    size_bytes: int | None = None
    mounts: Callable[[Sequence[str]], dict[str, str]] | None = None
    menu: Callable[[Layout], bytes] | None = None
    using: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def is_folder(self) -> bool:
        """Whether it is a tree of this machine."""
        return self.mounts is not None


def open_source(path: Path, *, all_mounts: bool = False, locked: bool = False) -> VolumeSource:
    """Look at what `path` is: a folder, a recipe (.toml) or a raw disk.

    A recipe's tree is made once it is read. Raises BadInputError for anything else.
    """
    if path.is_dir():
        return _folder(path, all_mounts=all_mounts)
    if not path.exists():
        raise BadInputError(f"Volume {path}: there is no such folder, recipe or disk.")
    if not path.is_file():
        raise BadInputError(
            f"Volume {path}: is a device, a FIFO or a socket.",
            hint="Give a folder, a recipe or the file of a raw disk; mount a device first.",
        )
    return _recipe(path, locked=locked) if path.suffix == ".toml" else _disk(path)


def _folder(path: Path, *, all_mounts: bool) -> VolumeSource:
    folder = path.resolve()
    mounts = read_mounts()
    kind, label, identity, partition = _mounted(mount_of(str(folder), mounts))
    return VolumeSource(
        path=folder,
        name="image",
        read=lambda reader, _layout, _aside: read_standing_tree(folder, reader),
        kind=kind,
        label=label,
        identity=identity,
        partition=partition,
        size_bytes=LARGEST_BYTES,
        mounts=lambda unseen: left_out_mounts(
            str(folder), mounts, all_of_them=all_mounts, unseen=unseen
        ),
    )


def _mounted(
    mount: Mount | None,
) -> tuple[str | None, str | None, uuid.UUID | None, PartitionKind | None]:
    if mount is None:
        return None, None, None, None
    facts = examine_device(mount.device, kind=mount.kind)
    volume = facts.volume
    partition = PartitionKind(facts.scheme) if facts.scheme else None
    kind = volume.kind.value if facts.scheme else mount.kind
    return kind, volume.label, _uuid(volume.identity), partition


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None


def _recipe(path: Path, *, locked: bool) -> VolumeSource:
    loaded = load_recipe(path)
    recipe = loaded.recipe
    cache = host.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    made = _Made(loaded, cache, locked=locked)
    return VolumeSource(
        path=path,
        name=recipe.name,
        read=lambda reader, layout, _: read_rootfs(made.rootfs(layout), reader),
        kind=recipe.disk.filesystem.value,
        label=recipe.disk.label,
        partition=partition_kind(recipe.disk.layouts[0]),
        size_bytes=recipe.disk.size_bytes,
        menu=lambda layout: recipe_menu(loaded, made.rootfs(layout).tree, layout=layout),
        using=lambda: in_use(cache),
    )


class _Made:
    """A recipe's trees, each made when it is first asked for."""

    def __init__(self, recipe: RecipeFile, cache: Path, *, locked: bool) -> None:
        self._recipe, self._cache, self._locked = recipe, cache, locked
        self._trees: dict[Path, Rootfs] = {}

    def rootfs(self, layout: Layout) -> Rootfs:
        """Return the tree that a disk of this layout has, as `imgforge build` makes it."""
        recipe = self._recipe.for_layout(layout)
        if recipe.lock_path not in self._trees:
            made = prepare_rootfs(recipe, cache=self._cache, locked=self._locked)
            self._trees[recipe.lock_path] = made
        return self._trees[recipe.lock_path]


def _disk(path: Path) -> VolumeSource:
    volume = find_root_volume(path)
    scheme = volume.partition.scheme if volume.partition else "none"
    return VolumeSource(
        path=path,
        name=path.name,
        read=lambda reader, _, aside: read_volume_tree(path, volume, reader, aside=aside),
        kind=volume.kind.value,
        label=volume.label,
        identity=_uuid(volume.identity),
        partition=PartitionKind(scheme),
        size_bytes=min(path.stat().st_size, LARGEST_BYTES),
    )


def excluded_paths(source: VolumeSource, texts: Sequence[str]) -> list[str]:
    """Return paths to be left out, relative to the tree.

    One within a folder that is bundled is taken for it, any other one for a path in the tree.
    Raises BadInputError, for a folder, where nothing is there: what was to be left out would not
    be.
    """
    return [_excluded(source, text) for text in texts if text.strip()]


def _excluded(source: VolumeSource, text: str) -> str:
    path = os.path.normpath(text.strip())
    top = str(source.path).rstrip("/")
    if source.is_folder and (path + "/").startswith(top + "/"):
        path = path[len(top) :]
    relative = path.strip("/")
    if relative in {"", "."} or relative.startswith("../"):
        raise BadInputError(f"Exclude {text!r}: is not within the volume {source.path}.")
    if not source.is_folder:
        return relative
    inside = source.path / relative
    if not os.path.lexists(inside):
        raise BadInputError(
            f"Exclude {text!r}: there is no {inside}.", hint="Nothing would be left out by it."
        )
    parent = inside.parent.resolve()  # /var/run is /run
    if not parent.is_relative_to(source.path):
        raise BadInputError(f"Exclude {text!r}: leads out of the volume {source.path}.")
    return str((parent / inside.name).relative_to(source.path))


def place_in(source: VolumeSource, folder: Path) -> str | None:
    """Return a folder's path relative to the tree; None where it is elsewhere."""
    real = folder.resolve()
    if not source.is_folder or not real.is_relative_to(source.path):
        return None
    return str(real.relative_to(source.path))
