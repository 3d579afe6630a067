"""Disks that are no guest's copy, under a real firmware and GRUB; see also broken_images.py."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from imgforge.acceptance import (
    BootMethod,
    BootRecord,
    DiskReport,
    Verdict,
    explain,
    judge,
    new_login,
    observe,
)
from imgforge.command import Streams, run
from imgforge.machine import Accelerator, AcceleratorKind, MachineSpec, start_machine
from imgforge.metadata import Instance
from imgforge.recipe import ExpectPart

pytestmark = pytest.mark.boot

TCG = Accelerator(kind=AcceleratorKind.TCG, cpu_model="max", reason="for the test")
SIZE_BYTES = 32 * 1024 * 1024
HEAD = "serial --unit=0 --speed=115200\nterminal --timeout=1 serial\ndefault 0\ntimeout 0\n"
FALLBACK = "fallback 1\n"
MISSING = "title one\nroot (hd0,0)\nkernel /boot/none\n"
NO_KERNEL = "title two\nroot (hd0,0)\nkernel /boot/text\n"

MakeDisk = Callable[[str | None], Path]


@pytest.fixture
def make_disk(tmp_path: Path) -> MakeDisk:
    """Make a partitioned disk with GRUB Legacy and this menu.lst on it."""

    def make(menu: str | None) -> Path:
        disk, tree = tmp_path / "disk.raw", tmp_path / "tree"
        grub = tree / "boot" / "grub"
        grub.mkdir(parents=True)
        stages = Path("/usr/lib/grub").glob("*/*stage*")
        for stage in stages:
            (grub / stage.name).write_bytes(stage.read_bytes())
        (tree / "boot" / "text").write_bytes(b"no kernel\n" * 10_000)
        if menu is not None:
            (grub / "menu.lst").write_text(menu, encoding="ascii")
        with disk.open("wb") as file:
            file.truncate(SIZE_BYTES)
        table = b"start=2048,type=83,bootable\n"
        run("sfdisk", ["-q", disk], streams=Streams(stdin=table), timeout_s=60)
        features: list[str | Path] = [
            "-q",
            "-t",
            "ext2",
            "-I",
            "128",
            "-d",
            tree,
            "-E",
            "offset=1048576",
        ]
        run("mke2fs", [*features, disk, "31744k"], timeout_s=60)
        setup = f"device (hd0) {disk}\nroot (hd0,0)\nsetup (hd0)\nquit\n".encode()
        batch = ["--batch", "--no-floppy", "--device-map=/dev/null"]
        run("grub", batch, streams=Streams(stdin=setup), timeout_s=60)
        return disk

    return make


def boot(disk: Path, folder: Path) -> tuple[BootRecord, Verdict]:
    login = new_login(folder / "login", user="root")
    instance = Instance("i-0123456789abcdef0", "ami-0123456789abcdef0")
    spec = MachineSpec(disk=disk, accelerator=TCG, instance=instance, folder=folder / "boot")
    expect = ExpectPart(boot_limit_s=120, silence_limit_s=60)

    async def watch() -> BootRecord:
        async with start_machine(spec) as machine:
            return await observe(machine, expect=expect, login=login, boot_method=BootMethod.BIOS)

    record = asyncio.run(watch())
    verdict = judge(
        record,
        expect=expect,
        disk=DiskReport(sha256_before="a", sha256_after="a", layout=None),
        recipe_sha256="",
        lock_sha256="",
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return record, verdict


def assert_told(disk: Path, folder: Path, *, sign: str, stage: str, text: str) -> None:
    record, verdict = boot(disk, folder)
    assert record.sign is not None, record.console_lines
    assert record.sign.id == sign, record.console_lines
    assert record.seconds - record.sign.at_s < 2
    shown = explain(verdict, record.console_lines)
    assert f"Rejected at stage {stage}: " in shown
    assert text in shown


def test_a_fallback_entry_is_waited_for_and_told_when_it_fails_too(
    make_disk: MakeDisk, tmp_path: Path
) -> None:
    disk = make_disk(HEAD + FALLBACK + MISSING + NO_KERNEL)
    assert_told(disk, tmp_path, sign="grub-error", stage="bootloader", text="Error 13")


def test_a_disk_that_was_cut_short_is_told(make_disk: MakeDisk, tmp_path: Path) -> None:
    disk = make_disk(HEAD + MISSING)
    os.truncate(disk, 1_126_400)
    assert_told(disk, tmp_path, sign="grub-error", stage="bootloader", text="cut short")


def test_a_disk_of_random_bytes_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(Random(1).randbytes(SIZE_BYTES))
    assert_told(
        disk,
        tmp_path,
        sign="firmware-no-boot-device",
        stage="firmware",
        text="not a bootable disk",
    )
