"""The volume of a disk that holds a machine's root, and the tree in it, without mounting it."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imgforge.disk.ext import ExtFilesystem
from imgforge.disk.ext_tree import needs_replay, read_ext_tree
from imgforge.disk.soundness import make_sound, require_sound
from imgforge.disk.sparse_copy import copy_data
from imgforge.disk.volume import Volume, VolumeKind, read_volumes
from imgforge.disk.xfs_filesystem import XfsFilesystem
from imgforge.disk.xfs_tree import read_xfs_tree, require_unmounted
from imgforge.errors import BadInputError
from imgforge.files import scratch_folder
from imgforge.progress import report
from imgforge.rootfs import Found, Reader


def find_root_volume(disk: Path) -> Volume:
    """Return the volume of a disk that holds a machine's root: the one with an /etc, if several.

    Raises BadInputError where none is, or none that can be read without mounting it.
    """
    whole, *parts = read_volumes(disk)
    volumes = parts or [whole]
    readable = [volume for volume in volumes if _is_readable(volume)]
    if len(readable) > 1:
        with disk.open("rb") as file:
            readable = [volume for volume in readable if _has_etc(file, volume)]
    if len(readable) == 1:
        return readable[0]
    shown = ", ".join(f"{volume.name} {volume.kind}" for volume in volumes)
    raise BadInputError(
        f"Disk {disk}: its root cannot be told: it has {shown}; one of ext2, ext3, ext4 or xfs "
        "with an /etc is needed.",
        hint="Mount it read-only, and give the folder.",
    )


def _is_readable(volume: Volume) -> bool:
    return volume.kind.is_ext or volume.kind is VolumeKind.XFS


def _has_etc(file: BinaryIO, volume: Volume) -> bool:
    if volume.kind.is_ext:
        found = ExtFilesystem(file, offset=volume.start_bytes).find("/etc")
        return found is not None and found.is_folder
    filesystem = XfsFilesystem(file, offset=volume.start_bytes)
    root = filesystem.inode(filesystem.superblock.root_inode)
    return any(one.name == b"etc" for one in filesystem.list_folder(root))


def read_volume_tree(disk: Path, volume: Volume, reader: Reader, *, aside: Path) -> Iterator[Found]:
    """Yield what `reader` keeps of a volume's tree, its root first, by the names' bytes.

    A journal of ext that was not replayed is replayed in a copy of the disk, which stands for the
    time in the folder `aside`; the disk is only read. Raises BadInputError where the file system
    is damaged, or an xfs that was not unmounted.
    """
    if volume.kind is VolumeKind.XFS:
        require_unmounted(disk, volume)
        require_sound(disk, volume, aside=aside)
        yield from read_xfs_tree(disk, volume, reader)
    elif not needs_replay(disk, volume):
        require_sound(disk, volume, aside=aside)
        yield from read_ext_tree(disk, volume, reader)
    else:
        report(f"disk: {volume.name} was not unmounted: its journal is replayed in a copy")
        with scratch_folder(aside) as scratch:
            copy = scratch / "disk"
            with copy.open("xb") as file:
                file.truncate(disk.stat().st_size)
            copy_data(disk, copy)
            make_sound(copy, volume, disk=disk)
            yield from read_ext_tree(copy, volume, reader)
