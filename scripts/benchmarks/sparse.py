"""Sparse work: a large disk costs by its data, not by its size."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure, by_turns, seconds
from benchmarks.product import imgforge
from imgforge.convert import ArtifactFormat
from imgforge.disk import disk_sha256

_DATA_MIB = 500
_LARGE, _SMALL = "10G", "1G"
_RECIPE = """\
name = "sparse-{size}"
[rootfs.source]
kind = "folder"
path = "tree"
[disk]
size = "{size}"
layouts = ["hvm-mbr"]
[[boot.entries]]
title = "nothing"
kernel = "/boot/vmlinuz"
[image]
name = "sparse"
"""


def measure_sparse(*, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure building with its hashing, and converting, of 10 GiB against 1 GiB, 500 MiB in each.

    A part's own ratio stands behind the sum's. SHA-256 of a hole takes as long as of data: there
    is no way to it but through all the zeros.
    """
    _make_data(scratch / "tree")
    parts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def measure(size: str) -> float:
        total = 0.0
        for part, took_s in _work(size, scratch):
            parts[part][size].append(took_s)
            total += took_s if part != "hash" else 0.0  # the build has hashed already
        return total

    large, small = by_turns(lambda: measure(_LARGE), lambda: measure(_SMALL), runs=runs)
    details = {
        part: median(by_size[_LARGE]) / median(by_size[_SMALL]) for part, by_size in parts.items()
    }
    words = f"{_LARGE}iB / {_SMALL}iB with {_DATA_MIB} MiB: build, hash, convert"
    yield Figure("sparse", 1.5, large, small, words, details)


def _make_data(tree: Path) -> None:
    (tree / "boot").mkdir(parents=True)
    (tree / "boot" / "vmlinuz").write_bytes(b"no kernel")
    with (tree / "data").open("wb") as file:
        for _ in range(_DATA_MIB):
            file.write(os.urandom(2**20))


def _work(size: str, scratch: Path) -> Iterator[tuple[str, float]]:
    recipe = scratch / f"{size}.toml"
    recipe.write_text(_RECIPE.format(size=size))
    out = scratch / "sparse"
    disk = out / f"sparse-{size}-hvm-mbr.raw"
    imgforge("recipe", "check", recipe, scratch=scratch)
    if not out.exists():  # the root tree into the cache
        imgforge("build", recipe, "--out", out, scratch=scratch)
    shutil.rmtree(out, ignore_errors=True)
    yield "build", imgforge("build", recipe, "--out", out, scratch=scratch)
    yield "hash", seconds(lambda: disk_sha256(disk))
    for wanted in ArtifactFormat:
        made = out / f"made.{wanted}"
        arguments = ("convert", disk, "--to", wanted, "--out", made)
        yield f"convert {wanted}", imgforge(*arguments, scratch=scratch)
        made.unlink()
    shutil.rmtree(out)
