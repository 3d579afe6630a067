"""Names on a disk that are not the root tree's alone: /boot/grub and mke2fs's lost+found."""

from collections.abc import Iterable
from pathlib import Path

from imgforge.errors import BadInputError
from imgforge.recipe import FilesystemType

_BOOT_FOLDERS = ("boot", "boot/grub")
_LOST_FOUND = "lost+found"


def check_reserved_names(tree: Path, *, kind: FilesystemType, boot_files: Iterable[str]) -> None:
    """Raise BadInputError where something in `tree` is in the way of what a disk needs there.

    `boot_files` are the names that go to /boot/grub; a file or symlink of the tree's there gives
    way, a folder does not. ext always has a folder /lost+found.
    """
    for path in _BOOT_FOLDERS:
        if _is_no_folder(tree / path):
            raise BadInputError(
                f"The root tree's /{path} {_describe(tree / path)}; it must be a folder of the "
                "disk itself: boot loaders look for /boot/grub/menu.lst there.",
                hint=f"Make /{path} a folder in rootfs.source or rootfs.overlays, or leave it out.",
            )
    for name in boot_files:
        path = f"boot/grub/{name}"
        if (tree / path).is_dir() and not (tree / path).is_symlink():
            raise BadInputError(
                f"The root tree's /{path} is a folder; a file of that name must go there.",
                hint=f"Leave /{path} out of rootfs.source and rootfs.overlays.",
            )
    if kind is not FilesystemType.XFS and _is_no_folder(tree / _LOST_FOUND):
        raise BadInputError(
            f"The root tree's /{_LOST_FOUND} {_describe(tree / _LOST_FOUND)}; on {kind.value} a "
            "folder of that name is e2fsck's.",
            hint=f"Rename /{_LOST_FOUND} in rootfs.source or rootfs.overlays, or leave it out.",
        )


def _is_no_folder(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())


def _describe(path: Path) -> str:
    return f"is a symlink to {str(path.readlink())!r}" if path.is_symlink() else "is no folder"
