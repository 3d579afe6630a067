"""Forking: a clone's first command, and forty tests, against cold boots of the same disk."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.figure import Figure, by_turns, seconds
from benchmarks.product import imgforge
from imgforge import host
from imgforge.command import Setting, run
from imgforge.disk import Disk, open_disk
from imgforge.layout import Layout
from imgforge.machine import AcceleratorWish
from imgforge.pv_way import DIRECTLY, PvWay, PvWish
from imgforge.recipe_file import load_recipe
from imgforge.start import pick_accelerator
from imgforge.testing.forge import SETTLE, Forge
from imgforge.testing.live import LiveInstance
from imgforge.testing.loop_thread import LoopThread
from imgforge.testing.plan import Image, Plan, Start

_TESTS = 40
_LIMIT_S = 3600.0


def measure_fork(recipe: Path, *, times: int, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure a clone, from asking for it to its first command's answer, against a cold boot.

    The cold boot goes to the point at which machines are frozen. A clone is to be `times` faster.
    """
    disk = build_disk(recipe, scratch)
    machines = _Machines(disk, scratch)
    with machines.loop:
        machines.first_command(Start.FORK)  # makes the frozen machine
        clones, cold = by_turns(
            lambda: machines.first_command(Start.FORK),
            lambda: machines.first_command(Start.COLD),
            runs=runs,
        )
    name = load_recipe(recipe).recipe.name
    words = "a clone's first command / a cold boot's, to the point where clones begin"
    yield Figure(f"fork: {name}", 1 / times, clones, cold, words)


def measure_forty(recipe: Path, *, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure forty tests by two workers, freezing included, against two cold boots in a row."""
    disk = build_disk(recipe, scratch)
    machines = _Machines(disk, scratch)
    file = scratch / "test_forty.py"
    file.write_text(
        "import pytest\n\n\n"
        f"@pytest.mark.parametrize('number', range({_TESTS}))\n"
        "def test_answers(machine, number):\n"
        "    assert machine.succeed(f'echo {number}') == f'{number}\\n'\n"
    )

    def forty() -> float:
        cache = scratch / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        (cache / "accelerator").symlink_to(host.cache_dir() / "accelerator")
        words: list[str | Path] = ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", file]
        words += ["--image", disk.path, "--evidence", scratch / "evidence"]
        setting = Setting(environment={"IMGFORGE_CACHE": str(cache)}, cwd=scratch)
        return run(sys.executable, words, setting=setting, timeout_s=_LIMIT_S).seconds

    def two_boots() -> float:
        return sum(machines.first_command(Start.COLD) for _ in range(2))

    with machines.loop:
        measured, base = by_turns(forty, two_boots, runs=runs)
    name = load_recipe(recipe).recipe.name
    words = f"{_TESTS} tests with -n 2, freezing included / two cold boots in a row"
    yield Figure(f"forty: {name}", 1.0, measured, base, words)


def measure_pv_fork(recipe: Path, *, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure a test on a clone of a genuine PV guest against one on a clone of an HVM guest.

    Each is a clone's way from being asked for to its end, with two commands between.
    """
    pv, hvm = (build_disk(recipe, scratch, layout=layout) for layout in (Layout.PV, Layout.HVM_MBR))
    under_xen = _Machines(pv, scratch / "xen", pv=PvWish(PvWay.XEN_GRUB))
    bare = _Machines(hvm, scratch / "hvm")
    with under_xen.loop, bare.loop:
        for machines in (under_xen, bare):
            machines.test()  # makes the frozen machine
        measured, base = by_turns(under_xen.test, bare.test, runs=runs)
    name = load_recipe(recipe).recipe.name
    words = "a test on a clone under Xen / a test on a clone of the hvm-mbr disk"
    yield Figure(f"pv-fork: {name}", 2.0, measured, base, words)


class _Machines:
    """Machines of one disk, clones and cold ones."""

    def __init__(self, disk: Disk, scratch: Path, *, pv: PvWish = DIRECTLY) -> None:
        self.loop = LoopThread()
        self._forge = Forge(scratch / "first-boots")
        self._evidence = scratch / "machine"
        assert disk.recipe is not None
        self._plan = Plan(
            image=Image(disk, disk.recipe.expect),
            accelerator=pick_accelerator(AcceleratorWish.AUTO),
            pv=pv,
        )

    def test(self) -> float:
        """Return the seconds for a clone, two commands in it, and its end."""

        async def use() -> None:
            async with AsyncExitStack() as stack:
                live = await self._answer(stack, Start.FORK)
                assert (await live.shell().run("exit 3", timeout_s=60)).exit_code == 3

        shutil.rmtree(self._evidence, ignore_errors=True)
        return seconds(lambda: self.loop.call(use()))

    def first_command(self, start: Start) -> float:
        """Return the seconds until a machine answered a command; it is ended afterwards."""
        stack = AsyncExitStack()
        shutil.rmtree(self._evidence, ignore_errors=True)
        try:
            return seconds(lambda: self.loop.call(self._answer(stack, start)))
        finally:
            self.loop.call(stack.aclose())

    async def _answer(self, stack: AsyncExitStack, start: Start) -> LiveInstance:
        plan = replace(self._plan, start=start)
        live = await stack.enter_async_context(self._forge.machine(plan, self._evidence))
        if start is Start.COLD:
            await live.shell().run(SETTLE, timeout_s=_LIMIT_S)
        done = await live.shell().run("echo here", timeout_s=60)
        assert done.stdout == "here\n"
        return live


def build_disk(recipe: Path, scratch: Path, *, layout: Layout | None = None) -> Disk:
    """Build a layout of a recipe, or its first, and return its disk."""
    layout = layout or load_recipe(recipe).recipe.disk.layouts[0]
    imgforge("build", recipe, "--layout", layout, "--out", scratch / "disks", scratch=scratch)
    return open_disk(scratch / "disks" / f"{load_recipe(recipe).recipe.name}-{layout}.raw")
