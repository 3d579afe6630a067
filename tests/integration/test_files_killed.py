"""What a killed process leaves: nothing that looks finished, and nothing for long."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imgforge.files import appearing, locked_folder

MAKE = """
    import sys, time
    from pathlib import Path
    from imgforge.files import appearing
    with appearing(Path(sys.argv[1])) as new:
        new.mkdir()
        (new / "half").write_bytes(b"x" * 100_000)
        print("made", flush=True)
        time.sleep(60)
"""
LOCK = """
    import sys, time
    from pathlib import Path
    from imgforge.files import locked_folder
    with locked_folder(Path(sys.argv[1])):
        print("locked", flush=True)
        time.sleep(60)
"""


def start(script: str, path: Path) -> subprocess.Popen[str]:
    """Start a script and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_appears_and_the_next_run_sweeps(tmp_path: Path, way: signal.Signals) -> None:
    process = start(MAKE, tmp_path / "tree")
    process.send_signal(way)
    process.communicate(timeout=10)
    assert not (tmp_path / "tree").exists()
    with appearing(tmp_path / "other") as new:
        new.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_another_process_is_making_is_not_swept(tmp_path: Path) -> None:
    process = start(MAKE, tmp_path / "tree")
    try:
        with appearing(tmp_path / "other") as new:
            new.touch()
        assert len(list(tmp_path.glob(".imgforge-aside-*/new/half"))) == 1
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_a_kill_frees_the_lock(tmp_path: Path) -> None:
    process = start(LOCK, tmp_path)
    process.kill()
    process.communicate(timeout=10)
    with locked_folder(tmp_path):
        pass
