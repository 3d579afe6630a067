"""Booting: one disk to the login, and the whole of `make test-boot`, against bare boots."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.bare_boot import bare_boot
from benchmarks.figure import Figure, by_turns, seconds
from benchmarks.product import imgforge, seconds_to
from imgforge.acceptance import new_login
from imgforge.disk import Disk, open_disk
from imgforge.layout import Layout
from imgforge.machine import AcceleratorWish
from imgforge.pv_way import PvWay
from imgforge.recipe_file import load_recipe
from imgforge.start import find_start, pick_accelerator

_AT_A_TIME = 2
_LET_IN = "boot: ssh after"


def measure_harness(recipe: Path, *, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure `imgforge test DISK`, from its process's start to the login, against a bare boot."""
    disk = _build(recipe, scratch)[0]
    bare = _Bare(recipe, [disk], scratch)

    def test() -> float:
        words = ("test", disk.path, "--suite", "none", "--out", scratch / "evidence")
        return seconds_to(_LET_IN, *words, scratch=scratch)

    measured, base = by_turns(test, lambda: bare.boot(disk), runs=runs)
    name = load_recipe(recipe).recipe.name
    words = "`imgforge test` to the login / QEMU and ssh to the login"
    yield Figure(f"harness: {name} {disk.layout}", 1.10, measured, base, words)


def measure_test_boot(recipe: Path, *, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure `imgforge run` with everything cached but the disks, against their bare boots."""
    disks = _build(recipe, scratch)
    bare = _Bare(recipe, disks, scratch)
    fresh = scratch / "run"

    def run_all() -> float:
        shutil.rmtree(fresh, ignore_errors=True)
        return imgforge("run", recipe, "--out", fresh, "--pv-boot", "direct", scratch=scratch)

    def boot_all() -> float:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return seconds(lambda: list(pool.map(bare.boot, disks)))

    measured, base = by_turns(run_all, boot_all, runs=runs)
    words = f"`imgforge run` / {len(disks)} bare boots to the login, two at a time"
    yield Figure(f"test-boot: {load_recipe(recipe).recipe.name}", 1.25, measured, base, words)


def measure_pv(recipe: Path, *, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure a genuine PV boot to the login, from the process's start, against the direct one."""
    disk = next(disk for disk in _build(recipe, scratch) if disk.layout is Layout.PV)

    def test(way: PvWay) -> float:
        out = scratch / f"evidence-{way}"
        words = ("test", disk.path, "--suite", "none", "--pv-boot", way.value, "--out", out)
        return seconds_to(_LET_IN, *words, scratch=scratch)

    test(PvWay.XEN_GRUB)  # the first one may make the appliance
    for way, limit in ((PvWay.XEN_GRUB, 4.0), (PvWay.XEN_DIRECT, None)):
        measured, base = by_turns(partial(test, way), partial(test, PvWay.DIRECT), runs=runs)
        words = f"`imgforge test --pv-boot {way}` to the login / `--pv-boot direct`"
        yield Figure(f"{way}: {load_recipe(recipe).recipe.name}", limit, measured, base, words)


class _Bare:
    """What bare boots of some disks need, made ready before anything is measured."""

    def __init__(self, recipe: Path, disks: list[Disk], scratch: Path) -> None:
        user = load_recipe(recipe).recipe.expect.login_user
        self._login = new_login(scratch / "login", user=user)
        self._accelerator = pick_accelerator(AcceleratorWish.AUTO)
        self._starts = {}
        for disk in disks:
            folder = scratch / f"kernel-{disk.layout}"
            folder.mkdir()
            self._starts[disk.path] = find_start(disk, folder)

    def boot(self, disk: Disk) -> float:
        start = self._starts[disk.path]
        return bare_boot(disk, start, accelerator=self._accelerator, login=self._login)


def _build(recipe: Path, scratch: Path) -> list[Disk]:
    imgforge("build", recipe, "--out", scratch / "disks", scratch=scratch)
    recipe_part = load_recipe(recipe).recipe
    return [
        open_disk(scratch / "disks" / f"{recipe_part.name}-{layout}.raw")
        for layout in recipe_part.disk.layouts
    ]
