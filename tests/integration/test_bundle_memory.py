"""Bundles take the same memory whatever their size."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bundle_material import identity, noise, write_sparse

MIB = 2**20
PROGRAM = Path(sys.executable).with_name("imgforge")
LIMIT_KIB = 200 * 1024
# In a small process: what starts a program counts as the program's own memory until then.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_kib(words: Sequence[str | Path]) -> int:
    """Run a command; return the most memory that it had (getrusage(2))."""
    measured = [sys.executable, "-c", MEASURE, *map(str, words)]
    return int(subprocess.run(measured, capture_output=True, text=True, check=True).stdout)


def peaks(image: Path, folder: Path) -> tuple[int, int, int]:
    """Return what create, verify and extract took of an image."""
    user = identity("user", folder / "keys")
    out, key = folder / f"{image.name}.bundle", ("-k", user.key_path)
    manifest = out / f"{image.name}.manifest.xml"
    keys = (*key, "-c", user.certificate_path)
    create = (PROGRAM, "bundle", "create", image, *keys, "-u", "123456789012", "-d", out)
    verify = (PROGRAM, "bundle", "verify", manifest, *keys)
    extract = (PROGRAM, "bundle", "extract", manifest, *key, "-o", folder / f"{image.name}.back")
    return peak_kib(create), peak_kib(verify), peak_kib(extract)


def test_a_sparse_image_of_10_gib_takes_less_than_200_mib(tmp_path: Path) -> None:
    data = {number * 64 * MIB: noise(MIB // 2, seed=number) for number in range(0, 160, 2)}
    image = write_sparse(tmp_path / "image", size_bytes=10 * 2**30, data=data)
    assert max(peaks(image, tmp_path)) < LIMIT_KIB


@pytest.mark.slow
def test_an_image_of_very_many_holes_takes_less_than_200_mib(tmp_path: Path) -> None:
    data = {number * 16384: b"data" for number in range(100_000)}
    image = write_sparse(tmp_path / "image", size_bytes=2 * 2**30, data=data)
    assert max(peaks(image, tmp_path)) < LIMIT_KIB


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    block = noise(2 * MIB)
    found = []
    for size in (32, 640):
        image = tmp_path / f"image-{size}"
        with image.open("wb") as file:
            for number in range(size // 4):
                file.write(block[number:] + block[:number] + bytes(2 * MIB))
        found.append(peaks(image, tmp_path))
    small, large = found
    assert max(large) < LIMIT_KIB
    assert all(more < less * 1.25 for less, more in zip(small, large, strict=True))
