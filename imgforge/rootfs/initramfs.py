"""An initramfs of our own: busybox, kernel modules and an init script."""

import stat
from io import BytesIO
from pathlib import Path

from imgforge.errors import BadInputError
from imgforge.recipe import Initramfs
from imgforge.rootfs.cpio import CpioEntry, file, folder, symlink, write_cpio
from imgforge.rootfs.modules import list_kernels, plain_name, read_module, read_modules
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, TreeEntry

_FOLDERS = ("bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "run", "sys", "tmp")
_ELF = b"\x7fELF"
_PT_INTERP = 3


def add_initramfs(tree: PlainTree, wanted: Initramfs, *, init: Path) -> None:
    """Put the initramfs that `wanted` describes into `tree`.

    It is not compressed: compressors differ between hosts, and its bytes must not. For each
    kernel, lib/modules/VERSION/load lists the modules in the order `init` loads them. Raises
    BadInputError where busybox, a module or the script is not there.
    """
    try:
        script = init.read_bytes()
    except OSError as error:
        raise BadInputError(f"rootfs.initramfs.init: {init}: {error.strerror}.") from None
    entries = [folder(path) for path in _FOLDERS]
    entries += [
        CpioEntry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        file("bin/busybox", _read_busybox(tree, wanted.busybox), mode=0o755),
        symlink("bin/sh", "busybox"),
        file("init", script, mode=0o755),
    ]
    for version in list_kernels(tree):
        entries += _module_entries(tree, version, wanted.modules)
    archive = write_cpio(entries, mtime_s=tree.mtime_s)
    entry = TreeEntry(wanted.path, EntryKind.FILE, 0o644, 0, 0, tree.mtime_s)
    try:
        tree.add_file(entry, BytesIO(archive))
    except BadInputError as error:
        raise BadInputError(
            f"rootfs.initramfs.path: {error}",
            hint="Name a file that is free, as in /boot/initrd.img.",
        ) from None


def _module_entries(tree: PlainTree, version: str, names: tuple[str, ...]) -> list[CpioEntry]:
    paths = read_modules(tree, version).order(names)
    place = f"lib/modules/{version}"
    entries: dict[str, CpioEntry] = {place: folder(place)}
    for path in paths:
        parents = Path(path).parents
        for parent in reversed([f"{place}/{step}" for step in parents if str(step) != "."]):
            entries.setdefault(parent, folder(parent))
        target = f"{place}/{plain_name(path)}"
        entries[target] = file(target, read_module(tree, version, path))
    listing = "".join(plain_name(path) + "\n" for path in paths)
    entries[f"{place}/load"] = file(f"{place}/load", listing.encode())
    return list(entries.values())


def _read_busybox(tree: PlainTree, path: str) -> bytes:
    plain = tree.locate(path)
    if plain is None or not plain.is_file():
        raise BadInputError(
            f"rootfs.initramfs.busybox: {path} is not in the tree.",
            hint="Include the package busybox-static.",
        )
    content = plain.read_bytes()
    if not content.startswith(_ELF) or _has_interpreter(content):
        raise BadInputError(
            f"rootfs.initramfs.busybox: {path} is no statically linked program.",
            hint="Include the package busybox-static.",
        )
    return content


def _has_interpreter(content: bytes) -> bool:
    """Tell whether a 64-bit little-endian ELF file asks for a dynamic linker (elf(5))."""
    offset = int.from_bytes(content[32:40], "little")
    size = int.from_bytes(content[54:56], "little")
    count = int.from_bytes(content[56:58], "little")
    starts = range(offset, offset + size * count, size or 1)
    return any(content[at : at + 4] == _PT_INTERP.to_bytes(4, "little") for at in starts)
