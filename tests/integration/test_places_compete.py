"""Several processes compete for the places of one host."""

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from imgforge import host
from imgforge.errors import HostError
from imgforge.places import reserve

# Two of these never fit, whatever else runs.
MOST = host.memory().total_bytes * 6 // 10
HOLD = """
    import sys, time
    from pathlib import Path
    from imgforge.places import reserve
    with reserve(memory_bytes=int(sys.argv[2]), limit_s=60, processors=0, folder=Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
"""
# Each says when it came in and when it goes; nobody may be in between.
COUNT = """
    import os, sys
    from pathlib import Path
    from imgforge.places import reserve
    folder, log = Path(sys.argv[1]), os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND)
    for _ in range(5):
        with reserve(memory_bytes=int(sys.argv[2]), limit_s=60, processors=0, folder=folder):
            os.write(log, b"in\\n")
            os.write(log, b"out\\n")
"""


def start(script: str, *words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def holds(process: "subprocess.Popen[str]", *, within_s: float) -> bool:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], within_s)
    return bool(readable) and process.stdout.readline() == "held\n"


def count(folder: Path) -> int:
    return len(list(folder.iterdir()))


def wait_for_two(folder: Path) -> None:
    end_s = time.monotonic() + 20
    while count(folder) < 2:
        assert time.monotonic() < end_s, "nobody lined up"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "places"


def test_processes_that_do_not_fit_together_take_turns(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    processes = [start(COUNT, folder, MOST, log) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert log.read_text().split() == ["in", "out"] * 20
    assert list(folder.iterdir()) == []


def test_a_holder_that_is_killed_frees_its_place(folder: Path) -> None:
    first = start(HOLD, folder, MOST)
    assert holds(first, within_s=20)
    second = start(HOLD, folder, MOST)
    assert not holds(second, within_s=1)
    first.kill()
    assert holds(second, within_s=20)
    second.communicate(timeout=20)
    first.communicate(timeout=20)
    assert list(folder.iterdir()) == []


def test_one_who_waits_and_is_killed_is_not_waited_for(folder: Path) -> None:
    with reserve(memory_bytes=MOST, limit_s=1, processors=0, folder=folder):
        waiting = start(HOLD, folder, MOST)
        wait_for_two(folder)
        waiting.kill()
        waiting.communicate(timeout=20)
        with reserve(memory_bytes=1, limit_s=5, processors=0, folder=folder):
            assert len(list(folder.iterdir())) == 2


def test_who_came_first_is_first_even_where_a_later_one_is_small(folder: Path) -> None:
    with reserve(memory_bytes=MOST, limit_s=1, processors=0, folder=folder):
        big = start(HOLD, folder, MOST)
        wait_for_two(folder)
        with pytest.raises(HostError, match="1 asked earlier"):
            reserve(memory_bytes=1, limit_s=0.5, processors=0, folder=folder).__enter__()
    assert holds(big, within_s=20)
    big.communicate(timeout=20)


def test_a_limit_that_passes_says_what_was_needed_and_who_is_in_the_way(folder: Path) -> None:
    holder = start(HOLD, folder, MOST)
    assert holds(holder, within_s=20)
    with pytest.raises(HostError) as failed:
        reserve(memory_bytes=MOST, limit_s=0.3, folder=folder).__enter__()
    told = str(failed.value)
    assert "No place for a machine within 0.3 s: it needs" in told
    assert "1 place held, with" in told
    assert f"by process {holder.pid}" in told
    assert failed.value.hint
    assert len(list(folder.iterdir())) == 1
    holder.communicate(timeout=20)


def test_a_loop_goes_on_while_one_of_its_tasks_waits(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="imgforge")

    async def wait() -> None:
        async with reserve(memory_bytes=MOST, limit_s=20, processors=0, folder=folder):
            pass

    async def compete() -> int:
        ticks = 0
        async with reserve(memory_bytes=MOST, limit_s=1, processors=0, folder=folder):
            task = asyncio.create_task(wait())
            while "waiting for a place" not in caplog.text:
                ticks += 1
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            assert not task.done()
        await task
        return ticks

    assert asyncio.run(compete()) > 0
    assert caplog.text.count("waiting for a place") == 1
    assert list(folder.iterdir()) == []


def test_a_task_that_is_cancelled_while_it_waits_leaves_the_queue(folder: Path) -> None:
    async def wait() -> None:
        async with reserve(memory_bytes=MOST, limit_s=20, processors=0, folder=folder):
            pytest.fail("there was no place")

    async def cancel() -> None:
        async with reserve(memory_bytes=MOST, limit_s=1, processors=0, folder=folder):
            task = asyncio.create_task(wait())
            await asyncio.to_thread(wait_for_two, folder)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(count, folder) == 1

    asyncio.run(cancel())


def test_a_stopped_holder_keeps_its_place(folder: Path) -> None:
    holder = start(HOLD, folder, MOST)
    assert holds(holder, within_s=20)
    holder.send_signal(signal.SIGSTOP)
    with pytest.raises(HostError):
        reserve(memory_bytes=MOST, limit_s=0.3, processors=0, folder=folder).__enter__()
    holder.send_signal(signal.SIGCONT)
    holder.communicate(timeout=20)


def test_what_programs_below_a_process_take_is_known() -> None:
    script = "import sys; kept = bytearray(b'x' * 64 * 2**20); print('held', flush=True); input()"
    child = start(script)
    assert holds(child, within_s=20)
    assert host.memory_of_children([os.getpid()])[os.getpid()] >= 64 * 2**20
    assert host.memory_of_children([child.pid]) == {child.pid: 0}
    child.communicate(input="\n", timeout=20)
