"""A disk of several layers is read as its guest sees it."""

import subprocess
from pathlib import Path

from imgforge.machine import flatten, lay_over, plain_storage


def test_the_upper_layer_wins_and_the_lower_one_shines_through(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"a" * 65536 + b"b" * 65536)
    storage = lay_over(plain_storage(raw), tmp_path, root_bytes=2**30)
    layer = storage.root.layers[0].path
    written: list[str | Path] = ["qemu-io", "-c", "write -P 0x63 0 512", layer]
    subprocess.run(written, check=True, capture_output=True)
    # Wherever the layer says that the one below it is: the drive knows better.
    moved: list[str | Path] = ["qemu-img", "rebase", "-u", "-b", "/nowhere", "-F", "raw", layer]
    subprocess.run(moved, check=True)
    flat = flatten(storage.root, tmp_path / "flat.raw")
    with flat.open("rb") as file:
        content = file.read(131072)
    assert content == b"c" * 512 + b"a" * (65536 - 512) + b"b" * 65536
    assert flat.stat().st_size == 2**30
    assert flat.stat().st_blocks * 512 < 2**20
    assert raw.read_bytes()[:1] == b"a"
