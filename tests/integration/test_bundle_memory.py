"""Bundles take the same memory whatever their size."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bundle_material import identity, noise

MIB = 2**20
PROGRAM = Path(sys.executable).with_name("imgforge")
LIMIT_KIB = 200 * 1024


def peak_kib(words: Sequence[str | Path]) -> int:
    """Run a command; return the most memory that it had (proc(5), VmHWM)."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        peak = max(peak, int(found[1])) if found else peak
        time.sleep(0.02)  # nothing tells when it grows
    assert process.wait() == 0
    return peak


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    user = identity("user", tmp_path / "keys")
    peaks = []
    for size in (32, 640):
        image, out = tmp_path / f"image-{size}", tmp_path / f"out-{size}"
        block = noise(2 * MIB)
        with image.open("wb") as file:
            for number in range(size // 4):
                file.write(block[number:] + block[:number] + bytes(2 * MIB))
        create: list[str | Path] = [PROGRAM, "bundle", "create", image, "-k", user.key_path]
        create += ["-c", user.certificate_path, "-u", "123456789012", "-d", out]
        extract: list[str | Path] = [
            PROGRAM,
            "bundle",
            "extract",
            out / f"{image.name}.manifest.xml",
        ]
        extract += ["-k", user.key_path, "-o", tmp_path / f"back-{size}"]
        peaks.append((peak_kib(create), peak_kib(extract)))
    print(peaks)
    assert max(peaks[1]) < LIMIT_KIB
    assert all(large < small * 1.25 for small, large in zip(*peaks, strict=True))
