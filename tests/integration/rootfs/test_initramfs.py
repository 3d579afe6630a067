import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.recipe import Initramfs
from imgforge.rootfs.initramfs import add_initramfs
from imgforge.rootfs.modules import index_modules
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, TreeEntry

STATIC = b"\x7fELF" + bytes(60)
DYNAMIC = (
    STATIC[:32]
    + (64).to_bytes(8, "little")
    + STATIC[40:54]
    + (56).to_bytes(2, "little")
    + (1).to_bytes(2, "little")
    + STATIC[58:]
    + (3).to_bytes(4, "little")
    + bytes(52)
)
WANTED = Initramfs(path="/boot/initrd.img", init="init")


def make_tree(folder: Path, busybox: bytes) -> PlainTree:
    tree = PlainTree(folder, origin="x", mtime_s=1_700_000_000)
    for path, content in (("bin/busybox", busybox), ("boot/vmlinuz", b"k")):
        tree.add_file(TreeEntry(path, EntryKind.FILE, 0o755, 0, 0, 0), BytesIO(content))
    return tree


@pytest.fixture
def init(tmp_path: Path) -> Path:
    path = tmp_path / "init"
    path.write_text("#!/bin/sh\n")
    return path


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is missing")
def test_cpio_reads_the_initramfs(tmp_path: Path, init: Path) -> None:
    tree = make_tree(tmp_path / "tree", STATIC)
    add_initramfs(tree, WANTED, init=init)
    archive = (tree.folder / "boot/initrd.img").read_bytes()
    listed = subprocess.run(
        ["cpio", "-itv", "--quiet"], input=archive, capture_output=True, check=True, timeout=30
    ).stdout.decode()
    assert "bin/sh -> busybox" in listed
    assert "-rwxr-xr-x   1 root     root           10" in listed
    assert "crw-------" in listed


def test_the_initramfs_is_the_same_every_time(tmp_path: Path, init: Path) -> None:
    archives = set()
    for name in ("1", "2"):
        tree = make_tree(tmp_path / name, STATIC)
        add_initramfs(tree, WANTED, init=init)
        archives.add((tree.folder / "boot/initrd.img").read_bytes())
    assert len(archives) == 1


@pytest.mark.parametrize("busybox", [DYNAMIC, b"#!/bin/sh\n", b"", b"\x7fELF"])
def test_a_busybox_that_is_not_static_is_refused(
    tmp_path: Path, init: Path, busybox: bytes
) -> None:
    if busybox == b"\x7fELF":
        busybox = b"\x7fEL"
    with pytest.raises(BadInputError, match="static"):
        add_initramfs(make_tree(tmp_path / "tree", busybox), WANTED, init=init)


def test_a_missing_busybox_or_init_is_named(tmp_path: Path, init: Path) -> None:
    tree = make_tree(tmp_path / "tree", STATIC)
    with pytest.raises(BadInputError, match=r"/sbin/busybox is not in the tree"):
        add_initramfs(tree, WANTED.model_copy(update={"busybox": "/sbin/busybox"}), init=init)
    with pytest.raises(BadInputError, match="nowhere"):
        add_initramfs(tree, WANTED, init=tmp_path / "nowhere")


def test_depmod_never_writes_where_a_hostile_tree_points(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = PlainTree(tmp_path / "tree", origin="x", mtime_s=0)
    link = TreeEntry("lib", EntryKind.SYMLINK, 0o777, 0, 0, 0)
    tree.add_symlink(link, str(outside))
    for path in ("lib/modules/6.1/kernel/a.txt", "lib/modules/6.1/modules.order"):
        tree.add_file(TreeEntry(path, EntryKind.FILE, 0o644, 0, 0, 0), BytesIO(b""))
    (tmp_path / "scratch").mkdir()
    index_modules(tree, "6.1", scratch=tmp_path / "scratch")
    assert list(outside.iterdir()) == []
    assert tree.get("lib/modules/6.1/modules.dep") is not None


@pytest.mark.parametrize("path", ["/boot", "/boot/vmlinuz/initrd.img"])
def test_a_path_that_cannot_be_a_file_is_named_by_its_key(
    tmp_path: Path, init: Path, path: str
) -> None:
    tree = make_tree(tmp_path / "tree", STATIC)
    with pytest.raises(BadInputError, match=rf"rootfs\.initramfs\.path: .*'{path}'"):
        add_initramfs(tree, Initramfs(path=path, init="init"), init=init)
