"""Kernel modules in a tree: what depends on what, and in which order they are loaded."""

import gzip
import lzma
import os
import posixpath
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from imgforge.command import run
from imgforge.errors import BadInputError
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, TreeEntry

_FOLDER = "lib/modules"
_SUFFIX = re.compile(r"\.ko(\.gz|\.xz|\.zst)?$")
_DEPMOD_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class KernelModules:
    """The modules of one kernel: path (below its folder) by name, and what each needs first."""

    version: str
    paths: dict[str, str]
    needs: dict[str, tuple[str, ...]]
    built_in: frozenset[str]

    def order(self, names: Iterable[str]) -> list[str]:
        """Return the paths to load for `names`, each after what it depends on.

        Built-in modules need no loading. Raises BadInputError for a module this kernel lacks.
        """
        ordered: dict[str, None] = {}
        for name in names:
            key = _normalize(name)
            if key in self.paths:
                for needed in reversed(self.needs[self.paths[key]]):
                    ordered[needed] = None
                ordered[self.paths[key]] = None
            elif key not in self.built_in:
                raise BadInputError(
                    f"Module {name}: kernel {self.version} has no such module, nor is it built in.",
                    hint="Check rootfs.initramfs.modules, and that exclude_paths leaves it in.",
                )
        return list(ordered)


def list_kernels(tree: PlainTree) -> list[str]:
    """Return the versions of the kernels that have modules in `tree`."""
    return [name for name in tree.children(_FOLDER) if tree.children(f"{_FOLDER}/{name}/kernel")]


def index_modules(tree: PlainTree, version: str, *, scratch: Path) -> None:
    """Give `version` the files that modprobe reads, as depmod makes them, unless it has them."""
    place = f"{_FOLDER}/{version}"
    if tree.get(f"{place}/modules.dep") is not None:
        return
    base = scratch / "depmod"
    copy = base / place
    source = tree.locate(place)
    assert source is not None
    # depmod sees links of plain files only: it must not follow what a hostile tree points at.
    for folder, _, names in os.walk(source):
        target = copy / Path(folder).relative_to(source)
        target.mkdir(parents=True)
        for name in names:
            if (Path(folder) / name).is_file() and not (Path(folder) / name).is_symlink():
                shutil.copyfile(Path(folder) / name, target / name)
    before = {path.name for path in copy.iterdir()}
    run("depmod", ["-b", base, version], timeout_s=_DEPMOD_LIMIT_S)
    for path in sorted(copy.iterdir()):
        if path.name not in before:
            entry = TreeEntry(f"{place}/{path.name}", EntryKind.FILE, 0o644, 0, 0, tree.mtime_s)
            tree.add_file(entry, BytesIO(path.read_bytes()))
    shutil.rmtree(base)


def read_modules(tree: PlainTree, version: str) -> KernelModules:
    """Read what depmod found out about `version` (modules.dep(5))."""
    place = f"{_FOLDER}/{version}"
    return parse_modules(
        version,
        needs=_read_lines(tree, f"{place}/modules.dep"),
        built_in=_read_lines(tree, f"{place}/modules.builtin"),
    )


def parse_modules(version: str, *, needs: Iterable[str], built_in: Iterable[str]) -> KernelModules:
    """Understand the lines of modules.dep and modules.builtin."""
    known: dict[str, tuple[str, ...]] = {}
    for line in needs:
        path, colon, needed = line.partition(":")
        if colon:
            known[path] = tuple(needed.split())
    return KernelModules(
        version=version,
        paths={_normalize(path): path for path in known},
        needs=known,
        built_in=frozenset(_normalize(path) for path in built_in),
    )


def read_module(tree: PlainTree, version: str, path: str) -> bytes:
    """Return a module's bytes, unpacked where it is compressed; raises BadInputError."""
    full = posixpath.join(_FOLDER, version, path)
    plain = tree.locate(full)
    if plain is None or not plain.is_file():
        raise BadInputError(f"Module {full}: modules.dep names it, but the tree has no such file.")
    content = plain.read_bytes()
    try:
        if path.endswith(".gz"):
            return gzip.decompress(content)
        if path.endswith(".xz"):
            return lzma.decompress(content)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise BadInputError(f"Module {full}: cannot be unpacked: {error}.") from None
    if path.endswith(".zst"):
        raise BadInputError(f"Module {full}: modules compressed with zstd are not supported.")
    return content


def plain_name(path: str) -> str:
    """Return a module's path without the suffix of its compression."""
    return _SUFFIX.sub(".ko", path)


def _normalize(name: str) -> str:
    """Return a module's name as the kernel knows it: modprobe takes "-" and "_" for the same."""
    return _SUFFIX.sub("", posixpath.basename(name.strip())).replace("-", "_")


def _read_lines(tree: PlainTree, path: str) -> list[str]:
    plain = tree.locate(path)
    if plain is None or not plain.is_file():
        return []
    return plain.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
