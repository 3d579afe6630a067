"""A bundle of a small disk, and the wish to make an EBS image of it."""

import hashlib
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from imgforge.bundle import BundleWish, MachineConfiguration, Mapping, Signers, create_bundle
from imgforge.command import run
from imgforge.conversion_step import StepName
from imgforge.ebs_conversion import (
    ConversionWish,
    StepState,
    plan,
)
from tests.bundle_material import ACCOUNT, identity, noise

MIB = 2**20
START = 2048 * 512
FSTAB = b"""\
LABEL=/     /           ext4    defaults,noatime  1   1
/dev/xvdb   /media/ephemeral0  auto  defaults,comment=cloudconfig  0  2
LABEL=UEFI  /boot/efi   vfat    defaults          0   0
/dev/sdh    /data       ext4    nofail            0   2
"""
KEPT = b"".join(FSTAB.splitlines(keepends=True)[i] for i in (0, 3))


@dataclass(frozen=True, slots=True)
class Desk:
    """A bundle of a disk with one partition, and the wish to convert it."""

    folder: Path
    disk: Path
    wish: ConversionWish

    @property
    def made(self) -> Path:
        return self.wish.folder

    def words(self, *more: str | Path) -> list[str]:
        key = self.wish.key or ""
        command = [sys.executable, "-m", "imgforge", "convert", self.wish.source, "--to", "ebs"]
        return [*map(str, command), "--key", str(key), *map(str, more)]


def make_filesystem(folder: Path, fstab: bytes | None = FSTAB) -> Path:
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    if fstab is not None:
        (tree / "etc/fstab").write_bytes(fstab)
    (tree / "data").write_bytes(noise(3 * MIB))
    inner = folder / "inner"
    run("mke2fs", ["-q", "-t", "ext4", "-L", "/", "-d", tree, inner, "16M"])
    return inner


def make_disk(folder: Path, fstab: bytes | None = FSTAB) -> Path:
    inner = make_filesystem(folder, fstab)
    head = bytearray(512)
    head[:2] = b"\xeb\x63"
    struct.pack_into("<B3xB3xII", head, 446, 0x80, 0x83, START // 512, 16 * MIB // 512)
    head[510:] = b"\x55\xaa"
    disk = folder / "image"
    with disk.open("wb") as file:
        file.write(head)
        file.seek(START)
        file.write(inner.read_bytes())
    return disk


def bundled(folder: Path, disk: Path, machine: MachineConfiguration | None = None) -> Desk:
    user, ec2 = identity("user", folder / "keys"), identity("ec2", folder / "keys")
    made = create_bundle(
        disk,
        wish=BundleWish(
            disk.name,
            ACCOUNT,
            machine
            or MachineConfiguration(
                "x86_64",
                (Mapping("ami", "sda1"), Mapping("ephemeral0", "sdb")),
                kernel_id="aki-919dcaf8",
            ),
        ),
        signers=Signers(user.pair, ec2.certificate),
        destination=folder / "bundle",
    )
    wish = ConversionWish(str(made.manifest_path), key=user.key_path, last_step=StepName.FSTAB)
    return Desk(folder, disk, wish)


def states(wish: ConversionWish) -> dict[str, StepState]:
    return {step.name: step.state for step in plan(wish)}


def begin_of(volume: Path) -> str:
    """Return the SHA-256 of what is not blank on a volume; the rest is a hole."""
    assert volume.stat().st_size == 2**30
    with volume.open("rb") as file:
        end = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        while True:
            hole = os.lseek(file.fileno(), end, os.SEEK_HOLE)
            try:
                end = os.lseek(file.fileno(), hole, os.SEEK_DATA)
            except OSError:
                break
        assert hole <= START + 16 * MIB
        file.seek(0)
        return hashlib.sha256(file.read(START + 16 * MIB)).hexdigest()


def fstab_on(disk: Path, *, start: int = START) -> bytes:
    return run("debugfs", ["-R", "cat /etc/fstab", f"{disk}?offset={start}"]).stdout
