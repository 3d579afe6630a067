"""Whoever reads a command's output may go: what it found is still its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def unbootable(tmp_path: Path) -> Path:
    """A disk with boot code and a partition, and no EFI system partition."""
    path = tmp_path / "d.raw"
    head = bytearray(512)
    head[:4] = b"\xeb\x63\x90\x00"
    head[446 + 4] = 0x83
    head[446 + 8 : 446 + 16] = (2048).to_bytes(4, "little") + (2048).to_bytes(4, "little")
    head[510:] = b"\x55\xaa"
    path.write_bytes(head.ljust(4 * 2**20, b"\0"))
    return path


def left_alone(*words: str, streams: tuple[str, ...], data: Path) -> tuple[int, str]:
    """Run a command with streams that nobody reads; return its code, and what else it said."""
    reading, writing = os.pipe()
    os.close(reading)
    held = {name: writing if name in streams else subprocess.PIPE for name in ("stdout", "stderr")}
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "imgforge", *words],
            **held,  # type: ignore[call-overload]
            env={**os.environ, "XDG_DATA_HOME": str(data)},
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writing)
    return ended.returncode, ended.stderr or ""


@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_findings_that_nobody_reads_stay_the_exit_code(
    unbootable: Path, tmp_path: Path, streams: tuple[str, ...], form: tuple[str, ...]
) -> None:
    words = ("preflight", str(unbootable), "--name", "web", "--boot-mode", "uefi", *form)
    code, told = left_alone(*words, streams=streams, data=tmp_path)
    assert code == 1
    assert "Traceback" not in told


def test_an_error_that_nobody_reads_stays_one(tmp_path: Path) -> None:
    words = ("preflight", str(tmp_path / "none.raw"))
    assert left_alone(*words, streams=("stdout", "stderr"), data=tmp_path)[0] == 2


@pytest.mark.parametrize(
    "words",
    [("images", "find"), ("snapshots", "list"), ("images", "gc", "--dry-run"), ("aki", "find")],
)
def test_a_list_that_nobody_reads_is_no_failure(tmp_path: Path, words: tuple[str, ...]) -> None:
    own = () if words[0] == "aki" else ("--url", "local")
    code, told = left_alone(*words, *own, streams=("stdout",), data=tmp_path)
    assert code == 0
    assert "Traceback" not in told
