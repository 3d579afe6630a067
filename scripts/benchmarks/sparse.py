"""Sparse work: a large disk costs by its data, not by its size."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure, seconds
from benchmarks.product import imgforge
from imgforge.convert import ArtifactFormat
from imgforge.disk import disk_sha256

_DATA_MIB = 500
_LARGE, _SMALL = "10G", "1G"
_RECIPE = """\
name = "sparse-{name}"
[rootfs.source]
kind = "folder"
path = "tree"
[disk]
size = "{size}"
layouts = ["hvm-mbr"]
[[boot.entries]]
title = "nothing"
kernel = "/boot/vmlinuz"
command_line = "quiet"
[image]
name = "sparse"
"""


def measure_sparse(*, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure building with its hashing, and converting, of 10 GiB against 1 GiB, 500 MiB in each.

    Once with every format, once with qcow2 alone; a part's own ratio stands behind the sum's.
    SHA-256 of a hole takes as long as of data, 0.6 s a GiB: there is no way to a digest but
    through all the zeros. So the fewer bytes are converted, the more they show.
    """
    _make_data(scratch / "tree")
    large, small = [], []
    for _ in range(runs):
        small.append(dict(_work(_SMALL, scratch)))
        large.append(dict(_work(_LARGE, scratch)))
    ratios = {
        part: median(work[part] for work in large) / median(work[part] for work in small)
        for part in large[0]
    }
    every = ["build", *(f"convert {wanted}" for wanted in ArtifactFormat)]
    for name, parts in (
        ("every format", every),
        ("qcow2 alone", ["build", f"convert {ArtifactFormat.QCOW2}"]),
    ):
        yield Figure(
            f"sparse: {name}",
            1.5,
            tuple(sum(work[part] for part in parts) for work in large),
            tuple(sum(work[part] for part in parts) for work in small),
            f"{_LARGE}iB / {_SMALL}iB with {_DATA_MIB} MiB: build, hash, convert",
            {part: ratios[part] for part in [*parts, "hash"]},
        )


def _make_data(tree: Path) -> None:
    (tree / "boot").mkdir(parents=True)
    (tree / "boot" / "vmlinuz").write_bytes(b"no kernel")
    with (tree / "data").open("wb") as file:
        for _ in range(_DATA_MIB):
            file.write(os.urandom(2**20))


def _work(size: str, scratch: Path) -> Iterator[tuple[str, float]]:
    recipe = scratch / f"{size}.toml"
    recipe.write_text(_RECIPE.format(name=size.lower(), size=size))
    out = scratch / "sparse"
    disk = out / f"sparse-{size.lower()}-hvm-mbr.raw"
    cache = scratch / "cache"
    if not cache.exists():  # the root tree is made once
        imgforge("build", recipe, "--out", out, scratch=scratch, cache=cache)
        shutil.rmtree(out)
    yield "build", imgforge("build", recipe, "--out", out, scratch=scratch, cache=cache)
    yield "hash", seconds(lambda: disk_sha256(disk))
    for wanted in ArtifactFormat:
        made = out / f"made.{wanted}"
        arguments = ("convert", disk, "--to", wanted, "--out", made)
        yield f"convert {wanted}", imgforge(*arguments, scratch=scratch)
        made.unlink()
    shutil.rmtree(out)
