"""A root tree with everything that is hard to reproduce, and recipes for it."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgforge.recipe import Recipe, RecipeFile
from imgforge.rootfs import EntryKind, Rootfs, TreeEntry
from imgforge.rootfs.tree import write_index

STAMP_S = 1_600_000_000
_CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def make_tree(folder: Path, *, many: int = 0) -> Rootfs:
    """Write a tree and its index into `folder`."""
    tree = folder / "tree"
    entries: list[TreeEntry] = []

    def add(path: str, kind: EntryKind, mode: int, **more: Any) -> None:
        serial = len(entries)
        entries.append(
            TreeEntry(path, kind, mode, serial * 7, serial * 70001, STAMP_S + serial, **more)
        )

    def file(path: str, content: bytes, mode: int = 0o644, **more: Any) -> None:
        (tree / path).write_bytes(content)
        add(path, EntryKind.FILE, mode, **more)

    tree.mkdir(parents=True)
    add(".", EntryKind.DIRECTORY, 0o755)
    for name in ("boot", "dev", "etc", "many", "odd names", "usr"):
        (tree / name).mkdir()
        add(name, EntryKind.DIRECTORY, 0o1777 if name == "many" else 0o755)
    file("boot/vmlinuz-6.1-test", b"MZ" + bytes(range(256)) * 3000)
    file("boot/initrd-6.1-test", b"initrd" * 1000, 0o600)
    file("usr/ping", b"#!/bin/sh\n", 0o4755, xattrs={"security.capability": _CAPABILITY})
    file("usr/two", b"two", xattrs={"user.b": b"x" * 300, "user.a": b"", "trusted.t": b'\0\n"'})
    add("usr/link", EntryKind.SYMLINK, 0o777)
    (tree / "usr/link").symlink_to("ping")
    add("usr/long-link", EntryKind.SYMLINK, 0o777)
    (tree / "usr/long-link").symlink_to("/etc/" + "x" * 100)
    file("etc/shadow", b"root:*:1::::::\n", 0o640)
    file("etc/old", b"from before 1970")
    entries[-1] = TreeEntry("etc/old", EntryKind.FILE, 0o600, 65536, 2_000_000_000, -5)
    file("etc/future", b"after 2038")
    entries[-1] = TreeEntry("etc/future", EntryKind.FILE, 0o600, 1, 2, 5_000_000_000)
    file("usr/hard-one", b"linked" * 5000)
    os.link(tree / "usr/hard-one", tree / "etc/hard-two")
    linked = entries[-1]
    entries.append(
        TreeEntry("etc/hard-two", linked.kind, linked.mode, linked.uid, linked.gid, linked.mtime_s)
    )
    for name, kind, device in (
        ("null", EntryKind.CHARACTER_DEVICE, (1, 3)),
        ("sda", EntryKind.BLOCK_DEVICE, (8, 0)),
        ("large", EntryKind.BLOCK_DEVICE, (259, 70000)),
    ):
        (tree / "dev" / name).touch()
        add(f"dev/{name}", kind, 0o660, device=device)
    os.mkfifo(tree / "dev/initctl")
    add("dev/initctl", EntryKind.FIFO, 0o600)
    with (tree / "usr/sparse").open("wb") as sparse:
        sparse.truncate(3_000_000)
        sparse.seek(1_000_000)
        sparse.write(b"in the middle")
    add("usr/sparse", EntryKind.FILE, 0o644)
    for name in ('quote"d', "new\nline", "-dash", "ünïcode", os.fsdecode(b"latin\xe9"), "#a b"):
        file(f"odd names/{name}", name.encode(errors="surrogateescape"), xattrs={"user.odd": b"1"})
    for serial in range(many):
        file(f"many/{serial * 7919 % many:05d}-{'n' * (serial % 40)}", b"%d" % serial)
    index = folder / "index"
    write_index(index, entries)
    seen: dict[int, int] = {}
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            seen[path.stat().st_ino] = path.stat().st_size
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    return Rootfs(tree, index, digest, "", sum(seen.values()))


def copy_reversed(rootfs: Rootfs, folder: Path) -> Rootfs:
    """Copy a tree so that all its folders hold their names in the opposite order of making."""
    tree = folder / "tree"
    links: dict[int, Path] = {}

    def copy(source: Path, target: Path) -> None:
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_dir():
            target.mkdir(mode=0o700)
            for name in sorted((path.name for path in source.iterdir()), reverse=True):
                copy(source / name, target / name)
        elif source.is_fifo():
            os.mkfifo(target, 0o600)
        elif source.stat().st_ino in links:
            os.link(links[source.stat().st_ino], target)
        else:
            shutil.copyfile(source, target)
            target.chmod(0o600)
            links[source.stat().st_ino] = target

    folder.mkdir(parents=True)
    copy(rootfs.tree, tree)
    index = folder / "index"
    shutil.copyfile(rootfs.index, index)
    return Rootfs(tree, index, rootfs.sha256, "", rootfs.content_bytes)


def write_recipe(folder: Path, *, boot: dict[str, Any] | None = None, **disk: Any) -> RecipeFile:
    """Make a recipe for the tree."""
    entry = {
        "title": "test",
        "kernel": "/boot/vmlinuz-*",
        "initrd": "/boot/initrd-*",
        "command_line": "root=LABEL=root ro",
    }
    values = {
        "name": "test",
        "rootfs": {"source": {"kind": "folder", "path": "tree"}},
        "disk": {"layouts": ["hvm-mbr"], **disk},
        "boot": boot or {"entries": [entry]},
        "image": {"name": "test"},
    }
    recipe = Recipe.model_validate_json(json.dumps(values))
    return RecipeFile(path=folder / "test.toml", recipe=recipe)


@pytest.fixture
def rootfs(tmp_path: Path) -> Rootfs:
    return make_tree(tmp_path / "rootfs")


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., RecipeFile]:
    def make(**disk: Any) -> RecipeFile:
        return write_recipe(tmp_path, **disk)

    return make


@pytest.fixture
def tree_maker() -> Callable[..., Rootfs]:
    return make_tree


@pytest.fixture
def reversed_copy() -> Callable[[Rootfs, Path], Rootfs]:
    return copy_reversed
