"""How large a disk is and where its root file system stands, decided before anything is written."""

import os
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.partition import (
    BIOS_BOOT_SECTORS,
    FIRST_LBA,
    GPT_TAIL_SECTORS,
    SECTOR_BYTES,
    Partition,
)
from imgforge.errors import BadInputError
from imgforge.recipe import FilesystemType, Layout, RecipeFile

BLOCK_BYTES = 4096
INODE_BYTES = 256
_MIB = 2**20
_GIB = 2**30
_BYTES_PER_INODE = 16384
_SPARE_INODES = 64
_BLOCKS_PER_GROUP = 8 * BLOCK_BYTES
_LARGEST_BYTES = 2 * 2**40
_LEAST_XFS_BYTES = 300 * _MIB  # mkfs.xfs refuses less


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """A disk's size, its root partition (number 0: the whole disk), inodes and journal."""

    size_bytes: int
    root: Partition
    inode_count: int
    journal_mib: int

    @property
    def root_bytes(self) -> int:
        """The room of the root file system, in whole blocks."""
        return self.root.sector_count * SECTOR_BYTES // BLOCK_BYTES * BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Content:
    """What goes in: bytes of files (hard linked ones once) and the number of paths."""

    file_bytes: int
    paths: int

    @property
    def rounded_bytes(self) -> int:
        """The most it takes in blocks."""
        return self.file_bytes + self.paths * BLOCK_BYTES


def plan_disk(recipe_file: RecipeFile, *, layout: Layout, content: Content, tree: Path) -> DiskPlan:
    """Decide the arrangement of a disk.

    `auto` is the content and a fifth of it, with what the file system itself takes, in whole MiB.
    Raises BadInputError, naming a size that is enough, where a fixed size cannot be.
    """
    kind = recipe_file.recipe.disk.filesystem
    size_bytes = recipe_file.recipe.disk.size_bytes
    automatic = automatic_size(layout=layout, content=content, kind=kind)
    if size_bytes is None:
        size_bytes = automatic
    if size_bytes > _LARGEST_BYTES:
        raise BadInputError(
            f"Recipe {recipe_file.path.name}: disk.size is {size_bytes // _GIB} GiB; GRUB Legacy "
            "and the MBR reach 2 TiB."
        )
    plan = arrange(size_bytes, layout=layout, content=content, kind=kind)
    leaves = leaves_bytes(plan, kind)
    needed = content.file_bytes
    if kind is FilesystemType.XFS and plan.root_bytes < _LEAST_XFS_BYTES:
        raise too_small(
            recipe_file, needed=_LEAST_XFS_BYTES, leaves=plan.root_bytes, enough=automatic
        )
    if needed > leaves:  # sparse files take less than their length
        needed = stored_bytes(tree)
    if needed > leaves or plan.root_bytes <= 0:
        raise too_small(recipe_file, needed=needed, leaves=leaves, enough=automatic)
    return plan


def too_small(recipe_file: RecipeFile, *, needed: int, leaves: int, enough: int) -> BadInputError:
    """Return the error for a disk that cannot hold its tree; sizes in bytes."""
    step = _GIB if enough > _GIB else 256 * _MIB
    wanted = -(-enough // step) * step
    shown = f"{wanted // _GIB} GiB" if wanted % _GIB == 0 else f"{wanted // _MIB} MiB"
    return BadInputError(
        f"Recipe {recipe_file.path.name}: the root file system needs {-(-needed // _MIB)} MiB, "
        f"the disk leaves {max(0, leaves // _MIB)}. Raise disk.size to {shown}."
    )


def automatic_size(*, layout: Layout, content: Content, kind: FilesystemType) -> int:
    """Return the size in bytes of a disk that holds `content` with a fifth to spare."""
    wanted = content.rounded_bytes * 6 // 5
    if kind is FilesystemType.XFS:
        wanted = max(wanted, _LEAST_XFS_BYTES)
    size = -(-wanted // _MIB + 4) * _MIB
    while True:
        plan = arrange(size, layout=layout, content=content, kind=kind)
        lacking = wanted - leaves_bytes(plan, kind)
        if lacking <= 0:
            return size
        size += -(-lacking // _MIB) * _MIB


def arrange(
    size_bytes: int,
    *,
    layout: Layout,
    content: Content,
    kind: FilesystemType,
    first_lba: int = FIRST_LBA,
) -> DiskPlan:
    """Arrange a disk of this size; `first_lba` is where an MBR's partition starts.

    Whether the content fits is not looked at: `leaves_bytes` tells.
    """
    sectors = size_bytes // SECTOR_BYTES
    match layout:
        case Layout.PV:
            root = Partition(0, 0, sectors, "", "none")
        case Layout.HVM_GPT:
            start = FIRST_LBA + BIOS_BOOT_SECTORS
            root = Partition(1, start, sectors - start - GPT_TAIL_SECTORS, "", "gpt")
        case _:
            root = Partition(1, first_lba, sectors - first_lba, "83", "mbr")
    # Partitions of whole blocks: a file system smaller than its partition confuses resize2fs.
    per_block = BLOCK_BYTES // SECTOR_BYTES
    count = root.sector_count // per_block * per_block
    root = Partition(root.number, root.start_lba, count, root.kind, root.scheme)
    inodes = max(content.paths * 5 // 4 + _SPARE_INODES, count * SECTOR_BYTES // _BYTES_PER_INODE)
    return DiskPlan(
        size_bytes=size_bytes,
        root=root,
        inode_count=inodes,
        journal_mib=_journal_mib(count * SECTOR_BYTES),
    )


def _journal_mib(root_bytes: int) -> int:
    if root_bytes < 128 * _MIB:
        return 4
    return 16 if root_bytes < 2 * _GIB else 64


def leaves_bytes(plan: DiskPlan, kind: FilesystemType) -> int:
    """Return what is surely left for files."""
    return plan.root_bytes - _overhead_bytes(plan, kind)


def _overhead_bytes(plan: DiskPlan, kind: FilesystemType) -> int:
    """Return the most that the file system keeps for itself, reserved blocks included."""
    if kind is FilesystemType.XFS:
        return 16 * _MIB + plan.root_bytes // 50
    groups = -(-plan.root_bytes // BLOCK_BYTES // _BLOCKS_PER_GROUP)
    descriptors = -(-groups * 32 // BLOCK_BYTES) + min(1024, groups * 8)
    copies = sum(1 for group in range(groups) if _has_backup(group))
    blocks = groups * 3 + copies * (1 + descriptors) + 16
    journal = 0 if kind is FilesystemType.EXT2 else plan.journal_mib * _MIB
    pointers = 0 if kind is FilesystemType.EXT4 else plan.root_bytes // 900
    return blocks * BLOCK_BYTES + plan.inode_count * INODE_BYTES + journal + pointers


def _has_backup(group: int) -> bool:
    if group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


def stored_bytes(tree: Path) -> int:
    """Sum what the files of `tree` occupy, each hard linked one once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [tree]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    if (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        total += min(status.st_size, status.st_blocks * 512)
    return total
