"""fstab edited in real file systems without mounting them, checked by their own programs."""

import contextlib
import os
import random
import re
import struct
from pathlib import Path

import pytest

from imgforge.command import find_program, run
from imgforge.disk import apply_fstab_edit, disk_sha256, plan_fstab_edits
from imgforge.errors import BadInputError, CommandError, MissingProgramError

KEPT = b"LABEL=/ / ext4 defaults 1 1\nproc /proc proc defaults 0 0\n"
GONE = b"/dev/sdb /mnt auto defaults,nobootwait 0 2\nLABEL=UEFI /boot/efi vfat defaults 0 0\n"
FSTAB = KEPT + GONE
LONG = KEPT + b"# a line of a long fstab\n" * 300 + GONE * 40
START = 63 * 512
EXT = {
    "ext2": ("-t", "ext2"),
    "ext3": ("-t", "ext3", "-b", "1024"),
    "ext4": ("-t", "ext4"),
    "ext4-old": ("-t", "ext4", "-O", "^metadata_csum,^64bit", "-b", "4096"),
    "ext4-seed": ("-t", "ext4", "-O", "metadata_csum_seed"),
    "ext2-128": ("-t", "ext2", "-I", "128", "-b", "1024"),
}
XFS_4 = ("-m", "crc=0,finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0", "-n", "ftype=0")
XFS = {
    "xfs-5": (),
    "xfs-4": (*XFS_4, "-i", "nrext64=0"),
    "xfs-1k": ("-b", "size=1024"),
}


def ran(program: str, *words: str | Path) -> str:
    done = run(program, words, timeout_s=120)
    return (done.stdout + done.stderr).decode(errors="replace")


def make(folder: Path, kind: str, content: bytes) -> Path:
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/fstab").write_bytes(content)
    (tree / "etc/fstab").chmod(0o640)
    for number in range(40):
        (tree / f"etc/other-{number}").write_bytes(os.urandom(3000))
    disk = folder / "fs.raw"
    if kind in EXT:
        ran("mke2fs", "-q", *EXT[kind], "-d", tree, disk, "16M")
        ran("debugfs", "-w", "-R", "ea_set /etc/fstab user.kept yes", disk)
        ran("debugfs", "-w", "-R", "sif /etc/fstab uid 70001", disk)
        return disk
    try:
        find_program("mkfs.xfs")
    except MissingProgramError:
        pytest.skip("mkfs.xfs is not installed (xfsprogs)")
    lines = ["/", "0 0", "d--755 0 0", "etc d--755 0 0"]
    for path in sorted((tree / "etc").iterdir()):
        lines.append(f"{path.name} ---640 7 8 {path}")
    (folder / "prototype").write_text("\n".join([*lines, "$", "$", ""]))
    with disk.open("wb") as file:
        file.truncate(320 * 2**20)
    ran("mkfs.xfs", "-q", *XFS[kind], "-p", folder / "prototype", disk)
    return disk


def in_partition(disk: Path) -> Path:
    """Put a file system in the first partition of a disk, as ec2-bundle-vol does."""
    size = disk.stat().st_size
    table = bytearray(512)
    struct.pack_into("<B3xB3xII", table, 446, 0x80, 0x83, START // 512, size // 512)
    table[510:512] = b"\x55\xaa"
    whole = disk.with_name("disk.raw")
    with whole.open("wb") as file:
        file.write(table)
        file.truncate(START + size)
    copy = ("dd", f"if={disk}", f"of={whole}", "bs=64k", "conv=notrunc,sparse")
    ran(*copy, "oflag=seek_bytes", f"seek={START}", "status=none")
    disk.unlink()
    return whole


def check(disk: Path, kind: str, *, start: int, folder: Path) -> str:
    """Let the file system's own program look at it; return what it says of fstab's inode."""
    if kind in EXT:
        ran("e2fsck", "-fn", f"{disk}?offset={start}")
        where = f"{disk}?offset={start}"
        return ran("debugfs", "-R", "stat /etc/fstab", where) + ran(
            "debugfs", "-R", "ea_list /etc/fstab", where
        )
    alone = folder / "alone.raw"
    ran("dd", f"if={disk}", f"of={alone}", "bs=64k", "conv=sparse", "status=none",
        "iflag=skip_bytes", f"skip={start}")  # fmt: skip
    ran("xfs_repair", "-n", alone)
    return ran("xfs_db", "-r", "-c", "path /etc/fstab", "-c", "print", alone)


def lasting(said: str) -> list[str]:
    """Return what is said of an inode's owner, mode, times, links and attributes."""
    ext = r"Mode: +\d+|User: +\d+ +Group: +\d+|\wr?time: 0x\S+|Links: \d+|user\.\w+ .*"
    xfs = r"core\.(?:mode|uid|gid|nlinkv2|[amc]time\.n?sec) = .*|v3.crtime.*"
    return re.findall(f"{ext}|{xfs}", said)


@pytest.mark.parametrize(
    ("kind", "layout", "content"),
    [
        *((kind, layout, FSTAB) for kind in EXT for layout in ("whole", "partition")),
        *((kind, "whole", LONG) for kind in ("ext2-128", "ext3", "ext4", "xfs-1k")),
        *((kind, "whole", GONE) for kind in ("ext3", "ext4", "xfs-5")),
        *(("xfs-5", layout, FSTAB) for layout in ("whole", "partition")),
        ("xfs-4", "whole", FSTAB),
        pytest.param("xfs-4", "partition", LONG, marks=pytest.mark.slow),
        pytest.param("xfs-1k", "partition", FSTAB, marks=pytest.mark.slow),
    ],
    ids=lambda value: {FSTAB: "short", LONG: "long", GONE: "all-gone"}.get(value, value),
)
def test_it_is_edited_in_place(tmp_path: Path, kind: str, layout: str, content: bytes) -> None:
    disk = make(tmp_path, kind, content)
    start = 0
    if layout == "partition":
        disk, start = in_partition(disk), START
    twin = tmp_path / "twin.raw"
    ran("cp", "--sparse=always", disk, twin)
    before = check(disk, kind, start=start, folder=tmp_path)
    [placed] = plan_fstab_edits(disk, ephemeral_devices=())
    assert placed.edit.old == content
    apply_fstab_edit(disk, placed)
    after = check(disk, kind, start=start, folder=tmp_path)
    [again] = plan_fstab_edits(disk, ephemeral_devices=())
    assert again.edit.old == content.replace(GONE, b"") == placed.edit.new
    assert again.edit.removed == ()
    assert lasting(after) == lasting(before)
    assert len(lasting(before)) >= 8
    assert list(tmp_path.glob(".imgforge-aside-*")) == []
    apply_fstab_edit(twin, placed)
    assert disk_sha256(disk) == disk_sha256(twin)


def test_an_unreplayed_journal_is_replayed_first(tmp_path: Path) -> None:
    disk = make(tmp_path, "ext4", FSTAB)
    ran("debugfs", "-w", "-R", "feature needs_recovery", disk)
    assert "needs_recovery" in ran("debugfs", "-R", "feature", disk)
    [placed] = plan_fstab_edits(disk, ephemeral_devices=())
    apply_fstab_edit(disk, placed)
    assert "needs_recovery" not in ran("debugfs", "-R", "feature", disk)
    ran("e2fsck", "-fn", disk)


def test_an_xfs_log_with_changes_in_it_is_refused(tmp_path: Path) -> None:
    disk = make(tmp_path, "xfs-5", FSTAB)
    [placed] = plan_fstab_edits(disk, ephemeral_devices=())
    before = disk_sha256(disk)
    _spoil_log(disk)
    spoiled = disk_sha256(disk)
    assert spoiled != before
    with pytest.raises(BadInputError, match="was not unmounted"):
        apply_fstab_edit(disk, placed)
    assert disk_sha256(disk) == spoiled


def _spoil_log(disk: Path) -> None:
    """Turn the log's one record, an unmount, into another."""
    shown = ran("xfs_db", "-r", "-c", "sb 0", "-c", "p logstart", "-c", "p blocksize", disk)
    [logstart, _] = map(int, re.findall(r"= (\d+)", shown))
    shown = ran("xfs_db", "-r", "-c", f"convert fsblock {logstart} byte", disk)
    [position] = map(int, re.findall(r"\((\d+)\)", shown))
    with disk.open("r+b") as file:
        file.seek(position + 512 + 9)
        flags = file.read(1)[0]
        file.seek(position + 512 + 9)
        file.write(bytes([flags & ~0x20]))


def test_a_file_that_may_share_its_blocks_is_left_as_it_is(tmp_path: Path) -> None:
    disk = make(tmp_path, "xfs-5", FSTAB)
    ran("xfs_db", "-x", "-c", "path /etc/fstab", "-c", "write v3.reflink 1", disk)
    [placed] = plan_fstab_edits(disk, ephemeral_devices=())
    before = disk_sha256(disk)
    with pytest.raises(BadInputError, match="share its blocks"):
        apply_fstab_edit(disk, placed)
    assert disk_sha256(disk) == before


def _inline(folder: Path) -> Path:
    tree = folder / "tree/etc"
    tree.mkdir(parents=True)
    (tree / "fstab").write_bytes(b"/dev/sdb /mnt auto rw\n")
    disk = folder / "d.raw"
    ran("mke2fs", "-q", "-t", "ext4", "-O", "inline_data", "-d", folder / "tree", disk, "16M")
    return disk


def test_a_file_in_its_inode_is_said_and_left(tmp_path: Path) -> None:
    disk = _inline(tmp_path)
    before = disk_sha256(disk)
    with pytest.raises(BadInputError, match="inline data"):
        plan_fstab_edits(disk, ephemeral_devices=())
    assert disk_sha256(disk) == before


def test_a_disk_without_an_fstab_has_none(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    disk.write_bytes(bytes(2**20))
    assert plan_fstab_edits(disk, ephemeral_devices=()) == ()


@pytest.mark.parametrize(("kind", "times"), [("ext4", 25), ("xfs-5", 8)])
def test_a_damaged_file_system_is_told_and_the_disk_keeps_its_size(
    tmp_path: Path, kind: str, times: int
) -> None:
    disk = make(tmp_path, kind, FSTAB)
    size = disk.stat().st_size
    chance = random.Random(7)
    for _ in range(times):
        damaged = tmp_path / "damaged.raw"
        ran("cp", "--sparse=always", disk, damaged)
        with damaged.open("r+b") as file:
            for _ in range(300):
                file.seek(chance.randrange(512, 65536))
                file.write(chance.randbytes(1))
        with contextlib.suppress(BadInputError, CommandError):
            for placed in plan_fstab_edits(damaged, ephemeral_devices=()):
                apply_fstab_edit(damaged, placed)
        assert damaged.stat().st_size == size
