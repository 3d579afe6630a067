"""`imgforge menu-lst edit`: what the new entry inherits, and what is refused."""

import gzip
import subprocess
import sys
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


@pytest.mark.parametrize("word", ["ro\udcff", "r\x01o"])
def test_a_command_line_that_would_be_changed_is_not_inherited(tmp_path: Path, word: str) -> None:
    menu = f"timeout 0\n{GOOD.rstrip()} {word}\n".encode(errors="surrogateescape")
    files = {"boot/k": KERNEL, "boot/new": KERNEL, "boot/grub/menu.lst": menu}
    disk = make_disk(tmp_path, files)
    with pytest.raises(BadInputError, match="cannot be taken over"):
        edit_disk(disk, NEW, destination=disk)


def imgforge(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "imgforge", *words]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, text=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("menu-lst", "check", "/dev/null"), "a device"),
        (("menu-lst", "check", "/none.raw"), "none is there"),
        (("menu-lst", "check", __file__, "--aki", ""), "neither an AKI's id"),
        (("menu-lst", "edit", __file__, "--title", "n", "--kernel", "/k", "-o", "/"), "folder"),
        (("aki", "check", "aki-5c21674b", "--region", "eu-west-1"), "it is us-east-1's"),
        (("aki", "update", "aki-5c21674b", "--instance", "i-123"), "hexadecimal digits"),
    ],
)
def test_bad_words_are_told_as_such(words: tuple[str, ...], said: str) -> None:
    done = imgforge(*words)
    assert (done.returncode, said in " ".join(done.stderr.split())) == (2, True), done.stderr


def test_the_newest_aki_has_no_steps_to_a_newer_one() -> None:
    done = imgforge("aki", "update", "aki-5c21674b", "--instance", "i-12345678")
    assert (done.returncode, "the newest" in done.stdout, "aws" in done.stdout) == (0, True, False)
