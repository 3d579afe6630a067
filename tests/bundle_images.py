"""Images of every kind that bundles are made of."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from imgforge.command import find_program
from tests.bundle_material import noise, write_sparse

KIB = 2**10
MIB = 2**20


def run(program: str, *words: str | Path, stdin: bytes = b"") -> bytes:
    command = [find_program(program), *words]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def only_holes(path: Path) -> None:
    write_sparse(path, size_bytes=50 * MIB, data={})


def one_byte(path: Path) -> None:
    path.write_bytes(b"x")


def random_bytes(path: Path) -> None:
    path.write_bytes(noise(21 * MIB + 17))


def many_holes(path: Path) -> None:
    data = {number * 64 * KIB: noise(4 * KIB, seed=number) for number in range(0, 300, 3)}
    write_sparse(path, size_bytes=20 * MIB, data=data)


def file_system(path: Path) -> None:
    """Make the minimal guest's kind of disk: a partition table, and ext4 with some files."""
    tree = path.with_name("tree")
    (tree / "boot").mkdir(parents=True)
    for number in range(20):
        (tree / "boot" / f"file-{number}").write_bytes(noise(100_000, seed=number) + bytes(50_000))
    with path.open("wb") as file:
        file.truncate(128 * MIB)
    run("sfdisk", "--quiet", path, stdin=b"label: dos\nstart=2048, type=83, bootable\n")
    run("mke2fs", "-q", "-t", "ext4", "-E", "offset=1048576", "-d", tree, path, "126976k")


IMAGES: tuple[Callable[[Path], None], ...] = (
    only_holes,
    one_byte,
    random_bytes,
    many_holes,
    file_system,
)
