"""A bundle becomes a volume: what it costs by the volume's size, with the same data."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, by_turns
from benchmarks.product import imgforge
from imgforge.command import run

_DATA_MIB = 500
_LARGE, _SMALL = "10", "1"
_FSTAB = "LABEL=/ / ext4 defaults 1 1\n/dev/sdb /mnt auto defaults,comment=cloudconfig 0 2\n"


def measure_conversion(*, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure `imgforge convert --to ebs` up to the volume with its fstab, 10 GiB against 1 GiB.

    The image has 1 GiB and 500 MiB of data. Then the digests alone: SHA-256 has to go through all
    the zeros, 0.6 s a GiB, so that this one step costs by the size.
    """
    _make_disk(scratch)
    key, certificate = scratch / "key.pem", scratch / "certificate.pem"
    pair = ("--key", key, "--cert", certificate)
    imgforge("certificate", "create", *pair, scratch=scratch)
    folder = scratch / "bundle"
    words = ("--account", "123456789012", "--out", folder)
    imgforge("bundle", "create", scratch / "disk", *pair, *words, scratch=scratch)
    digests: dict[str, list[float]] = {_LARGE: [], _SMALL: []}

    def convert(size: str) -> float:
        shutil.rmtree(folder / "disk.ebs", ignore_errors=True)
        ebs = ("--to", "ebs", "--key", key, "--size", size)
        common = ("convert", folder / "disk.manifest.xml", *ebs)
        seconds = imgforge(*common, "--until", "fstab", scratch=scratch)
        digests[size].append(imgforge(*common, "--until", "digest", scratch=scratch))
        return seconds

    measured, base = by_turns(lambda: convert(_LARGE), lambda: convert(_SMALL), runs=runs)
    said = f"{_LARGE} GiB / {_SMALL} GiB with {_DATA_MIB} MiB: bundle to volume, fstab and all"
    yield Figure("convert: to ebs", 1.2, measured, base, said)
    large, small = tuple(digests[_LARGE]), tuple(digests[_SMALL])
    yield Figure("convert: to ebs, digest", None, large, small, "its step digest alone")


def _make_disk(scratch: Path) -> None:
    tree = scratch / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "fstab").write_text(_FSTAB, encoding="ascii")
    with (tree / "data").open("wb") as file:
        for _ in range(_DATA_MIB):
            file.write(os.urandom(2**20))
    run("mke2fs", ["-q", "-t", "ext4", "-d", tree, scratch / "disk", "1G"])
    shutil.rmtree(tree)
