"""The command line itself: what is typed wrongly, and interruptions at the worst moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A hook of a fork is where a KeyboardInterrupt would be lost, and locks stay taken.
INTERRUPTED_IN_A_FORK = """
import os, signal, sys
from imgforge.command import run
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGINT))
try:
    run("sleep", ["30"])
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(5)
"""


def imgforge(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "imgforge", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["biuld"], "No such command 'biuld'."),
        (["build", "--nope"], "No such option: --nope"),
        (["test"], "Missing argument 'DISK'."),
        (["test", "x", "--accel", "fast"], "'fast' is not one of 'auto', 'kvm', 'tcg'"),
    ],
)
def test_what_is_typed_wrongly_is_bad_input_told_in_words(words: list[str], told: str) -> None:
    ended = imgforge(*words)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "--help" in ended.stderr
    assert "unexpectedly" not in ended.stderr


@pytest.mark.parametrize("command", ["test", "register", "convert"])
def test_a_disk_that_is_not_there_is_bad_input(tmp_path: Path, command: str) -> None:
    more = {"register": ["--unverified"], "convert": ["--to", "qcow2"]}.get(command, [])
    ended = imgforge(command, str(tmp_path / "none.raw"), *more)
    assert ended.returncode == 2
    assert "none.raw: no such file or directory." in ended.stderr


def test_an_interruption_while_a_program_is_started_is_neither_lost_nor_leaves_it(
    tmp_path: Path,
) -> None:
    mark = {**os.environ, "HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_A_FORK],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=mark,
    )
    assert (ended.returncode, ended.stdout) == (5, "interrupted\n"), ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert f"HOME={tmp_path}".encode() not in b"\0".join(_environments()).split(b"\0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_while_python_loads_is_told_in_a_word(number: signal.Signals) -> None:
    # The first module that is loaded once signals are met stands for all of them.
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'imgforge.cli.command_line':\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from imgforge.cli import main\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


def _environments() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


def test_a_reader_that_goes_away_is_no_rejection(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "imgforge", "images"]
    ended = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False, env=environment
    )
    os.close(writing)
    assert ended.returncode == 0
    [line] = ended.stderr.splitlines()  # who answers
    assert b"ec2: imgforge's own" in line


def test_an_output_that_is_full_is_the_hosts_failure(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "imgforge", "images"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
            env=environment,
        )
    assert ended.returncode == 3
    assert b"No space left on device" in ended.stderr
    assert b"unexpectedly" not in ended.stderr


def test_a_place_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    disk = tmp_path / "x.raw"
    disk.write_bytes(bytes(1024))
    ended = imgforge("test", str(disk), "--out", str(taken))
    assert ended.returncode == 3
    assert f"File {taken}: file exists." in ended.stderr
    assert "unexpectedly" not in ended.stderr
