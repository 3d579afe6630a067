"""`imgforge convert --to ebs` under kills, full disks and failures."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.conversion_step import StepName
from imgforge.ebs_conversion import (
    StepState,
    convert_to_ebs,
)
from imgforge.errors import ImgforgeError
from tests.ebs_desk import Desk, begin_of, bundled, make_disk

MOMENTS = 20
# Mounts a tmpfs of size $1 at $2, and runs the rest there: once, and again with room.
SMALL = (
    'mount -t tmpfs -o size=256m tmpfs "$2" || exit 99; head -c "$1" /dev/zero >"$2/ballast"; '
    'place=$2; shift 2; mkdir "$place/out"; "$@"; code=$?; ls "$place/out"; '
    'rm "$place/ballast" && "$@" && exit "$code"; exit 98'
)
"""Runs a command on 256 MiB of which $1 bytes are taken, and again when they are not."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return bundled(tmp_path, make_disk(tmp_path))


# Says "ready" when all is imported, and converts when it is told to.
CONVERT = """
import sys
from pathlib import Path
from imgforge.command import run
from imgforge.conversion_step import StepName
from imgforge.ebs_conversion import ConversionWish, convert_to_ebs
wish = ConversionWish(sys.argv[1], key=Path(sys.argv[2]), last_step=StepName.FSTAB)
print("ready", flush=True)
sys.stdin.readline()
convert_to_ebs(wish)
"""


class Converting:
    """A process that is about to convert."""

    def __init__(self, desk: Desk) -> None:
        command = [sys.executable, "-c", CONVERT, desk.wish.source, str(desk.wish.key)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def go(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return time.monotonic()

    def kill_after(self, delay_s: float) -> None:
        self.go()
        try:
            self.process.wait(timeout=delay_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing(desk: Desk) -> None:
    """At twenty moments, each run going on from where the kill left it, or from the start."""
    whole = Converting(desk)
    started = whole.go()
    assert whole.process.wait(120) == 0
    lasts_s = time.monotonic() - started
    reference = begin_of(desk.made / "volume.raw")
    chance = random.Random(5)
    finished = 0
    for moment in range(MOMENTS):
        shutil.rmtree(desk.made)
        converting = Converting(desk)
        converting.kill_after(lasts_s * (moment + chance.random()) / MOMENTS)
        if (desk.made / "volume.raw").exists():
            assert begin_of(desk.made / "volume.raw") == reference
        before = _recorded(desk)
        made = convert_to_ebs(desk.wish)
        repeated = before & {step.name for step in made.steps if step.state is StepState.DONE}
        # A volume that a kill left half copied or half edited is made again.
        assert repeated <= {StepName.VOLUME, StepName.COPY, StepName.PARTITIONS}
        assert begin_of(desk.made / "volume.raw") == reference
        assert sorted(path.name for path in desk.made.iterdir()) == [
            ".lock", "conversion.json", "disk.raw", "volume.raw",
        ]  # fmt: skip
        finished += len(before)
    assert finished  # some kills came late enough to leave something


def _recorded(desk: Desk) -> set[StepName]:
    path = desk.made / "conversion.json"
    if not path.exists():
        return set()
    return {StepName(name) for name in json.loads(path.read_bytes())["steps"]}


@pytest.mark.parametrize(
    ("fraction", "step"),
    [(0.1, "unbundle"), (0.9, "unbundle"), (1.5, "copy")],
    ids=["unbundle", "unbundle-late", "copy"],
)
def test_a_full_disk_is_told_and_the_next_run_goes_on(
    desk: Desk, fraction: float, step: str
) -> None:
    place = desk.folder / "small"
    place.mkdir()
    if subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    convert_to_ebs(replace(desk.wish, last_step=StepName.UNBUNDLE))
    data_bytes = (desk.made / "disk.raw").stat().st_blocks * 512
    ballast = str(2**28 - int(data_bytes * fraction) // 4096 * 4096)
    shell = ["unshare", "-Urm", "sh", "-c", SMALL, "sh", ballast, str(place)]
    words = desk.words("--until", "fstab", "--out", place / "out")
    done = subprocess.run(
        [*shell, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "no space is left" in done.stderr
    listed = done.stdout.partition("step")[0].split()
    assert "volume.raw" not in listed
    assert ("disk.raw" in listed) == (step == "copy")
    assert ("unbundle     done before" in done.stdout) == (step == "copy")
    assert "fstab        done " in done.stdout


@pytest.mark.parametrize("step", [StepName.UNBUNDLE, StepName.COPY])
def test_a_failure_leaves_nothing_that_looks_finished(desk: Desk, step: StepName) -> None:
    if step is StepName.UNBUNDLE:
        part = next((desk.folder / "bundle").glob("*.part.0"))
        part.write_bytes(part.read_bytes()[:-16])
    else:
        convert_to_ebs(replace(desk.wish, last_step=StepName.VOLUME))
        (desk.made / "disk.raw").unlink()
        (desk.made / "disk.raw").mkdir()
    with pytest.raises((ImgforgeError, OSError)):
        convert_to_ebs(desk.wish)
    assert not (desk.made / "volume.raw").exists()
