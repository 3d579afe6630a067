import json
from pathlib import Path

import pytest

from imgforge.disk.menu import MenuEntry, format_menu
from imgforge.disk.plan import Content, DiskPlan, automatic_size, plan_disk
from imgforge.errors import BadInputError
from imgforge.recipe import BootEntry, BootPart, FilesystemType, Layout, Recipe, RecipeFile

MIB = 2**20


def plan(
    size: str, *, mib: int, paths: int = 1000, layout: Layout = Layout.HVM_MBR, kind: str = "ext4"
) -> DiskPlan:
    values = {
        "name": "r",
        "rootfs": {"source": {"kind": "folder", "path": "x"}},
        "disk": {"layouts": ["hvm-mbr"], "size": size, "filesystem": kind},
        "boot": {"entries": [{"title": "t", "kernel": "/k", "command_line": ""}]},
        "image": {"name": "abc"},
    }
    recipe = Recipe.model_validate_json(json.dumps(values))
    return plan_disk(
        RecipeFile(path=Path("minimal.toml"), recipe=recipe),
        layout=layout,
        content=Content(file_bytes=mib * MIB, paths=paths),
        tree=Path("/nonexistent"),
    )


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "xfs"])
def test_auto_leaves_a_fifth_in_whole_mebibytes(layout: Layout, kind: str) -> None:
    for mib in (0, 1, 100, 3000):
        made = plan("auto", mib=mib, layout=layout, kind=kind)
        assert made.size_bytes % MIB == 0
        assert made.root_bytes > mib * MIB * 6 // 5
        end = (made.root.start_lba + made.root.sector_count) * 512
        assert end + (33 * 512 if layout is Layout.HVM_GPT else 0) <= made.size_bytes


def test_many_small_files_get_inodes_and_blocks() -> None:
    made = plan("auto", mib=1, paths=100_000)
    assert made.inode_count >= 125_000
    assert made.root_bytes > 100_000 * 4096


def test_partitions_begin_where_boot_code_leaves_room() -> None:
    assert plan("auto", mib=1).root.start_lba == 2048
    assert plan("auto", mib=1, layout=Layout.HVM_GPT).root.start_lba == 4096
    assert plan("auto", mib=1, layout=Layout.PV).root.start_lba == 0


def test_the_size_that_is_named_as_enough_is_enough() -> None:
    for layout in Layout:
        enough = automatic_size(
            layout=layout, content=Content(300 * MIB, 5000), kind=FilesystemType.EXT3
        )
        assert plan(f"{enough // MIB}M", mib=300, paths=5000, layout=layout, kind="ext3")


def test_more_than_the_mbr_reaches_is_refused() -> None:
    with pytest.raises(BadInputError, match="reach 2 TiB"):
        plan("auto", mib=3 * 2**20)


def test_a_small_xfs_is_refused_in_words() -> None:
    with pytest.raises(BadInputError, match=r"needs 300 MiB, the disk leaves 99\. Raise disk.size"):
        plan("100M", mib=1, kind="xfs")


ENTRY = MenuEntry(title="one", kernel="/boot/k", initrd=None, command_line="a=b")


def boot_part(*, serial: bool = True, fallback: int | None = None) -> BootPart:
    entry = BootEntry(title="one", kernel="/boot/k", command_line="a=b")
    return BootPart(entries=(entry, entry), timeout_s=3, serial=serial, fallback=fallback)


def test_an_hvm_menu_talks_on_the_serial_port() -> None:
    menu = format_menu(boot_part(fallback=1), (ENTRY,), layout=Layout.HVM_GPT).decode()
    assert menu == (
        "default 0\nfallback 1\ntimeout 3\nserial --unit=0 --speed=115200\n"
        "terminal --dumb serial\n\ntitle one\nroot (hd0,0)\nkernel /boot/k a=b\n"
    )


def test_a_pv_menu_knows_no_serial_port_and_names_the_whole_disk() -> None:
    menu = format_menu(boot_part(), (ENTRY,), layout=Layout.PV).decode()
    assert "serial" not in menu
    assert "root (hd0)\n" in menu
    entry = MenuEntry("t", "/k", None, "ro console={console} {x}")
    assert (
        "kernel /k ro console=hvc0 {x}\n"
        in format_menu(boot_part(), (entry,), layout=Layout.PV).decode()
    )
    assert "ttyS0 {x}" in format_menu(boot_part(), (entry,), layout=Layout.HVM_MBR).decode()
    assert "serial" not in format_menu(boot_part(serial=False), (), layout=Layout.HVM_MBR).decode()
