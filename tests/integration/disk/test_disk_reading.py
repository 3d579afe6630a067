import os
import random
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.command import run
from imgforge.disk import (
    Disk,
    PvBoot,
    PvBootFailure,
    build_disk,
    disk_sha256,
    evaluate_pv_boot,
    open_disk,
)
from imgforge.disk.ext import ExtFilesystem
from imgforge.disk.partition import recognise_layout
from imgforge.errors import BadInputError
from imgforge.recipe import Layout, RecipeFile
from imgforge.rootfs import Rootfs

MakeRecipe = Callable[..., RecipeFile]


def make_kernel(magic: bytes = b"\xfd7zXZ\0") -> bytes:
    """The least of a bzImage: its header and the start of its payload."""
    kernel = bytearray(2048)
    kernel[0x1F1] = 1
    kernel[0x202:0x208] = b"HdrS\x08\x02"
    struct.pack_into("<I", kernel, 0x248, 16)
    kernel[1024 + 16 : 1024 + 16 + len(magic)] = magic
    return bytes(kernel)


def make_ext_disk(tmp_path: Path, files: dict[str, bytes], kind: str = "ext4") -> Path:
    tree = tmp_path / "pv-tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    disk = tmp_path / "pv.raw"
    disk.unlink(missing_ok=True)
    run("mke2fs", ["-q", "-t", kind, "-d", tree, disk, "16M"])
    return disk


def evaluate(tmp_path: Path, disk: Path) -> PvBoot | PvBootFailure:
    folder = tmp_path / "extracted"
    folder.mkdir(exist_ok=True)
    return evaluate_pv_boot(disk, folder)


@pytest.mark.parametrize("layout", [Layout.PV, Layout.PV_PART])
def test_a_built_disk_is_started_as_its_recipe_says(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, layout: Layout
) -> None:
    (rootfs.tree / "boot/vmlinuz-6.1-test").write_bytes(make_kernel())
    disk = build_disk(rootfs, recipe(), layout=layout, destination=tmp_path / "a b.raw")
    boot = evaluate(tmp_path, disk.path)
    assert isinstance(boot, PvBoot)
    assert boot.menu_path == f"{'(hd0)' if layout is Layout.PV else '(hd0,0)'}/boot/grub/menu.lst"
    assert boot.entry_title == "test"
    assert boot.command_line == "root=LABEL=root ro"
    assert boot.kernel.read_bytes() == make_kernel()
    assert boot.initrd is not None
    assert boot.initrd.read_bytes() == b"initrd" * 1000
    assert boot.notes == ()


def test_a_missing_kernel_makes_it_fall_back(tmp_path: Path) -> None:
    menu = (
        b"default 1\nfallback 5 2 0\ntitle zero\nroot (hd0)\nkernel /zero a b\ninitrd /initrd\n"
        b"title one\nroot (hd0)\nkernel /one\ntitle two\nroot (hd0,1)\nkernel /zero\n"
    )
    files = {"boot/grub/menu.lst": menu, "zero": make_kernel(), "initrd": b"i"}
    boot = evaluate(tmp_path, make_ext_disk(tmp_path, files))
    assert isinstance(boot, PvBoot)
    assert (boot.entry_title, boot.command_line) == ("zero", "a b")
    assert boot.notes[0] == "entry 1 (one): (hd0)/one is not there"
    assert boot.notes[1] == "entry 2 (two): (hd0,1): there is no such partition"


@pytest.mark.parametrize(
    ("menu", "reason"),
    [
        (b"title t\nroot (hd0)\nkernel /none\n", "(hd0)/none is not there"),
        (b"title t\nroot (hd1)\nkernel /k\n", "EC2's GRUB has only (hd0)"),
        (b"title t\nroot (hd0)\n", "names no kernel"),
        (b"title t\nkernel /text\n", "is no Linux kernel"),
        (b"title t\nkernel /k\ninitrd /none\n", "(hd0)/none is not there"),
        (b"title t\nkernel k\n", "k is no path"),
        (b"timeout 3\n", "has no title"),
        (b"\xff\x00\xfe", "has no title"),
        (b"title t\nkernel /boot\n", "is not there"),
    ],
)
def test_an_image_that_pv_grub_cannot_start_is_a_value(
    tmp_path: Path, menu: bytes, reason: str
) -> None:
    files = {"boot/grub/menu.lst": menu, "k": make_kernel(), "text": b"hello" * 500}
    failure = evaluate(tmp_path, make_ext_disk(tmp_path, files))
    assert isinstance(failure, PvBootFailure)
    assert reason in failure.reason


def test_no_menu_and_no_file_system_are_values_too(tmp_path: Path) -> None:
    failure = evaluate(tmp_path, make_ext_disk(tmp_path, {"grub/menu.lst": b"title t\n"}))
    assert isinstance(failure, PvBootFailure)
    assert "(hd0)/boot/grub, (hd0,0)/boot/grub, (hd0,0)/grub, (hd0,1)" in failure.reason
    noise = tmp_path / "noise.raw"
    noise.write_bytes(random.Random(3).randbytes(2**20))
    assert isinstance(evaluate(tmp_path, noise), PvBootFailure)


@pytest.mark.parametrize(
    ("place", "number"), [("boot/grub", 0), ("grub", 0), ("boot/grub", 3), ("grub", 3)]
)
def test_the_partitions_places_are_looked_at_in_order(
    tmp_path: Path, place: str, number: int
) -> None:
    menu = b"title t\nkernel /k\n"
    inner = make_ext_disk(tmp_path, {f"{place}/menu.lst": menu, "k": make_kernel()})
    disk = tmp_path / "four.raw"
    table = bytearray(512)
    with disk.open("wb") as file:
        for index in range(4):
            start = 2048 + index * 32768
            struct.pack_into("<B3xB3xII", table, 446 + 16 * index, 0, 0x83, start, 32768)
        table[510:512] = b"\x55\xaa"
        file.write(table)
        file.seek((2048 + number * 32768) * 512)
        file.write(inner.read_bytes())
        file.truncate((2048 + 4 * 32768) * 512)
    boot = evaluate(tmp_path, disk)
    assert isinstance(boot, PvBoot)
    assert boot.menu_path == f"(hd0,{number})/{place}/menu.lst"


def test_a_kernel_that_ec2_could_not_unpack_is_noted(tmp_path: Path) -> None:
    files = {"boot/grub/menu.lst": b"title t\nkernel /k\n", "k": make_kernel(b"\x02\x21\x4c\x18")}
    boot = evaluate(tmp_path, make_ext_disk(tmp_path, files))
    assert isinstance(boot, PvBoot)
    assert "compressed by lz4" in boot.notes[0]


@pytest.fixture
def built(tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe) -> Disk:
    return build_disk(rootfs, recipe(), layout=Layout.HVM_MBR, destination=tmp_path / "a.raw")


def test_a_copied_disk_is_known_by_its_digest(tmp_path: Path, built: Disk) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(built.path, folder / "b.raw")
    shutil.copy(tmp_path / "a.disk.json", folder / "b.disk.json")
    found = open_disk(folder / "b.raw")
    assert (found.sha256, found.layout) == (built.sha256, Layout.HVM_MBR)


def test_a_changed_disk_is_not_what_its_record_says(built: Disk) -> None:
    with built.path.open("r+b") as file:
        file.seek(2**20 + 3)
        file.write(b"x")
    found = open_disk(built.path)
    assert found.sha256 != built.sha256
    assert found.layout is Layout.HVM_MBR  # as its own bytes say
    assert (found.recipe_sha256, found.recipe) == ("", None)


def test_a_foreign_disk_has_a_digest_and_nothing_else(tmp_path: Path) -> None:
    disk = tmp_path / "foreign.img"
    disk.write_bytes(random.Random(4).randbytes(4096))
    assert open_disk(disk) == Disk(path=disk, sha256=disk_sha256(disk), size_bytes=4096)


def test_what_is_no_disk_is_refused_in_words(tmp_path: Path, built: Disk) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "odd").write_bytes(bytes(700))
    os.mkfifo(tmp_path / "fifo")
    for name, words in (
        ("none", "no such file"),
        ("rootfs", "this is a folder"),
        ("empty", "the file is empty"),
        ("odd", "700 bytes are no whole number"),
        ("fifo", "no regular file"),
    ):
        with pytest.raises(BadInputError, match=words):
            open_disk(tmp_path / name)
    os.truncate(built.path, built.size_bytes - 5 * 512)
    with pytest.raises(BadInputError, match="it was cut short"):
        open_disk(built.path)


def test_the_digest_is_sha256sums_with_holes_anywhere(tmp_path: Path) -> None:
    disk = tmp_path / "holes.raw"
    with disk.open("wb") as file:
        file.truncate(30 * 2**20 + 512)
        for position in (5 * 2**20 + 100, 20 * 2**20):
            file.seek(position)
            file.write(os.urandom(70_000))
    assert disk_sha256(disk) == run("sha256sum", [disk]).stdout.split()[0].decode()


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_damaged_file_systems_end_in_a_clear_error(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, kind: str
) -> None:
    disk = build_disk(
        rootfs, recipe(filesystem=kind), layout=Layout.PV, destination=tmp_path / "a.raw"
    )
    with disk.path.open("rb") as file:
        sound = ExtFilesystem(file)
        tables = sound.groups[0].inode_table * 4096
        folder = next(iter(sound.extents(sound.inode(2)))).physical * 4096
    original = disk.path.read_bytes()
    noise = random.Random(5)
    damaged = tmp_path / "damaged.raw"
    started = time.monotonic()
    for round_number in range(120):
        content = bytearray(original)
        for _ in range(noise.choice([1, 5, 40])):
            start, length = noise.choice(
                [(1024, 1024), (4096, 4096), (tables, 20_000), (folder, 4096)]
            )
            content[start + noise.randrange(length)] = noise.randrange(256)
        damaged.write_bytes(content[: len(content) // (1 + round_number % 3)])
        with damaged.open("rb") as file:
            try:
                filesystem = ExtFilesystem(file)
                for _, dirent in filesystem.walk():
                    inode = filesystem.inode(dirent.inode)
                    if inode.size_bytes < 2**22:
                        filesystem.read_file(inode) if inode.mode & 0o170000 == 0o100000 else None
            except BadInputError:
                continue
    assert time.monotonic() - started < 120


def test_a_block_map_that_bites_its_tail_is_refused(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    disk = build_disk(
        rootfs, recipe(filesystem="ext2"), layout=Layout.PV, destination=tmp_path / "a.raw"
    )
    with disk.path.open("r+b") as file:
        filesystem = ExtFilesystem(file)
        kernel = filesystem.find("/boot/vmlinuz-6.1-test")
        assert kernel is not None
        at = filesystem.inode_offset(kernel.number)
        single = kernel.raw[40 + 48 : 40 + 52]
        file.seek(at + 4)
        file.write(struct.pack("<I", 2**31))
        file.seek(at + 40 + 52)
        file.write(single)  # double indirect: the same block
        file.seek(int.from_bytes(single, "little") * 4096)
        file.write(single * 1024)
    with disk.path.open("rb") as file:
        filesystem = ExtFilesystem(file)
        with pytest.raises(BadInputError):
            list(filesystem.extents(filesystem.inode(kernel.number)))


def test_hashed_folders_are_read_whole(tmp_path: Path) -> None:
    files = {f"many/{serial:05d}-{'x' * 50}": b"" for serial in range(3000)}
    disk = make_ext_disk(tmp_path, files)
    run("e2fsck", ["-fyD", disk], accepted_exit_codes=range(4))
    with disk.open("rb") as file:
        filesystem = ExtFilesystem(file)
        folder = filesystem.find("/many")
        assert folder is not None
        assert folder.flags & 0x1000  # EXT4_INDEX_FL
        found = {os.fsdecode(path) for path, _ in filesystem.walk()}
    assert files.keys() <= found


@pytest.mark.parametrize("layout", list(Layout))
def test_a_layout_is_recognised_from_the_disk_alone(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, layout: Layout
) -> None:
    disk = build_disk(rootfs, recipe(), layout=layout, destination=tmp_path / "a.raw")
    assert recognise_layout(disk.path) is layout


def test_noise_has_no_layout(tmp_path: Path) -> None:
    disk = tmp_path / "noise"
    disk.write_bytes(random.Random(6).randbytes(8192))
    assert recognise_layout(disk) is None
