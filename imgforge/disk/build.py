"""A root tree becomes a bootable raw disk."""

import errno
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgforge import host
from imgforge.command import find_program
from imgforge.disk.disk import Disk
from imgforge.disk.filesystem import (
    FilesystemFullError,
    FilesystemSpec,
    HostFullError,
    make_ext,
)
from imgforge.disk.grub import find_stages, install
from imgforge.disk.menu import format_menu, resolve_entries
from imgforge.disk.partition import write_table
from imgforge.disk.plan import Content, DiskPlan, automatic_size, plan_disk, stored_bytes, too_small
from imgforge.disk.record import (
    DiskRecord,
    disk_sha256,
    identify,
    read_record,
    record_path,
    synced_meanwhile,
    write_record,
)
from imgforge.disk.reserved import check_reserved_names
from imgforge.disk.xfs import make_xfs
from imgforge.errors import HostError
from imgforge.files import appearing, tidy
from imgforge.recipe import FilesystemType, Layout, RecipeFile
from imgforge.rootfs import Rootfs

_LOG = logging.getLogger("imgforge")
_FORMAT = 1  # raise it whenever the same input gives other bytes
_MIB = 2**20
_LATEST_STAMP_S = 2**31 - 1


def build_disk(
    rootfs: Rootfs, recipe_file: RecipeFile, *, layout: Layout, destination: Path
) -> Disk:
    """Make the raw disk `destination` (NAME.raw), and NAME.disk.json beside it.

    The same tree and recipe give the same bytes anywhere (xfs excepted). A disk that stands there
    already, made from the same input and untouched since, is returned at once. Raises
    BadInputError where the tree does not fit or a boot file is not there, HostError where the
    host's disk is full or a program fails; then nothing new stands there.
    """
    key = _build_key(rootfs, recipe_file, layout)
    existing = _take_existing(rootfs, recipe_file, destination=destination, key=key)
    if existing is not None:
        tidy(destination.parent)
        _LOG.info("disk %s: unchanged", destination.name)
        return existing
    menu = _make_menu(rootfs, recipe_file, layout)
    content = Content(file_bytes=rootfs.content_bytes, paths=_count_lines(rootfs.index))
    plan = plan_disk(recipe_file, layout=layout, content=content, tree=rootfs.tree)
    _LOG.info(
        "disk %s: %s, %d MiB, %s",
        destination.name,
        layout.value,
        plan.size_bytes // _MIB,
        recipe_file.recipe.disk.filesystem.value,
    )
    _check_host_space(destination.parent, rootfs)
    with _told_where_full(destination.parent, content), appearing(destination) as new:
        with _told_where_too_small(recipe_file, layout=layout, content=content, plan=plan):
            _assemble(new, rootfs, recipe_file, layout=layout, plan=plan, menu=menu)
        with synced_meanwhile(new):
            sha256 = disk_sha256(new)
        kept = new.open("rb")
        record_path(destination).unlink(missing_ok=True)
    with kept:
        record = DiskRecord(
            disk=destination.name,
            sha256=sha256,
            size_bytes=plan.size_bytes,
            layout=layout,
            recipe_sha256=recipe_file.recipe.sha256,
            lock_sha256=rootfs.lock_sha256,
            recipe=recipe_file.recipe,
            build_key=key,
            identity=identify(os.fstat(kept.fileno())),
        )
    write_record(destination, record)
    return record.to_disk(destination)


def _make_menu(rootfs: Rootfs, recipe_file: RecipeFile, layout: Layout) -> bytes:
    """Return menu.lst, once the tree surely has what it names and leaves its place free."""
    kind = recipe_file.recipe.disk.filesystem
    stages = () if layout.is_pv else find_stages(kind).all
    names = ["menu.lst", *(path.name for path in stages)]
    check_reserved_names(rootfs.tree, kind=kind, boot_files=names)
    entries = resolve_entries(recipe_file, rootfs.tree)
    return format_menu(recipe_file.recipe.boot, entries, layout=layout)


def _assemble(
    new: Path,
    rootfs: Rootfs,
    recipe_file: RecipeFile,
    *,
    layout: Layout,
    plan: DiskPlan,
    menu: bytes,
) -> None:
    kind = recipe_file.recipe.disk.filesystem
    identity = uuid.uuid5(uuid.NAMESPACE_OID, _content_key(rootfs, recipe_file, layout))
    with new.open("xb") as file:
        file.truncate(plan.size_bytes)
    new.chmod(0o644)
    write_table(new, layout=layout, root=plan.root, identity=identity)
    menu_file = new.with_name("menu.lst")
    menu_file.write_bytes(menu)
    boot_files = {"menu.lst": Path(menu_file.name)}
    stages = None if layout.is_pv else find_stages(kind)
    if stages is not None:
        boot_files |= {path.name: path for path in stages.all}
    spec = FilesystemSpec(
        kind=kind,
        label=recipe_file.recipe.disk.label,
        identity=identity,
        stamp_s=_stamp_s(rootfs),
    )
    make = make_xfs if kind is FilesystemType.XFS else make_ext
    make(new, plan=plan, spec=spec, rootfs=rootfs, boot_files=boot_files)
    if stages is not None:
        install(new, layout=layout, stages=stages)


def _stamp_s(rootfs: Rootfs) -> int:
    """Return the time of all that is in no index: the root folder's own."""
    root = next(entry for entry in rootfs.entries() if entry.path == ".")
    return min(max(1, root.mtime_s), _LATEST_STAMP_S)


def _count_lines(index: Path) -> int:
    return index.read_bytes().count(b"\n")


def _content_key(rootfs: Rootfs, recipe_file: RecipeFile, layout: Layout) -> str:
    """Return the digest of all that decides the disk's content, tools apart."""
    recipe = recipe_file.recipe
    disk = recipe.disk.model_dump(mode="json")
    del disk["layouts"]
    values = [layout.value, rootfs.sha256, disk, recipe.boot.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _build_key(rootfs: Rootfs, recipe_file: RecipeFile, layout: Layout) -> str:
    """Return the digest of all that decides the disk's bytes.

    A program counts by its file's size and time: asking five programs for their versions would
    take longer than all the rest of an unchanged build.
    """
    xfs = recipe_file.recipe.disk.filesystem is FilesystemType.XFS
    programs = ["mkfs.xfs", "xfs_db"] if xfs else ["mke2fs", "debugfs"]
    programs += [] if layout is Layout.PV else ["sfdisk"]
    digest = hashlib.sha256(f"{_FORMAT} {_content_key(rootfs, recipe_file, layout)}".encode())
    if not layout.is_pv:
        programs.append("grub")
        for stage in find_stages(recipe_file.recipe.disk.filesystem).all:
            digest.update(stage.read_bytes())
    for program in programs:
        status = find_program(program).stat()
        digest.update(f"{program} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _take_existing(
    rootfs: Rootfs, recipe_file: RecipeFile, *, destination: Path, key: str
) -> Disk | None:
    record = read_record(destination)
    if record is None or record.build_key != key:
        return None
    try:
        unchanged = identify(destination.stat()) == record.identity
    except OSError:
        return None
    if not unchanged:
        return None
    update = {
        "recipe_sha256": recipe_file.recipe.sha256,
        "lock_sha256": rootfs.lock_sha256,
        "recipe": recipe_file.recipe,
    }
    current = record.model_copy(update=update)
    if current != record:  # a part of the recipe changed that the disk does not depend on
        write_record(destination, current)
    return current.to_disk(destination)


def _check_host_space(folder: Path, rootfs: Rootfs) -> None:
    free = host.free_disk_bytes(folder)
    if free < rootfs.content_bytes and free < stored_bytes(rootfs.tree):
        raise _full(folder, rootfs.content_bytes)


@contextmanager
def _told_where_too_small(
    recipe_file: RecipeFile, *, layout: Layout, content: Content, plan: DiskPlan
) -> Iterator[None]:
    """Turn a file system that is full, though the plan held it for large enough, into advice."""
    try:
        yield
    except FilesystemFullError as error:
        kind = recipe_file.recipe.disk.filesystem
        enough = automatic_size(layout=layout, content=content, kind=kind)
        raise too_small(
            recipe_file,
            needed=content.rounded_bytes,
            leaves=plan.root_bytes,
            enough=max(enough, plan.size_bytes + 1),
        ) from error


@contextmanager
def _told_where_full(folder: Path, content: Content) -> Iterator[None]:
    """Turn a full disk of the host, found by whichever step, into one sentence."""
    try:
        yield
    except HostFullError as error:
        raise _full(folder, content.file_bytes) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _full(folder, content.file_bytes) from error
        raise


def _full(folder: Path, needed_bytes: int) -> HostError:
    return HostError(
        f"Folder {folder}: the disk needs some {-(-needed_bytes // _MIB)} MiB there, "
        f"{host.free_disk_bytes(folder) // _MIB} MiB are free.",
        hint="Free some space, or choose another folder with --out.",
    )
