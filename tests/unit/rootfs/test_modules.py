from io import BytesIO
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.rootfs.modules import KernelModules, list_kernels, read_module, read_modules
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, TreeEntry

MODULES = KernelModules(
    version="6.1",
    paths={
        "virtio_net": "kernel/virtio-net.ko",
        "net_failover": "kernel/net_failover.ko",
        "failover": "kernel/failover.ko",
    },
    needs={
        "kernel/virtio-net.ko": ("kernel/net_failover.ko", "kernel/failover.ko"),
        "kernel/net_failover.ko": ("kernel/failover.ko",),
        "kernel/failover.ko": (),
    },
    built_in=frozenset({"nvme"}),
)


def test_modules_are_loaded_after_what_they_need_each_once() -> None:
    assert MODULES.order(["virtio-net", "failover", "nvme"]) == [
        "kernel/failover.ko",
        "kernel/net_failover.ko",
        "kernel/virtio-net.ko",
    ]


def test_a_module_that_the_kernel_lacks_is_refused_with_its_version() -> None:
    with pytest.raises(BadInputError, match=r"Module nosuch: kernel 6\.1"):
        MODULES.order(["nosuch"])


def make_tree(folder: Path, *, merged: bool) -> PlainTree:
    tree = PlainTree(folder, origin="x", mtime_s=0)
    if merged:
        tree.add_symlink(TreeEntry("lib", EntryKind.SYMLINK, 0o777, 0, 0, 0), "usr/lib")
    for path, content in (
        ("lib/modules/6.1/kernel/a.ko", b"A"),
        ("lib/modules/6.1/kernel/z.ko.zst", b"Z"),
        ("lib/modules/6.1/modules.dep", b"kernel/a.ko:\ngarbage\n"),
        ("lib/modules/6.1/modules.builtin", b"kernel/fs/ext4.ko\n"),
        ("lib/modules/6.2/modules.dep", b""),
    ):
        tree.add_file(TreeEntry(path, EntryKind.FILE, 0o644, 0, 0, 0), BytesIO(content))
    return tree


@pytest.mark.parametrize("merged", [False, True])
def test_modules_are_found_with_and_without_a_merged_usr(tmp_path: Path, merged: bool) -> None:
    tree = make_tree(tmp_path / "t", merged=merged)
    assert list_kernels(tree) == ["6.1"]
    modules = read_modules(tree, "6.1")
    assert modules.order(["a", "ext4"]) == ["kernel/a.ko"]
    assert read_module(tree, "6.1", "kernel/a.ko") == b"A"


@pytest.mark.parametrize("path", ["kernel/z.ko.zst", "kernel/none.ko", "kernel"])
def test_a_module_that_cannot_be_read_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadInputError, match="Module"):
        read_module(make_tree(tmp_path / "t", merged=True), "6.1", path)
