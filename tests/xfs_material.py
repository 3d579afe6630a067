"""XFS file systems with all that their trees can hold, made by mounting them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgforge.command import find_program
from tests.volume_material import make_machine

MIB = 2**20
FORMATS = {
    "version 5": ("-m", "crc=1"),
    "version 5, as ten years ago": ("-m", "crc=1,finobt=0,rmapbt=0,reflink=0,bigtime=0"),
    "version 5, small blocks": ("-m", "crc=1", "-b", "size=1024", "-n", "size=4096"),
    "version 4": ("-m", "crc=0", "-n", "ftype=0"),
    "version 4, large blocks of names": (
        "-m",
        "crc=0",
        "-n",
        "size=16384,ftype=1",
        "-i",
        "size=512",
    ),
}


def make_xfs_file(path: Path, options: tuple[str, ...], *, size_mib: int = 400) -> Path:
    with path.open("wb") as file:
        file.truncate(size_mib * MIB)
    line = [find_program("mkfs.xfs"), "-q", "-L", "root", *options, path]
    subprocess.run([*map(str, line)], check=True, capture_output=True)
    return path


@contextmanager
def mounted(disk: Path, at: Path, *options: str) -> Iterator[Path]:
    """Mount a file system; OSError where this kernel has none of that kind."""
    at.mkdir(exist_ok=True)
    words = ",".join(("loop", *options))
    done = subprocess.run(["mount", "-o", words, disk, at], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def fill(folder: Path) -> None:
    """Write a tree that needs every form that XFS has for folders, maps and attributes."""
    make_machine(folder, as_root=True)
    for count in (3, 60, 400, 3000):
        (folder / f"names-{count}").mkdir()
        for number in range(count):
            (folder / f"names-{count}" / f"{number:x}-{'n' * (number % 200)}").touch()
    for number in range(0, 3000, 3):
        (folder / "names-3000" / f"{number:x}-{'n' * (number % 200)}").unlink()
    with (folder / "var/fragmented").open("wb") as file:
        for number in range(3000):
            os.pwrite(file.fileno(), b"%d" % number, number * 2**15)
    with (folder / "var/allocated").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 5 * MIB)
        os.pwrite(file.fileno(), b"written", 3 * MIB)
    for count in (1, 30, 900):
        (folder / f"attributes-{count}").touch()
        for number in range(count):
            value = b"%d" % number * (number % 50)
            os.setxattr(folder / f"attributes-{count}", f"user.{number}-{'x' * 40}", value)
    os.setxattr(folder / "var/empty", "trusted.large", bytes(range(256)) * 200)
    os.setxattr(folder / "var/empty", "user.none", b"")
    (folder / "longer").symlink_to("y" * 1000)


def fill_by_prototype(folder: Path, *, target: int = 50, counts: tuple[int, ...] = (30,)) -> Path:
    """Write a tree, and FOLDER/prototype, by which mkfs.xfs makes the same without a mount.

    `target` is the length of a symlink (of long ones in version 5, mkfs.xfs 6.1 forgets the
    header), `counts` are how many names folders have.
    """
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/fstab").write_bytes(b"LABEL=root / xfs defaults 1 1\n")
    (tree / "large").write_bytes(bytes(range(256)) * 20_000)
    (tree / "link").symlink_to("etc/fstab")
    (tree / "long").symlink_to("/etc/" + "x" * target)
    lines = ["/", "0 0", "d--755 0 0", "etc d--755 0 0", f"fstab ---644 0 0 {tree}/etc/fstab", "$"]
    lines += [f"large ---644 0 0 {tree}/large", "link l--777 0 0 etc/fstab"]
    lines += ["long l--777 0 0 /etc/" + "x" * target]
    for count in counts:
        (tree / f"names-{count}").mkdir()
        lines.append(f"names-{count} d--755 0 0")
        for number in range(count):
            (tree / f"names-{count}/{number}-{'n' * (number % 20)}").touch()
            lines.append(f"{number}-{'n' * (number % 20)} ---644 0 0 /dev/null")
        lines.append("$")
    (folder / "prototype").write_text("\n".join([*lines, "$", ""]), encoding="ascii")
    return tree
