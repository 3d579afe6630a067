"""What is no bootable disk, or no longer the one it was, by the real command line."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.boot.command_line import Room
from tests.boot.conftest import Workshop
from tests.boot.test_goes_wrong_guest import read_verdict

pytestmark = pytest.mark.boot

_MIB = 2**20


def truncate_with_record(disk: Path, workshop: Workshop) -> None:
    for name in ("minimal-pv.raw", "minimal-pv.disk.json"):
        shutil.copy(workshop.disk.with_name(name), disk.with_name(name.replace("minimal-pv", "x")))
    os.truncate(disk, 20 * _MIB)


def make_empty(disk: Path, _: Workshop) -> None:
    disk.touch()


def make_folder(disk: Path, _: Workshop) -> None:
    disk.mkdir()


def cut_a_sector(disk: Path, _: Workshop) -> None:
    disk.write_bytes(b"x" * 1000)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (truncate_with_record, "it was cut short"),
        (make_empty, "the file is empty"),
        (make_folder, "a raw disk is a file, this is a folder"),
        (cut_a_sector, "no whole number of 512-byte sectors"),
    ],
)
def test_what_cannot_be_a_disk_is_bad_input_and_never_booted(
    workshop: Workshop, room: Room, make: Callable[[Path, Workshop], None], told: str
) -> None:
    disk = room.folder / "x.raw"
    make(disk, workshop)
    ended = room.run("test", disk)
    assert ended.exit_code == 2
    assert told in ended.stderr
    assert not disk.with_suffix(".test").exists()


def cut_copy(disk: Path, workshop: Workshop) -> None:
    shutil.copy(workshop.disk, disk)
    os.truncate(disk, 20 * _MIB)


def make_zeros(disk: Path, _: Workshop) -> None:
    disk.touch()
    os.truncate(disk, 8 * _MIB)


def make_noise(disk: Path, _: Workshop) -> None:
    disk.write_bytes(Random(1).randbytes(8 * _MIB))


def make_bootable_noise(disk: Path, workshop: Workshop) -> None:
    make_noise(disk, workshop)
    with disk.open("r+b") as file:
        file.seek(510)
        file.write(b"\x55\xaa")


@pytest.mark.parametrize("make", [cut_copy, make_zeros, make_noise, make_bootable_noise])
def test_a_disk_with_nothing_to_boot_is_rejected(
    workshop: Workshop, room: Room, make: Callable[[Path, Workshop], None]
) -> None:
    disk = room.folder / "x.raw"
    make(disk, workshop)
    recipe = workshop.write_recipe(room.folder, expect="silence_limit_s = 10\n")
    ended = room.run("test", disk, "--recipe", recipe)
    assert ended.exit_code == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    verdict = read_verdict(disk.with_suffix(".test"))
    assert verdict["accepted"] is False
    assert verdict["failed_stage"] in {"firmware", "bootloader", "kernel"}
    assert f"Rejected at stage {verdict['failed_stage']}: " in ended.stdout
    refused = room.run("register", disk, "--verdict", disk.with_suffix(".test") / "verdict.json")
    assert refused.exit_code != 0


def test_a_disk_that_is_replaced_while_it_is_tested_is_not_accepted(
    workshop: Workshop, room: Room
) -> None:
    disk, other = room.folder / "x.raw", room.folder / "other"
    shutil.copy(workshop.disk, disk)
    shutil.copy(workshop.disk.with_name("minimal-pv.disk.json"), room.folder / "x.disk.json")
    make_noise(other, workshop)
    with room.start("test", disk, "--suite", "none") as running:
        assert running.saw("boot: initramfs"), running.stderr
        other.replace(disk)
        ended = running.wait()
    assert ended.exit_code == 1, ended.stderr
    verdict = read_verdict(disk.with_suffix(".test"))
    assert verdict["accepted"] is False
    assert "disk-unchanged" in ended.stdout
    assert verdict["disk"]["sha256_before"] != verdict["disk"]["sha256_after"]
    refused = room.run("register", disk, "--verdict", disk.with_suffix(".test") / "verdict.json")
    assert refused.exit_code != 0
    # Nor is the disk that was accepted before accepted in the new one's place.
    refused = room.run("register", disk, "--verdict", workshop.verdict)
    assert refused.exit_code != 0
    assert room.run("images", "--json").result == []
