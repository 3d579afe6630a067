"""Interruptions at twenty moments of build, test and register, and whatever comes next."""

import json
import shutil
import signal
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path

import pytest

from tests.boot.command_line import Ended, Room
from tests.boot.conftest import Workshop
from tests.boot.interruption import SIGNALS, Moment, interrupt

pytestmark = pytest.mark.boot

BUILD = (
    Moment("", 0.0),
    Moment("", 0.4),
    Moment("packages: unpacking", 0.0),
    Moment("packages: unpacking", 0.7),
    Moment("packages: unpacking", 2.5),
    Moment("root tree: ", 0.0),
    Moment("disk minimal-pv.raw", 0.05),
    Moment("disk minimal-pv.raw", 0.2),
)
TEST = (
    Moment("", 0.3),
    Moment("accelerator: ", 0.0),
    Moment("accelerator: ", 0.15),
    Moment("accelerator: ", 0.4),
    Moment("accelerator: ", 1.5),
    Moment("boot: init", 0.0),
    Moment("boot: metadata", 0.0),
    Moment("boot: ssh", 0.0),
)
REGISTER = (
    Moment("", 0.0),
    Moment("", 0.2),
    Moment("upload: snap-", 0.0),
    Moment("upload: snap-", 0.02),
)


def interrupt_at_all(
    room: Room,
    words: tuple[str | Path, ...],
    moments: Iterable[tuple[Moment, signal.Signals]],
    *,
    check: Callable[[], None],
    afterwards: Callable[[], None] = lambda: None,
) -> int:
    """Interrupt a command again and again; return how often it was not too late."""
    hits = 0
    for moment, number in moments:
        asides = set(room.asides())
        hits += interrupt(room, words, moment, number)
        if number is not signal.SIGKILL:
            assert set(room.asides()) <= asides, (moment, number)
        check()
        afterwards()
    return hits


def sha256_of(workshop: Workshop) -> str:
    record = workshop.disk.with_name("minimal-pv.disk.json")
    return str(json.loads(record.read_bytes())["sha256"])


def mixed(moments: Iterable[Moment]) -> list[tuple[Moment, signal.Signals]]:
    return list(zip(moments, cycle(SIGNALS), strict=False))


def spread(
    moments: Iterable[Moment], number: signal.Signals
) -> list[tuple[Moment, signal.Signals]]:
    return [(moment, number) for moment in moments]


def copy_disk(workshop: Workshop, folder: Path) -> Path:
    folder.mkdir()
    for name in ("minimal-pv.raw", "minimal-pv.disk.json"):
        shutil.copy(workshop.disk.with_name(name), folder)
    return folder / "minimal-pv.raw"


@pytest.fixture
def cold_room(workshop: Workshop, room: Room) -> Room:
    """A room whose cache has packages, but no root tree yet."""
    cache = workshop.link_cache(room.folder / "cache")
    return Room(folder=room.folder, runtime=room.runtime, cache=cache)


def check_build(
    workshop: Workshop, room: Room, moments: list[tuple[Moment, signal.Signals]], *, each: bool
) -> None:
    sha256 = sha256_of(workshop)
    words = ("build", workshop.recipe, "--locked", "--layout", "pv", "--out", room.out)

    def build() -> None:
        ended = room.run(*words, "--json")
        assert ended.exit_code == 0, ended.stderr
        assert ended.result["sha256"] == sha256

    def build_anew() -> None:
        build()
        shutil.rmtree(room.cache / "rootfs")
        shutil.rmtree(room.out)

    hits = interrupt_at_all(
        room,
        words,
        moments,
        check=lambda: room.assert_nothing_half_made_looks_finished(sha256),
        afterwards=build_anew if each else lambda: None,
    )
    assert hits >= len(moments) // 2
    build()


def check_test(
    workshop: Workshop, room: Room, moments: list[tuple[Moment, signal.Signals]], *, each: bool
) -> None:
    sha256 = sha256_of(workshop)
    disk = copy_disk(workshop, room.out)
    verdict = disk.with_suffix(".test") / "verdict.json"
    words = ("test", disk, "--suite", "none")

    def test() -> None:
        ended = room.run(*words, "--json")
        assert ended.exit_code == 0, ended.stderr
        assert ended.result["disk"]["sha256_after"] == sha256

    def check() -> None:
        room.assert_nothing_half_made_looks_finished(sha256)
        assert not verdict.exists()

    def test_again() -> None:
        test()
        verdict.unlink()

    hits = interrupt_at_all(
        room, words, moments, check=check, afterwards=test_again if each else lambda: None
    )
    assert hits >= len(moments) // 2
    test()


def check_register(
    workshop: Workshop, room: Room, moments: list[tuple[Moment, signal.Signals]], *, each: bool
) -> None:
    words = ("register", workshop.disk, "--verdict", workshop.verdict)

    def register() -> None:
        ended = room.run(*words, "--json")
        assert ended.exit_code == 0, ended.stderr
        check(least=1)

    def check(least: int = 0) -> None:
        listed = room.run("images", "--json")
        assert listed.exit_code == 0, listed.stderr
        assert least <= len(listed.result) <= 1

    def register_anew() -> None:
        register()
        shutil.rmtree(room.folder / "data")

    hits = interrupt_at_all(
        room, words, moments, check=check, afterwards=register_anew if each else lambda: None
    )
    assert hits >= 1
    register()
    [image] = room.run("images", "--json").result
    tags = {one["Key"]: one["Value"] for one in image["Tags"]}
    assert tags["imgforge:sha256"] == sha256_of(workshop)


def test_a_build_that_is_interrupted_leaves_nothing_half_made_and_the_next_gives_the_same_bytes(
    workshop: Workshop, cold_room: Room
) -> None:
    check_build(workshop, cold_room, mixed(BUILD), each=False)


def test_a_test_that_is_interrupted_leaves_no_machine_and_no_verdict_and_the_next_accepts(
    workshop: Workshop, room: Room
) -> None:
    check_test(workshop, room, mixed(TEST), each=False)


def test_a_registration_that_is_interrupted_leaves_no_half_image_and_the_next_makes_it(
    workshop: Workshop, room: Room
) -> None:
    check_register(workshop, room, mixed(REGISTER), each=False)


def test_an_impatient_second_interrupt_changes_nothing(workshop: Workshop, room: Room) -> None:
    disk = copy_disk(workshop, room.out)
    with room.start("test", disk, "--suite", "none") as running:
        assert running.saw("boot: init")
        running.process.send_signal(signal.SIGINT)
        running.runs_for(0.02)
        ended: Ended = running.interrupt(signal.SIGINT)
    room.assert_no_process_is_left()
    assert ended.exit_code == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not disk.with_suffix(".test").joinpath("verdict.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", ["build", "test", "register"])
def test_at_each_moment_each_signal_is_survived_and_the_very_next_run_works(
    workshop: Workshop, room: Room, command: str, number: signal.Signals
) -> None:
    moments = {"build": BUILD, "test": TEST, "register": REGISTER}[command]
    check = {"build": check_build, "test": check_test, "register": check_register}[command]
    if command == "build":
        cache = workshop.link_cache(room.folder / "cache")
        room = Room(folder=room.folder, runtime=room.runtime, cache=cache)
    check(workshop, room, spread(moments, number), each=True)
