"""Small raw disks with a menu.lst: made in a tenth of a second, without root."""

import struct
from pathlib import Path

from imgforge.command import run
from imgforge.disk.grub import find_stages, install
from imgforge.recipe import FilesystemType, Layout


def make_disk(
    folder: Path,
    files: dict[str, bytes],
    *,
    kind: str = "ext3",
    partitions: int = 0,
    at: int = 1,
    size: str = "8M",
) -> Path:
    """Make a raw disk: a file system, in partition `at` of so many; 0 of them: the whole disk."""
    tree = folder / "tree"
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    disk = folder / "d.raw"
    options = ["-b", "4096", "-I", "256", "-L", "root"]
    if kind == "ext3":
        options += ["-O", "^64bit,^metadata_csum"]
    run("mke2fs", ["-q", "-t", kind, *options, "-d", tree, disk, size])
    if not partitions:
        return disk
    inner = disk.read_bytes()
    with disk.open("wb") as file:
        table = bytearray(512)
        for index in range(partitions):
            start = 2048 + index * 16384
            struct.pack_into("<B3xB3xII", table, 446 + 16 * index, 0, 0x83, start, 16384)
        table[510:512] = b"\x55\xaa"
        file.write(table)
        file.seek((2048 + (at - 1) * 16384) * 512)
        file.write(inner)
        file.truncate((2048 + partitions * 16384) * 512)
    return disk


def make_gpt(disk: Path) -> None:
    """Write the least of a GPT, with the partition that the MBR had."""
    with disk.open("r+b") as file:
        file.seek(446 + 4)
        file.write(b"\xee")
        file.seek(512)
        file.write(b"EFI PART".ljust(72, b"\0") + struct.pack("<QII", 2, 4, 128))
        file.seek(1024)
        kind = bytes.fromhex("af3dc60f838472478e793d69d8477de4")
        file.write(kind + b"\1" * 16 + struct.pack("<QQ", 2048, 2048 + 16383))


def make_hvm_disk(folder: Path, files: dict[str, bytes]) -> Path:
    """Make a raw disk that a BIOS boots by GRUB Legacy, with these files in its one partition."""
    stages = find_stages(FilesystemType.EXT3)
    files = files | {f"boot/grub/{path.name}": path.read_bytes() for path in stages.all}
    disk = make_disk(folder, files, partitions=1)
    install(disk, layout=Layout.HVM_MBR, stages=stages)
    return disk
