"""The door to programs, with real ones."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from imgforge.command import Setting, Streams, find_program, run, spawn
from imgforge.errors import CommandError, ExitCode, MissingProgramError

# Starts a shell that starts a sleep; writes both pids, which the parent finds in the file named.
FAMILY = "sleep 60 & echo $$ $! >'{}'; wait"


@contextmanager
def raising_after(seconds: float) -> Iterator[None]:
    """Interrupt the block as Ctrl-C would, after `seconds`."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_running(pid: int) -> bool:
    """Tell whether `pid` runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_gone(pid: int, limit_s: float = 5) -> bool:
    deadline = time.monotonic() + limit_s
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


def read_when_written(path: Path, limit_s: float = 10) -> str:
    deadline = time.monotonic() + limit_s
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)
    return path.read_text()


def test_gives_output_exit_code_and_a_line_to_repeat_it() -> None:
    done = run("sh", ["-c", "printf 'a\\0\\377'; echo oops >&2"])
    assert (done.stdout, done.stderr, done.exit_code) == (b"a\0\xff", b"oops\n", 0)
    assert subprocess.run(done.line, shell=True, check=True, capture_output=True).stdout == (
        done.stdout
    )


def test_a_failure_shows_the_line_and_the_end_of_stderr() -> None:
    with pytest.raises(CommandError) as caught:
        run("sh", ["-c", "for i in $(seq 50); do echo line $i >&2; done; exit 7"])
    said = str(caught.value)
    assert "sh failed with exit code 7" in said
    assert "sh -c 'for i in" in said
    assert "  line 50" in said
    assert "  line 39\n" in said
    assert "line 38" not in said
    assert caught.value.exit_code == ExitCode.HOST_OR_TOOL


def test_a_failure_without_a_word_says_so() -> None:
    with pytest.raises(CommandError, match="it said nothing on stderr"):
        run("false", [])


def test_exit_codes_that_are_accepted_are_no_failure() -> None:
    assert run("sh", ["-c", "exit 3"], accepted_exit_codes=(0, 3)).exit_code == 3
    with pytest.raises(CommandError):
        run("true", [], accepted_exit_codes=(1,))


def test_a_signal_is_told_by_its_name() -> None:
    with pytest.raises(CommandError, match="was ended by SIGTERM"):
        run("sh", ["-c", "kill -TERM $$"])


def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    hostile = ["a b", "$(touch x)", "'", '"', "*", "-n", "ä\n", ""]
    done = run("printf", ["%s\\0", *hostile], setting=Setting(cwd=tmp_path))
    assert done.stdout.decode().split("\0")[:-1] == hostile
    assert not list(tmp_path.iterdir())


def test_a_missing_program_names_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgforge.host._SYSTEM_PATH", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingProgramError, match="runs the machine") as caught:
        run("qemu-system-x86_64", ["--version"])
    assert "qemu-system-x86 (Debian" in caught.value.hint
    assert "scripts/setup" in caught.value.hint
    assert caught.value.exit_code == ExitCode.HOST_OR_TOOL


def test_a_program_nobody_knows_is_missing_too() -> None:
    with pytest.raises(MissingProgramError, match="Program no-such-program"):
        find_program("no-such-program")


def test_a_file_that_cannot_be_run_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-such-program").write_text("#!/bin/sh\n")
    (tmp_path / "no-such-program").chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError):
        find_program("no-such-program")


def test_a_program_that_cannot_start_is_a_failure_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken-program").write_bytes(b"\x7fELF garbage")
    (tmp_path / "broken-program").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="broken-program"):
        run("broken-program", [], timeout_s=10)


def test_the_time_limit_ends_the_whole_family(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    started = time.monotonic()
    with pytest.raises(CommandError, match="did not end within 1 s"):
        run("sh", ["-c", FAMILY.format(pids)], timeout_s=1)
    assert time.monotonic() - started < 5
    assert all(wait_until_gone(int(pid)) for pid in pids.read_text().split())


def test_the_time_limit_ends_one_that_ignores_sigterm() -> None:
    started = time.monotonic()
    with pytest.raises(CommandError, match="did not end within"):
        run("sh", ["-c", "trap '' TERM INT HUP; while :; do sleep 1; done"], timeout_s=0.5)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("timeout_s", [None, 20])
def test_what_a_program_leaves_in_the_background_ends_with_it(
    tmp_path: Path, timeout_s: float | None
) -> None:
    pids = tmp_path / "pids"
    started = time.monotonic()
    done = run("sh", ["-c", f"sleep 60 & echo $! >'{pids}'; echo done"], timeout_s=timeout_s)
    assert done.stdout == b"done\n"
    assert time.monotonic() - started < 10
    assert wait_until_gone(int(pids.read_text()))


def test_an_interrupt_ends_the_whole_family(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(KeyboardInterrupt), raising_after(0.5):
        run("sh", ["-c", FAMILY.format(pids)], timeout_s=30)
    assert all(wait_until_gone(int(pid)) for pid in pids.read_text().split())


def test_what_was_spawned_can_be_waited_for_and_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    process = spawn("sh", ["-c", FAMILY.format(pids)])
    family = [int(pid) for pid in read_when_written(pids).split()]
    assert process.is_alive()
    assert process.pid == family[0] == os.getpgid(family[0]) == os.getsid(family[0])
    with pytest.raises(TimeoutError, match=r"still running after 0\.1 s"):
        process.wait(0.1)
    process.kill()
    assert not process.is_alive()
    assert process.wait() == -signal.SIGKILL
    assert all(wait_until_gone(pid) for pid in family)
    process.kill()  # once more is no harm


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_dies_with_its_parent(tmp_path: Path, way: signal.Signals) -> None:
    pids = tmp_path / "pids"
    script = f"""
        from imgforge.command import run
        run("sh", ["-c", "echo $$ >'{pids}'; exec sleep 60"])
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        child = int(read_when_written(pids))
        assert is_running(child)
    finally:
        parent.send_signal(way)
        parent.wait(10)
    assert wait_until_gone(child)


def test_the_child_knows_nothing_that_could_change_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LD_PRELOAD", "TZ", "LANGUAGE", "LC_ALL", "MKE2FS_CONFIG", "SOURCE_DATE_EPOCH"):
        monkeypatch.setenv(name, "hostile")
    monkeypatch.setenv("HOME", "/a home")
    done = run("env", [], setting=Setting(environment={"OWN": "1"}))
    seen = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["TZ"] == "UTC"
    assert seen["HOME"] == "/a home"
    assert seen["OWN"] == "1"
    assert not seen.keys() & {"LD_PRELOAD", "LANGUAGE", "MKE2FS_CONFIG", "SOURCE_DATE_EPOCH"}


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_the_child_has_one_umask_whatever_ours_is(mask: int) -> None:
    before = os.umask(mask)
    try:
        assert int(run("sh", ["-c", "umask"]).stdout, 8) == 0o022
    finally:
        os.umask(before)


def test_the_child_gets_no_descriptor_it_was_not_given() -> None:
    ours, given = os.pipe()
    os.set_inheritable(ours, True)
    try:
        script = f"ls /proc/$$/fd; echo hello >/proc/self/fd/{given}"
        done = run("sh", ["-c", script], setting=Setting(pass_fds=(given,)))
        assert {int(line) for line in done.stdout.split()} == {0, 1, 2, given}
        assert os.read(ours, 10) == b"hello\n"
    finally:
        os.close(ours)
        os.close(given)


def test_runs_where_it_is_told(tmp_path: Path) -> None:
    assert run("pwd", [], setting=Setting(cwd=tmp_path)).stdout.decode() == f"{tmp_path}\n"


def test_output_goes_into_a_file_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        done = run("sh", ["-c", "printf 'a\\0\\377\\n'"], streams=Streams(stdout=file))
    assert path.read_bytes() == b"a\0\xff\n"
    assert done.stdout == b""


def test_input_reaches_the_program_and_ends() -> None:
    everything = bytes(range(256)) * 4096
    assert run("cat", [], streams=Streams(stdin=everything), timeout_s=30).stdout == everything
    assert run("cat", [], timeout_s=10).stdout == b""


def test_a_program_that_does_not_read_its_input_is_no_failure() -> None:
    assert run("true", [], streams=Streams(stdin=bytes(2**20)), timeout_s=30).exit_code == 0


def test_much_output_on_both_streams_neither_blocks_nor_is_lost() -> None:
    script = "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2"
    done = run("sh", ["-c", script], timeout_s=60)
    assert (len(done.stdout), len(done.stderr)) == (5_000_000, 5_000_000)


def test_with_a_time_limit_the_last_of_the_output_is_there() -> None:
    for _ in range(30):
        assert run("echo", ["last"], timeout_s=10).stdout == b"last\n"


def test_lines_of_stderr_are_seen_as_they_come_and_kept() -> None:
    seen: list[str] = []
    script = "echo one >&2; printf 'two\\377' >&2"
    done = run("sh", ["-c", script], streams=Streams(on_stderr=seen.append), timeout_s=10)
    assert "".join(seen).splitlines() == ["one", "two\ufffd"]
    assert done.stderr == b"one\ntwo\xff"


def test_a_programs_end_is_waited_for_while_the_loop_goes_on() -> None:
    process = spawn("sleep", ["60"])

    async def wait() -> None:
        with pytest.raises(TimeoutError, match=r"still running after 0\.05 s: .*sleep 60"):
            await process.gone(0.05)
        process.end_family()
        await process.gone(10)

    asyncio.run(wait())
    assert process.wait(10) == -signal.SIGKILL
    asyncio.run(process.gone(0))
