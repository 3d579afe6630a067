"""A volume's bundling that is killed or interrupted at some moment, and the next one."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.test_bundle_volume import PROGRAMS, Desk
from tests.volume_material import make_machine, see_disk

MANY = 20
MOMENTS = (
    pytest.param("tree: reading", marks=pytest.mark.slow),
    "disk: mbr",
    pytest.param("left out", marks=pytest.mark.slow),
    pytest.param("MiB of data", marks=pytest.mark.slow),
)
WORDS = ("-k", "private-key.pem", "-c", "certificate.pem", "-u", "123456789012", "-d", "out")


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_left_by_an_interruption_and_nothing_for_long_by_a_kill(
    tmp_path: Path, moment: str
) -> None:
    desk = Desk(tmp_path)
    tree = make_machine(tmp_path / "tree", as_root=False)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    more = ("--partition", "mbr", "-s", "200M", "-e", "/var/sparse")
    for number in (signal.SIGTERM, signal.SIGKILL):
        running = subprocess.Popen(
            [PROGRAMS / "imgforge", "bundle", "volume", str(tree), *WORDS, *more],
            cwd=tmp_path,
            env=desk.environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert running.stderr is not None
        # The last of the output of one that has ended already is looked at, too.
        seen = [next((line for line in running.stderr if moment in line), None)]
        assert seen != [None]
        running.send_signal(number)
        running.stderr.read()
        code = running.wait(60)
        names = names_in(out)
        if code == 0:  # it was done before the signal came
            pytest.skip("it was too quick to be met")
        assert names == {"mine"}
        if number == signal.SIGTERM:
            assert code == 130
            assert [path.name for path in out.iterdir()] == ["mine"]
    values, disk = desk.made(tree, *more, "-d", "out")
    assert "boot/grub/stage2" in see_disk(disk)
    parts = [Path(part).name for part in values["parts"]]
    assert sorted(path.name for path in out.iterdir()) == [
        *("image.manifest.xml", *parts, "mine"),
    ]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_all_or_nothing(tmp_path: Path) -> None:
    """At twenty moments, from the start of the process to its end."""
    desk = Desk(tmp_path)
    tree = make_machine(tmp_path / "tree", as_root=False)
    out = tmp_path / "out"
    more = ("--partition", "mbr", "-s", "200M", "-e", "/var/sparse")
    words: list[str | Path] = [PROGRAMS / "imgforge", "bundle", "volume", str(tree), *WORDS, *more]

    def bundle(limit_s: float) -> float:
        shutil.rmtree(out)
        out.mkdir()
        (out / "mine").write_text("mine")
        started = time.monotonic()
        running = subprocess.Popen(
            words, cwd=tmp_path, env=desk.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            running.wait(limit_s)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(60)
        return time.monotonic() - started

    out.mkdir()
    lasts_s = bundle(120)
    whole = names_in(out)
    assert "image.manifest.xml" in whole
    chance = random.Random(5)
    left = 0
    for moment in range(MANY):
        bundle(lasts_s * (moment + chance.random()) / MANY)
        assert names_in(out) in ({"mine"}, whole)
        left += names_in(out) == {"mine"}
    assert left
    _, disk = desk.made(tree, *more, "-d", "out", "--force")
    assert "boot/grub/stage2" in see_disk(disk)
    assert {path.name for path in out.iterdir()} == whole


def names_in(folder: Path) -> set[str]:
    """Return what is in a folder but what is made aside there."""
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if not name.startswith(".imgforge-aside")}
