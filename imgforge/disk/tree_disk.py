"""A disk made of a tree alone, without a recipe: what boots, stands in the tree already."""

import errno
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgforge import host
from imgforge.disk.filesystem import FilesystemFullError, FilesystemSpec, HostFullError, make_ext
from imgforge.disk.grub import find_stages, install
from imgforge.disk.partition import FIRST_LBA, write_table
from imgforge.disk.plan import (
    Content,
    DiskPlan,
    arrange,
    automatic_size,
    leaves_bytes,
    stored_bytes,
)
from imgforge.disk.xfs import make_xfs
from imgforge.errors import BadInputError, HostError
from imgforge.recipe import FilesystemType, Layout
from imgforge.rootfs import Rootfs

_MIB = 2**20
_LATEST_STAMP_S = 2**31 - 1
_LEAST_XFS_BYTES = 300 * _MIB


@dataclass(frozen=True, slots=True)
class TreeDiskWish:
    """How the disk is to be: `size_bytes` None is what its content needs and a fifth of it.

    `first_lba` is where an MBR's partition starts. `label` and `kept_uuid` are the file system's;
    without the latter its UUID comes of the content, as all other ids do.
    """

    layout: Layout
    kind: FilesystemType
    label: str = ""
    kept_uuid: uuid.UUID | None = None
    size_bytes: int | None = None
    first_lba: int = FIRST_LBA


def boot_stages(kind: FilesystemType) -> tuple[Path, ...]:
    """Return GRUB Legacy's files that /boot/grub of an hvm disk's tree must hold."""
    return find_stages(kind).all


def make_tree_disk(rootfs: Rootfs, wish: TreeDiskWish, *, destination: Path) -> int:
    """Make the raw disk `destination` of a tree; return its size in bytes.

    The same tree and wish give the same bytes (xfs excepted). The folder of `destination` holds
    nothing else that matters. Raises BadInputError, naming a size that is enough, where the tree
    does not fit; HostError where the host fails.
    """
    plan = _plan(rootfs, wish)
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{wish.layout} {rootfs.sha256}")
    with destination.open("xb") as file:
        file.truncate(plan.size_bytes)
    write_table(destination, layout=wish.layout, root=plan.root, identity=identity)
    root = next(entry for entry in rootfs.entries() if entry.path == ".")
    spec = FilesystemSpec(
        kind=wish.kind,
        label=wish.label,
        identity=identity,
        stamp_s=min(max(1, root.mtime_s), _LATEST_STAMP_S),
        kept_uuid=wish.kept_uuid,
    )
    make = make_xfs if wish.kind is FilesystemType.XFS else make_ext
    with _told_where_full(rootfs, wish, plan, destination.parent):
        make(destination, plan=plan, spec=spec, rootfs=rootfs, boot_files={})
    if not wish.layout.is_pv:
        install(destination, layout=wish.layout, stages=find_stages(wish.kind))
    return plan.size_bytes


def enough_bytes(rootfs: Rootfs, wish: TreeDiskWish) -> int:
    """Return the size of a disk that surely holds the tree, in whole MiB."""
    return automatic_size(layout=wish.layout, content=_content(rootfs), kind=wish.kind)


def _content(rootfs: Rootfs) -> Content:
    paths = rootfs.index.read_bytes().count(b"\n")
    return Content(file_bytes=stored_bytes(rootfs.tree), paths=paths)


def _plan(rootfs: Rootfs, wish: TreeDiskWish) -> DiskPlan:
    content = _content(rootfs)
    size_bytes = wish.size_bytes or enough_bytes(rootfs, wish)
    plan = arrange(
        size_bytes,
        layout=wish.layout,
        content=content,
        kind=wish.kind,
        first_lba=wish.first_lba,
    )
    least = _LEAST_XFS_BYTES if wish.kind is FilesystemType.XFS else 1
    if plan.root_bytes < least or leaves_bytes(plan, wish.kind) < content.file_bytes:
        raise _too_small(rootfs, wish, plan)
    return plan


def _too_small(rootfs: Rootfs, wish: TreeDiskWish, plan: DiskPlan) -> BadInputError:
    needed = -(-_content(rootfs).rounded_bytes // _MIB)
    enough = max(enough_bytes(rootfs, wish), plan.size_bytes + 1)
    return BadInputError(
        f"Volume: its files need {needed} MiB, an image of {plan.size_bytes // _MIB} MiB leaves "
        f"{max(0, leaves_bytes(plan, wish.kind)) // _MIB}. A size of {-(-enough // _MIB)} MiB is "
        "enough.",
        hint="Give it with --size (-s), or leave something out with --exclude (-e).",
    )


@contextmanager
def _told_where_full(
    rootfs: Rootfs, wish: TreeDiskWish, plan: DiskPlan, folder: Path
) -> Iterator[None]:
    try:
        yield
    except FilesystemFullError as error:
        raise _too_small(rootfs, wish, plan) from error
    except HostFullError as error:
        raise full(folder) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise full(folder) from error
        raise


def full(folder: Path) -> HostError:
    """Return the error for a folder whose disk is full."""
    return HostError(
        f"Folder {folder}: is full; {host.free_disk_bytes(folder) // _MIB} MiB are free.",
        hint="Free some space there, or choose another folder with --out (-d).",
    )
