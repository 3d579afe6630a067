"""The minimal guest, whole and broken on purpose, built once for all workers of a test run."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge import host
from imgforge.disk import open_disk
from imgforge.files import locked_folder
from imgforge.machine import Accelerator, AcceleratorKind
from imgforge.recipe import ExpectPart
from imgforge.testing.plan import Image
from tests.boot.command_line import DIRECT_PV, Ended, Room
from tests.boot.wrong_guest import write_overlay

TCG = Accelerator(AcceleratorKind.TCG, "max", "for the test")
GUEST = Path(__file__).parents[2] / "guest"
DEBIAN_EXPECT = ExpectPart(login_user="debian", boot_limit_s=900, silence_limit_s=240)
LOCK_ENDS = (".lock", ".pv.lock")
_KERNEL = '["linux-image-cloud-amd64"]'
_FROM_CACHE = ("accelerator", "apt", "locks", "packages")


@dataclass(frozen=True, slots=True)
class Workshop:
    """Recipes, a cache that shares its packages with the user's, and an accepted disk."""

    folder: Path

    @property
    def cache(self) -> Path:
        """The cache of root trees that go wrong."""
        return self.folder / "cache"

    @property
    def disk(self) -> Path:
        """The minimal guest's pv disk; its verdict is in minimal-pv.test beside it."""
        return self.folder / "good" / "minimal-pv.raw"

    @property
    def partitioned_disk(self) -> Path:
        """The minimal guest's hvm-mbr disk: no verdict is on it."""
        return self.folder / "partitioned" / "minimal-hvm-mbr.raw"

    @property
    def recipe(self) -> Path:
        """The minimal guest's recipe, locked."""
        return self.folder / "minimal.toml"

    @property
    def verdict(self) -> Path:
        """The verdict that accepted `disk`."""
        return self.disk.with_suffix(".test") / "verdict.json"

    def write_recipe(
        self,
        folder: Path,
        *,
        wrong: str = "",
        changes: dict[str, str] | None = None,
        expect: str = "",
    ) -> Path:
        """Write a recipe for a guest that goes wrong in this way, and its lock."""
        text = self.recipe.read_text(encoding="utf-8")
        overlays = f'"{GUEST}/overlays/minimal", "{self.folder}/overlay"'
        replaced = {
            f'"{GUEST}/overlays/minimal"': overlays,
            "panic=-1": f"panic=-1 imgforge.wrong={wrong or 'nothing'}",
            "boot_limit_s = 300\nsilence_limit_s = 90\n": "boot_limit_s = 200\n" + expect,
            **(changes or {}),
        }
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        path = folder / "wrong.toml"
        path.write_text(text, encoding="utf-8")
        for end in LOCK_ENDS:
            shutil.copy(self.recipe.with_name(f"minimal.toml{end}"), folder / f"wrong.toml{end}")
        return path

    def link_cache(self, cache: Path) -> Path:
        """Make a cache without root trees that shares the rest with the user's."""
        cache.mkdir(parents=True)
        for name in _FROM_CACHE:
            shared = host.cache_dir() / name
            shared.mkdir(parents=True, exist_ok=True)
            (cache / name).symlink_to(shared)
        return cache


def _make(workshop: Workshop, room: Room) -> None:
    workshop.link_cache(workshop.cache)
    write_overlay(workshop.folder / "overlay", guest=GUEST)
    recipe = (GUEST / "recipes/minimal.toml").read_text(encoding="utf-8")
    recipe = recipe.replace('"../', f'"{GUEST}/')
    # The kernel of the hvm layouts, by virtio: it unpacks itself in a third of the time.
    recipe = recipe.replace('include_pv = ["linux-image-amd64"]', f"include_pv = {_KERNEL}")
    assert recipe.count(_KERNEL) == 2
    workshop.recipe.write_text(recipe, encoding="utf-8")
    for end in LOCK_ENDS:
        lock = GUEST / "recipes/minimal.toml.lock"
        shutil.copy(lock, workshop.recipe.with_name(f"minimal.toml{end}"))
    words = ("run", workshop.recipe, *DIRECT_PV, "--out", workshop.disk.parent)
    ended: Ended = room.run(*words)
    assert ended.exit_code == 0, ended.stderr
    out = workshop.partitioned_disk.parent
    ended = room.run("build", workshop.recipe, "--layout", "hvm-mbr", "--out", out)
    assert ended.exit_code == 0, ended.stderr


def folder_of_all_workers(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that is the same for all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    shared = folder_of_all_workers(tmp_path_factory, "workshop")
    with locked_folder(shared):
        made = Workshop(shared / "made")
        if not made.folder.exists():
            making = Workshop(shared / "making")
            shutil.rmtree(making.folder, ignore_errors=True)
            making.folder.mkdir()
            with open_room(making.folder, host.cache_dir()) as room:
                _make(making, room)
            making.folder.rename(made.folder)
    return made


@pytest.fixture(scope="session")
def debian_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Debian's hvm-mbr disk, built once for all workers."""
    shared = folder_of_all_workers(tmp_path_factory, "debian-hvm")
    disk = shared / "out" / "debian-hvm-mbr.raw"
    with locked_folder(shared):
        if not disk.exists():
            room = Room(folder=shared, runtime=shared, cache=host.cache_dir())
            recipe = GUEST / "recipes" / "debian.toml"
            ended = room.run("build", recipe, "--layout", "hvm-mbr", "--out", disk.parent)
            assert ended.exit_code == 0, ended.stderr
    return Image(open_disk(disk), DEBIAN_EXPECT)


@contextmanager
def open_room(folder: Path, cache: Path) -> Iterator[Room]:
    # A socket's path has 108 bytes: not below pytest's long folders.
    with tempfile.TemporaryDirectory(prefix="imgforge-", dir="/tmp") as runtime:
        room = Room(folder=folder, runtime=Path(runtime), cache=cache)
        yield room
        room.assert_no_process_is_left()


@pytest.fixture
def room(workshop: Workshop, tmp_path: Path) -> Iterator[Room]:
    """A room that must be empty of processes and of half made things at the end."""
    with open_room(tmp_path, workshop.cache) as room:
        yield room
        assert room.asides() == []
