"""A test run that is killed, interrupted or out of room leaves no process, lock or reservation."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.places import reserve
from tests.boot.command_line import Room
from tests.boot.conftest import Workshop
from tests.boot.test_goes_wrong_host import left, on_small_disk

pytestmark = pytest.mark.boot

_WAIT_S = 120.0
_SLEEPERS = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range(4))
def test_sleeps(machine, number):
    machine.succeed("true")
    pathlib.Path({folder!r}, f"up-{{number}}").touch()
    if pathlib.Path({folder!r}, "sleep").exists():
        machine.succeed("sleep 600", timeout_s=700)
"""


def write_tests(room: Room, *, sleeps: bool) -> Path:
    folder = room.folder / "tests"
    folder.mkdir(exist_ok=True)
    (folder / "test_sleep.py").write_text(_SLEEPERS.format(folder=str(folder)), encoding="utf-8")
    if sleeps:
        (folder / "sleep").touch()
    else:
        (folder / "sleep").unlink()
    return folder


def words(workshop: Workshop, room: Room, folder: Path) -> list[str | Path]:
    plain = ["-q", "-p", "no:cacheprovider", "-n", "2", "--rootdir", str(folder)]
    return [*plain, "--image", workshop.disk, "--evidence", room.folder / "evidence", folder]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {_WAIT_S:g} s: {what}"
        time.sleep(0.05)


def names(room: Room, word: str) -> list[int]:
    """Return the ids of the room's processes whose program has a word in its name."""
    mark = f"HOME={room.home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0") and (
                word.encode() in (folder / "cmdline").read_bytes().partition(b"\0")[0]
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def assert_all_places_are_free(room: Room) -> None:
    folder = room.runtime / f"imgforge-places-{os.geteuid()}"
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    # More than half: two could not have it.
    with reserve(memory_bytes=total * 6 // 10, limit_s=5, folder=folder):
        pass


def test_a_worker_that_is_killed_takes_its_machine_along_and_the_run_tells_it(
    workshop: Workshop, room: Room
) -> None:
    folder = write_tests(room, sleeps=True)
    with room.start(*words(workshop, room, folder), module="pytest") as running:
        until(lambda: len(list(folder.glob("up-*"))) == 2, "two machines are up")
        machines = names(room, "qemu-system")
        assert len(machines) == 2
        worker = int(Path(f"/proc/{machines[0]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(worker, signal.SIGKILL)
        until(lambda: machines[0] not in names(room, "qemu-system"), "the machine is gone")
        write_tests(room, sleeps=False)  # of no effect on those that have begun
        os.kill(machines[1], signal.SIGKILL)
        ended = running.wait()
    assert ended.exit_code == 3, ended.stdout
    assert "crashed" in ended.stdout
    assert "HARNESS" in ended.stdout
    assert "2 passed" in ended.stdout
    room.assert_no_process_is_left()
    assert_all_places_are_free(room)
    with room.start(*words(workshop, room, folder), module="pytest") as running:
        assert "4 passed" in running.wait().stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_nothing_and_the_next_one_works(
    workshop: Workshop, room: Room, number: signal.Signals
) -> None:
    folder = write_tests(room, sleeps=True)
    with room.start(*words(workshop, room, folder), module="pytest") as running:
        until(lambda: len(list(folder.glob("up-*"))) == 2, "two machines are up")
        running.process.send_signal(number)
        running.process.wait(60)
    until(lambda: not room.processes(), "no process is left")
    assert_all_places_are_free(room)
    folder = write_tests(room, sleeps=False)
    with room.start(*words(workshop, room, folder), module="pytest") as running:
        ended = running.wait()
    assert ended.exit_code == 0, ended.stdout
    assert "4 passed" in ended.stdout


def test_a_disk_full_under_a_machine_is_the_hosts_failure(workshop: Workshop, room: Room) -> None:
    folder = room.folder / "tests"
    folder.mkdir()
    (folder / "test_fill.py").write_text(
        "def test_fills(machine):\n"
        "    machine.run('dd if=/dev/urandom of=/fill bs=64k count=200; sync')\n"
    )
    place = room.folder / "evidence"
    plain: list[str | Path] = ["-q", "-p", "no:cacheprovider", "--rootdir", folder]
    image = ["--image", str(workshop.disk), "--evidence", str(place / "e")]
    before = on_small_disk("3m", place)
    attempt = [*on_small_disk("64k", room.folder / "probe"), "true"]
    if subprocess.run(attempt, capture_output=True, check=False).returncode:
        pytest.skip("unprivileged user and mount namespaces are missing here")
    with room.start(*plain, *image, folder, before=before, module="pytest") as running:
        ended = running.wait()
    assert ended.exit_code == 3, ended.stdout + ended.stderr
    assert "HARNESS" in ended.stdout
    assert not [path for path in left(ended) if "aside" in path]


@pytest.mark.slow
def test_a_hundred_tests_in_a_row_have_not_one_flake(workshop: Workshop, room: Room) -> None:
    folder = room.folder / "tests"
    folder.mkdir()
    (folder / "test_hundred.py").write_text(
        "import pytest\n\n\n"
        "@pytest.mark.parametrize('number', range(100))\n"
        "def test_answers(machine, number):\n"
        "    assert machine.succeed(f'echo {number} >/root/x; cat /root/x') == f'{number}\\n'\n"
        "    if number % 10 == 0:\n"
        "        assert machine.ssh.succeed('id -un') == 'root\\n'\n"
    )
    with room.start(*words(workshop, room, folder), module="pytest") as running:
        ended = running.wait(1200)
    assert ended.exit_code == 0, ended.stdout
    assert "100 passed" in ended.stdout
    requests = list((room.folder / "evidence").glob("*/metadata.jsonl"))
    assert len(requests) == 100
    assert all(json.loads(line) for path in requests for line in path.read_text().splitlines())
