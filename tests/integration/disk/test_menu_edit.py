"""`imgforge menu-lst edit`: what the new entry inherits, and what is refused."""

import gzip
from pathlib import Path

import pytest

from imgforge.disk import NewEntry, edit_disk
from imgforge.errors import BadInputError
from tests.kernel_files import make_bzimage, make_elf
from tests.menu_disks import make_disk

KERNEL = make_bzimage(gzip.compress(make_elf()))
ARGUMENTS = "root=LABEL=root console=hvc0"
MISSING = "title gone\nroot (hd0)\nkernel /boot/none single\n"
GOOD = f"title good\nroot (hd0)\nkernel /boot/k {ARGUMENTS}\n"
NEW = NewEntry(title="new", kernel="/boot/new")


def disk_of(folder: Path, menu: str, *, partitions: int = 0, **others: str) -> Path:
    files = {"boot/k": KERNEL, "boot/new": KERNEL, "boot/grub/menu.lst": menu.encode()}
    files |= {f"boot/grub/{name}.lst": text.encode() for name, text in others.items()}
    return make_disk(folder, files, partitions=partitions)


def test_the_new_entry_has_the_command_line_of_the_fallback_that_boots(tmp_path: Path) -> None:
    disk = disk_of(tmp_path, f"default 0\nfallback 1\ntimeout 0\n{MISSING}{GOOD}")
    entry = edit_disk(disk, NEW, destination=disk).menu.entries[0]
    assert (entry.root, entry.command_line) == ("(hd0)", ARGUMENTS)


def test_the_new_entry_has_the_command_line_that_a_configfile_leads_to(tmp_path: Path) -> None:
    leading = "timeout 0\ntitle there\nconfigfile /boot/grub/real.lst\n"
    disk = disk_of(tmp_path, leading, real=f"timeout 0\n{GOOD}")
    entry = edit_disk(disk, NEW, destination=disk).menu.entries[0]
    assert (entry.root, entry.command_line) == ("(hd0)", ARGUMENTS)


def test_what_is_given_is_not_inherited(tmp_path: Path) -> None:
    disk = disk_of(tmp_path, f"timeout 0\n{MISSING}")
    new = NewEntry(title="new", kernel="/boot/new", command_line="mine")
    entry = edit_disk(disk, new, destination=disk).menu.entries[0]
    assert (entry.root, entry.command_line) == ("(hd0)", "mine")


def test_where_no_entry_names_a_kernel_a_command_line_is_asked_for(tmp_path: Path) -> None:
    disk = disk_of(tmp_path, "timeout 0\ntitle a\npause\n")
    before = disk.read_bytes()
    with pytest.raises(BadInputError, match="names a kernel whose command line"):
        edit_disk(disk, NEW, destination=disk)
    assert disk.read_bytes() == before
    new = NewEntry(title="new", kernel="/boot/new", command_line="mine")
    assert edit_disk(disk, new, destination=disk).menu.entries[0].command_line == "mine"
