"""Runs of pytest on real machines: how each outcome ends, is told, and what is left of it."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from imgforge.command import run
from tests.boot.command_line import Ended, Room
from tests.boot.conftest import Workshop

pytestmark = pytest.mark.boot

_TESTS = """
import os
import signal
from pathlib import Path

COUNT = Path(__file__).with_name("count")


def test_passes(machine):
    assert machine.succeed("echo hello") == "hello\\n"


def test_image_is_wrong(machine):
    machine.succeed("echo before; ls /nonexistent")


def test_assertion(shared_machine):
    assert shared_machine.succeed("id -un") == "nobody\\n"


def test_harness(machine):
    os.kill(machine._live.witness.machine.pid, signal.SIGKILL)
    machine.succeed("true")


def test_flaky(machine):
    with COUNT.open("a") as file:
        file.write("x")
    machine.succeed("true" if len(COUNT.read_text()) > 1 else "echo for the first time; false")


def test_known(machine):
    machine.succeed("grep -q penguin /etc/motd")


def test_mended(shared_machine):
    shared_machine.succeed("true")
"""
_ONLY_HARNESS = """
import os
import signal


def test_passes(machine):
    machine.succeed("true")


def test_worker_dies(machine):
    machine.succeed("echo last words")
    os.kill(os.getpid(), signal.SIGKILL)
"""
_ASKED_WRONGLY = """
import time
import pytest


def told(act, *words, **options):
    began = time.monotonic()
    with pytest.raises(Exception) as caught:
        act(*words, **options)
    assert time.monotonic() - began < 30
    return f"{type(caught.value).__name__}: {caught.value}"


def test_no_systemd(machine):
    said = told(machine.wait_for_unit, "nginx.service", timeout_s=600)
    assert said.startswith("ImageFailure: Unit nginx.service: the image has no systemd"), said


@pytest.mark.parametrize("size", [0, -1, 65537])
def test_volumes_that_are_none(machine, size):
    said = told(machine.attach_volume, size)
    assert said == f"ValueError: attach_volume: a volume has 1 to 65536 GiB, not {size}"
    machine.attach_volume(1)
    machine.wait_until_succeeds("test -b /dev/vdb")


def test_commands_that_are_none(machine):
    for run in (machine.succeed, machine.run, machine.ssh.run):
        assert told(run, "a" + chr(0)).startswith("ValueError: a command with a NUL")
        assert told(run, "x" * 200_000).startswith("ValueError: a command of 200000 bytes")
        assert told(run, "true", timeout_s=0.2).startswith("ValueError: timeout_s=0.2")


def test_a_fraction_is_rounded_up(machine):
    machine.succeed("sleep 1.4", timeout_s=1.2)


def test_nul(machine):
    machine.succeed("a" + chr(0))
"""
_QUARANTINE = """
[[quarantine]]
test = "*::test_known"
reason = "issue 12"
expires = 2999-12-31

[[quarantine]]
test = "*::test_mended"
reason = "issue 13"
expires = 2999-12-31

[[quarantine]]
test = "*::test_image_*"
reason = "issue 14"
expires = 2001-12-31
"""


def run_pytest(room: Room, tests: str, *words: str | Path) -> Ended:
    folder = room.folder / "tests"
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(tests, encoding="utf-8")
    plain = ("-p", "no:cacheprovider", "--rootdir", folder, "--evidence", room.out, folder)
    with room.start(*plain, *words, module="pytest") as running:
        return running.wait()


def section(text: str, title: str) -> str:
    """Return what stands below a heading of pytest's, up to the next."""
    _, found, below = text.partition(title)
    assert found, text
    return below.partition("\n===")[0].partition("\n")[2]


def folders(room: Room, test: str) -> list[Path]:
    return sorted(path.parent for path in room.out.glob(f"*{test}*/machine.json"))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_each_way_to_end_is_told_apart(
    workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = room.folder / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    quarantine = room.folder / "quarantine.toml"
    quarantine.write_text(_QUARANTINE, encoding="utf-8")
    words = ("--image", workshop.partitioned_disk, "-n", "2")
    ended = run_pytest(room, _TESTS, *words, "--rerun-failed", "--quarantine", quarantine)

    said = ended.stdout
    assert ended.exit_code == 1, said + ended.stderr
    for count in ("2 failed", "2 passed", "1 harness", "1 flaky", "1 quarantined", "5 rerun"):
        assert count in said.splitlines()[-1]
    harness = section(said, "HARNESS: the host or imgforge failed, not the image")
    assert "test_it.py:23: in test_harness" in harness
    assert "qemu-died" in harness
    assert "test_flaky" in section(said, "FLAKY: failed, and passed when run again")
    known = section(said, "QUARANTINED: failed, not counted")
    assert "test_known: issue 12 (until 2999-12-31)" in known
    warned = section(said, "imgforge warns")
    assert "issue 13): it passes: take it out." in warned
    assert "issue 14): expired on 2001-12-31: it counts no more." in warned
    # Only the tests' own lines.
    for word in ("imgforge/testing/", "concurrent/futures", "asyncio"):
        assert word not in said
    assert "report: " in said.splitlines()[-2]

    cases = {case.get("name"): case for case in ET.parse(room.out / "junit.xml").iter("testcase")}
    kinds = {name: [child.tag for child in case] for name, case in cases.items()}
    assert kinds == {
        "test_passes": [],
        "test_image_is_wrong": ["failure"],
        "test_assertion": ["failure"],
        "test_harness": ["error"],
        "test_flaky": ["flakyFailure"],
        "test_known": ["skipped"],
        "test_mended": [],
    }
    page = (room.out / "report.html").read_text(encoding="utf-8")
    assert page.count("issue 12") == 1
    assert "first boot of minimal-hvm-mbr.raw" in page
    assert "data:image/png" in page
    assert "1 failed: harness, 1 flaky, 1 quarantined" in summary.read_text(encoding="utf-8")

    (passed,) = folders(room, "test_passes")
    always = {"machine.json", "console.log", "metadata.jsonl", "commands.jsonl"}
    assert always <= names_in(passed)
    assert not {"failure.txt", "screen.png", "replay"} & names_in(passed)
    wrong = folders(room, "test_image_is_wrong")
    assert len(wrong) == 2  # it was run again
    assert always | {"failure.txt", "screen.png", "replay"} <= names_in(wrong[0])
    command = json.loads((wrong[0] / "commands.jsonl").read_text(encoding="ascii"))
    assert command["status"] == 1
    assert command["output"].startswith("before\nls: /nonexistent")
    (history,) = (room.folder / "data").rglob("minimal.jsonl")
    assert len(history.read_text(encoding="ascii").splitlines()) == 1


def test_a_worker_that_dies_is_the_harness_and_the_others_are_told(
    workshop: Workshop, room: Room
) -> None:
    ended = run_pytest(room, _ONLY_HARNESS, "--image", workshop.partitioned_disk, "-n", "2")
    assert ended.exit_code == 3, ended.stdout + ended.stderr
    assert "1 passed, 1 harness" in ended.stdout.splitlines()[-1]
    assert "crashed while running" in ended.stdout
    page = (room.out / "report.html").read_text(encoding="utf-8")
    assert "test_passes" in page
    assert "test_worker_dies" in page
    (killed,) = folders(room, "test_worker_dies")
    command = json.loads((killed / "commands.jsonl").read_text(encoding="ascii"))
    assert (command["status"], command["output"]) == (0, "last words")
    assert "echo last words" in page


def test_what_is_asked_wrongly_is_told_plainly_and_at_once(workshop: Workshop, room: Room) -> None:
    ended = run_pytest(room, _ASKED_WRONGLY, "--image", workshop.partitioned_disk, "-n", "2")
    assert "1 failed, 6 passed" in ended.stdout.splitlines()[-1], ended.stdout
    assert ended.exit_code == 1  # as pytest ends where a test is wrong
    assert "ValueError: a command with a NUL in it" in ended.stdout
    assert "HARNESS" not in ended.stdout


def test_the_last_ten_lines_say_why_an_image_does_not_boot(workshop: Workshop, room: Room) -> None:
    disk = room.folder / "broken.raw"
    subprocess.run(["cp", "--sparse=always", workshop.partitioned_disk, disk], check=True)
    removed = ["-w", "-R", "rm /boot/initrd.img", f"{disk}?offset=1048576"]
    run("debugfs", removed)
    tests = (
        "def test_a(machine):\n    machine.succeed('true')\n\n\n"
        "def test_b(shared_machine):\n    shared_machine.succeed('true')\n"
    )
    ended = run_pytest(room, tests, "--image", disk)

    assert ended.exit_code == 1, ended.stdout + ended.stderr
    assert "2 failed" in ended.stdout.splitlines()[-1]
    last = "\n".join(ended.stdout.splitlines()[-10:])
    # As it is seen from where pytest was started.
    assert "test_it.py::test_a (and 1 more for the same reason)" in last
    assert "Rejected at stage bootloader: GRUB Legacy stopped with error 15" in last
    assert "Sign grub-error. Check the paths of `kernel` and `initrd` in menu.lst" in last
    assert ended.stdout.count("The console around it:") == 1
    assert " in boot" not in ended.stdout
    (first,) = (room.out / "first-boots").iterdir()
    assert {"boots.jsonl", "console.log", "screen.png", "failure.txt"} <= names_in(first)


def test_what_starts_no_machine_touches_no_folder(workshop: Workshop, room: Room) -> None:
    tests = "def test_a(machine):\n    pass\n"
    words = ("--image", workshop.partitioned_disk)
    assert run_pytest(room, tests, *words, "--collect-only").exit_code == 0
    assert run_pytest(room, "def test_a():\n    pass\n", "-p", "no:imgforge").exit_code == 4
    assert run_pytest(room, tests).exit_code == 2
    assert run_pytest(room, tests, "--rerun-failed").exit_code == 4
    bad = room.folder / "bad.toml"
    bad.write_text('[[quarantine]]\ntest = "a"\n', encoding="utf-8")
    ended = run_pytest(room, tests, *words, "--quarantine", bad)
    assert ended.exit_code == 4
    assert f"{bad}:1: 'quarantine[0].reason' is missing" in ended.stderr
    assert not room.out.exists()
