"""How PV disks are started: what of that is told, and by which PV-GRUB's rules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgforge.aki import parse_name
from imgforge.disk import Disk, open_disk
from imgforge.pv_way import PvWay, PvWish
from imgforge.start import find_start, passed_over
from tests.menu_boots import AKI, MENU, MENU_BOOTS, MenuBoot


def disk_of(row: MenuBoot, folder: Path) -> Disk:
    return open_disk(row.make(folder))


def row_named(name: str) -> MenuBoot:
    return next(row for row in MENU_BOOTS if row.name == name and row.way != "bios")


def test_what_starts_here_and_not_on_ec2_is_told(tmp_path: Path) -> None:
    row = row_named("64-bit kernel, 32-bit AKI")
    start = find_start(disk_of(row, tmp_path), tmp_path, pv=PvWish(PvWay.DIRECT))
    assert (start.failure, start.notes) == (None, ())
    wish = PvWish(PvWay.DIRECT, parse_name(row.aki))
    start = find_start(disk_of(row, tmp_path), tmp_path, pv=wish)
    assert start.failure is None
    assert start.pv_grub == wish.pv_grub
    assert any("would start none of its entries" in note for note in start.notes)
    assert any("kernel-bits" in note for note in start.notes)


@pytest.mark.parametrize("name", ["hd00 AKI 1.03, whole disk", "hd0 AKI 1.03, partition"])
def test_direct_looks_where_the_chosen_aki_would_look(name: str, tmp_path: Path) -> None:
    row = row_named(name)
    disk = disk_of(row, tmp_path)
    assert find_start(disk, tmp_path).failure is None
    start = find_start(disk, tmp_path, pv=PvWish(PvWay.DIRECT, parse_name(row.aki)))
    assert start.failure is not None
    assert "no menu.lst" in start.failure.reason


def test_a_command_line_that_is_no_utf_8_is_told(tmp_path: Path) -> None:
    path = row_named("a misspelt command").make(tmp_path)
    data = path.read_bytes()
    assert MENU.count("LABEL=root") >= 1
    path.write_bytes(data.replace(b"LABEL=root", b"LABEL=r\xf6ot"))
    [note, *_] = find_start(open_disk(path), tmp_path).notes
    assert "no UTF-8" in note


def test_a_root_device_that_only_xen_has_is_told(tmp_path: Path) -> None:
    path = row_named("a misspelt command").make(tmp_path)
    assert find_start(open_disk(path), tmp_path).notes == ()
    path.write_bytes(path.read_bytes().replace(b"root=LABEL=root", b"root=/dev/xvda1"))
    [note, *_] = find_start(open_disk(path), tmp_path).notes
    assert note.startswith("root=/dev/xvda1: without Xen the kernel has no such device")
    assert "--pv-boot xen-grub" in note


def test_an_entry_that_is_passed_over_for_its_fallback_is_told(tmp_path: Path) -> None:
    pv_grub = parse_name(AKI)
    assert pv_grub is not None
    (tmp_path / "with").mkdir()
    [note] = passed_over(
        disk_of(row_named("kernel not there, fallback"), tmp_path / "with"), pv_grub
    )
    assert note.startswith(f"{AKI} goes on to its fallback, entry 1: entry 0 kernel-missing (")
    assert passed_over(disk_of(row_named("a misspelt command"), tmp_path), pv_grub) == ()


def test_an_aki_that_no_disk_of_a_bios_heeds_is_told(tmp_path: Path) -> None:
    row = next(row for row in MENU_BOOTS if row.way == "bios")
    disk = disk_of(row, tmp_path)
    assert find_start(disk, tmp_path).notes == ()
    start = find_start(disk, tmp_path, pv=PvWish(PvWay.DIRECT, parse_name(AKI)))
    assert start.pv_grub is None
    [note] = start.notes
    assert note.startswith(f"{AKI} does not start d.raw")


def test_the_command_tests_a_disk_by_the_aki_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    disk = row_named("a misspelt command").make(tmp_path)

    def test(aki: str) -> subprocess.CompletedProcess[str]:
        words: list[str | Path] = ["test", disk, "--suite", "none", "--accel", "tcg", "--aki", aki]
        return subprocess.run(
            [sys.executable, "-m", "imgforge", *words, "--out", tmp_path / "t"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": str(tmp_path / "home")},
        )

    # No machine is started: such a PV-GRUB would find no menu.lst.
    name = "pv-grub-hd00_1.03-x86_64.gz"
    ended = test(name)
    assert ended.returncode == 1, ended.stderr
    assert "no menu.lst in any of its places: (hd0,0)/boot/grub" in ended.stdout
    assert json.loads((tmp_path / "t/verdict.json").read_bytes())["pv_grub"] == name
    assert name in (tmp_path / "t/report.html").read_text(encoding="utf-8")
    for wrong in ("pv-grub", "aki-00000000", "ami-12345678", ""):
        assert test(wrong).returncode == 2, wrong
