import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.command import run
from imgforge.disk import Disk, build_disk
from imgforge.recipe import FilesystemType, Layout, RecipeFile
from imgforge.rootfs import Rootfs

EXT = [FilesystemType.EXT2, FilesystemType.EXT3, FilesystemType.EXT4]
ROOT_OFFSETS = {Layout.HVM_MBR: 2048, Layout.HVM_GPT: 4096, Layout.PV: 0, Layout.PV_PART: 2048}

MakeRecipe = Callable[..., RecipeFile]


def check_file_system(disk: Disk) -> None:
    assert disk.layout is not None
    offset = ROOT_OFFSETS[disk.layout] * 512
    checked = run("e2fsck", ["-fn", f"{disk.path}?offset={offset}"], accepted_exit_codes=range(256))
    assert checked.exit_code == 0, checked.stdout.decode()


@pytest.mark.parametrize("kind", EXT)
@pytest.mark.parametrize("layout", list(Layout))
def test_the_same_tree_gives_the_same_bytes_elsewhere(
    tmp_path: Path,
    rootfs: Rootfs,
    recipe: MakeRecipe,
    reversed_copy: Callable[[Rootfs, Path], Rootfs],
    monkeypatch: pytest.MonkeyPatch,
    layout: Layout,
    kind: FilesystemType,
) -> None:
    asked = recipe(filesystem=kind.value)
    first = build_disk(rootfs, asked, layout=layout, destination=tmp_path / "a.raw")
    other = reversed_copy(rootfs, tmp_path / "else where" / "ünï 'q' \"d\"?x=1")
    if os.geteuid() == 0:
        for path in [other.tree, *other.tree.rglob("*")]:
            os.chown(path, 12345, 70000, follow_symlinks=False)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    monkeypatch.setenv("LANG", "de_DE")
    time.tzset()
    before = os.umask(0o077)
    try:
        time.sleep(1.1)  # file systems and mke2fs count in seconds
        second = build_disk(
            other, asked, layout=layout, destination=tmp_path / "other" / "d e?offset=3" / "b.raw"
        )
    finally:
        os.umask(before)
    assert first.sha256 == second.sha256
    assert run("cmp", [first.path, second.path]).exit_code == 0
    assert run("sha256sum", [first.path]).stdout.split()[0].decode() == first.sha256
    check_file_system(first)


@pytest.mark.parametrize("kind", EXT)
def test_ten_thousand_files_in_one_folder_give_the_same_bytes(
    tmp_path: Path,
    tree_maker: Callable[..., Rootfs],
    recipe: MakeRecipe,
    reversed_copy: Callable[[Rootfs, Path], Rootfs],
    kind: FilesystemType,
) -> None:
    rootfs = tree_maker(tmp_path / "rootfs", many=10_000)
    other = reversed_copy(rootfs, tmp_path / "other")
    asked = recipe(filesystem=kind.value)
    first = build_disk(rootfs, asked, layout=Layout.HVM_MBR, destination=tmp_path / "a.raw")
    second = build_disk(other, asked, layout=Layout.HVM_MBR, destination=tmp_path / "b.raw")
    assert first.sha256 == second.sha256
    check_file_system(first)


def test_another_tree_label_or_layout_gives_other_ids(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    one = build_disk(rootfs, recipe(), layout=Layout.PV, destination=tmp_path / "a.raw")
    two = build_disk(
        rootfs, recipe(label="other"), layout=Layout.PV, destination=tmp_path / "b.raw"
    )
    with one.path.open("rb") as a, two.path.open("rb") as b:
        a.seek(1024 + 104)
        b.seek(1024 + 104)
        assert a.read(16) != b.read(16)
