import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgforge.rootfs import PackageMode, choose_package_mode, probe_host

# What mmdebstrap could leave: a child in another session that holds none of its pipes.
FAKE = """#!/bin/sh
mkdir "$TMPDIR/mmdebstrap.x"
setsid sleep $LASTS </dev/null >/dev/null 2>&1 &
sleep $LASTS &
echo "I: installing" >&2
wait
"""
BUILD = """
import sys
from pathlib import Path
from imgforge.rootfs.bootstrap import bootstrap
from imgforge.rootfs.lock import LockBase, make_lock
from imgforge.rootfs.package_mode import PackageMode, PackageModeChoice
base = LockBase(
    suite="x", architecture="amd64", variant="minbase", components=(), mirrors=(), include=()
)
choice = PackageModeChoice(PackageMode(sys.argv[1]), "a test")
lock = make_lock(base, packages=(), snapshot="")
bootstrap(lock, [], choice=choice, destination=Path(sys.argv[2]))
"""


def modes() -> list[PackageMode]:
    own = choose_package_mode("minbase", probe_host()).mode
    return sorted({own, PackageMode.ROOT, PackageMode.FAKECHROOT})


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(FAKE.replace("$LASTS", lasts()))
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


def lasts() -> str:
    """Return how long the fake's children sleep: a number that only this test's have."""
    return f"77.{os.getpid()}"


def sleepers() -> int:
    wanted = b"sleep\0" + lasts().encode() + b"\0"
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += path.read_bytes() == wanted
    return found


def wait_until_gone(limit_s: float) -> int:
    end_s = time.monotonic() + limit_s
    while (left := sleepers()) and time.monotonic() < end_s:
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("mode", modes())
def test_a_killed_build_leaves_no_process_and_the_next_one_sweeps(
    mode: PackageMode, tmp_path: Path, environment: dict[str, str]
) -> None:
    if mode is PackageMode.FAKECHROOT and not shutil.which("fakechroot"):
        pytest.skip("fakechroot is missing")
    destination = tmp_path / "bases/x.tar"
    command = [sys.executable, "-c", BUILD, mode.value, str(destination)]
    build = subprocess.Popen(command, env=environment)
    try:
        end_s = time.monotonic() + 30
        while sleepers() < 2 and time.monotonic() < end_s:
            assert build.poll() is None
            time.sleep(0.02)
        assert sleepers() == 2
    finally:
        build.send_signal(signal.SIGKILL)
        build.wait(10)
    assert wait_until_gone(5) == 0
    assert not destination.exists()
    (tmp_path / "bin/mmdebstrap").write_text("#!/bin/sh\nexit 1\n")
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert b"HostError" in ended.stderr
    assert list(destination.parent.glob(".imgforge-aside-*")) == []
