from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.disk import Disk, build_disk, first_difference
from imgforge.disk.ext import ExtFilesystem
from imgforge.recipe import Layout, RecipeFile
from imgforge.rootfs import Rootfs

MakeRecipe = Callable[..., RecipeFile]
SECTOR = 512
BLOCK = 4096


def flip(disk: Path, offset: int, target: Path) -> Path:
    content = bytearray(disk.read_bytes())
    content[offset] ^= 0xFF
    target.write_bytes(content)
    return target


def name_of_flip(disk: Disk, offset: int, tmp_path: Path) -> str:
    found = first_difference(disk.path, flip(disk.path, offset, tmp_path / "flipped.raw"))
    assert found is not None
    assert found.offset == offset
    assert found.first[0] == found.second[0] ^ 0xFF
    assert f"byte {offset} " in str(found)
    return found.structure


@pytest.fixture
def mbr(tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe) -> Disk:
    return build_disk(rootfs, recipe(), layout=Layout.HVM_MBR, destination=tmp_path / "m.raw")


def test_equal_disks_have_no_difference(mbr: Disk, tmp_path: Path) -> None:
    dense = tmp_path / "dense.raw"
    dense.write_bytes(mbr.path.read_bytes())
    assert first_difference(mbr.path, dense) is None


def test_a_shorter_disk_differs_where_it_ends(mbr: Disk, tmp_path: Path) -> None:
    short = tmp_path / "short.raw"
    short.write_bytes(mbr.path.read_bytes()[:-SECTOR])
    found = first_difference(short, mbr.path)
    assert found is not None
    assert found.offset == mbr.size_bytes - SECTOR
    assert "the end" in found.structure


@pytest.mark.parametrize(
    ("offset", "structure"),
    [
        (3, "MBR boot code"),
        (441, "MBR disk id"),
        (446 + 8, "MBR partition entry 1"),
        (446 + 17, "MBR partition entry 2"),
        (700, "boot code behind the MBR, sector 1"),
        (2**20 + 5, "partition 1, boot block"),
        (2**20 + 1024 + 105, "partition 1, superblock, UUID"),
        (2**20 + 1024 + 121, "partition 1, superblock, label"),
        (2**20 + 1024 + 45, "partition 1, superblock, mount time"),
        (2**20 + BLOCK + 12, "partition 1, group descriptor 0"),
    ],
)
def test_names_tables_boot_code_and_superblock(
    mbr: Disk, tmp_path: Path, offset: int, structure: str
) -> None:
    assert name_of_flip(mbr, offset, tmp_path) == structure


def test_names_gpt_structures(tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe) -> None:
    gpt = build_disk(rootfs, recipe(), layout=Layout.HVM_GPT, destination=tmp_path / "g.raw")
    end = gpt.size_bytes
    assert name_of_flip(gpt, SECTOR + 60, tmp_path) == "GPT header"
    assert name_of_flip(gpt, 2 * SECTOR + 20, tmp_path) == "GPT entry 1"
    assert name_of_flip(gpt, 2 * SECTOR + 127 * 128, tmp_path) == "GPT entry 128"
    assert name_of_flip(gpt, 2048 * SECTOR + 9, tmp_path).startswith("partition 128, sector 0")
    assert name_of_flip(gpt, 4096 * SECTOR + 1024 + 105, tmp_path).endswith("superblock, UUID")
    assert name_of_flip(gpt, end - 3 * SECTOR, tmp_path).startswith("GPT backup entry")
    assert name_of_flip(gpt, end - 9, tmp_path) == "GPT backup header"


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_names_inodes_folders_and_file_data_by_path(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, kind: str
) -> None:
    disk = build_disk(
        rootfs, recipe(filesystem=kind), layout=Layout.PV, destination=tmp_path / "p.raw"
    )
    with disk.path.open("rb") as file:
        filesystem = ExtFilesystem(file)
        kernel = filesystem.find("/boot/vmlinuz-6.1-test")
        folder = filesystem.find("/odd names")
        attributes = filesystem.find("/usr/two")
        assert kernel is not None
        assert folder is not None
        assert attributes is not None
        group = filesystem.groups[0]
        inode_at = filesystem.inode_offset(kernel.number)
        last = list(filesystem.extents(kernel))[-1]
        folder_at = next(iter(filesystem.extents(folder))).physical * BLOCK
        xattr_block = int.from_bytes(attributes.raw[104:108], "little")
        maps: set[int] = set()
        list(filesystem.extents(kernel, maps))
        journal = list(filesystem.extents(filesystem.inode(8))) if kind == "ext4" else []
    shown = f"inode {kernel.number} (/boot/vmlinuz-6.1-test)"
    assert name_of_flip(disk, group.block_bitmap * BLOCK + 1, tmp_path) == "block bitmap of group 0"
    assert name_of_flip(disk, group.inode_bitmap * BLOCK, tmp_path) == "inode bitmap of group 0"
    assert name_of_flip(disk, inode_at + 3, tmp_path) == f"{shown}, owner"
    assert name_of_flip(disk, inode_at + 16, tmp_path) == f"{shown}, modification time"
    assert name_of_flip(disk, folder_at + 9, tmp_path) == "folder /odd names"
    assert name_of_flip(disk, last.physical * BLOCK, tmp_path) == "data of /boot/vmlinuz-6.1-test"
    assert xattr_block
    named = name_of_flip(disk, xattr_block * BLOCK + 100, tmp_path)
    assert named == "extended attributes of /usr/two"
    if kind == "ext2":
        assert maps
        named = name_of_flip(disk, min(maps) * BLOCK, tmp_path)
        assert named == "block map of /boot/vmlinuz-6.1-test"
    else:
        named = name_of_flip(disk, journal[0].physical * BLOCK + 4, tmp_path)
        assert named == "data of the journal"
    free = filesystem.superblock.blocks_count - 2
    assert name_of_flip(disk, free * BLOCK, tmp_path) == f"block {free}, which no file owns"


def test_disks_of_noise_are_compared_without_a_structure(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(bytes(range(256)) * 16)
    b.write_bytes(bytes(range(256)) * 15 + bytes(256))
    found = first_difference(a, b)
    assert found is not None
    assert found.offset == 256 * 15 + 1
