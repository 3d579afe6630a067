"""A boot under Xen that is killed or interrupted: nothing of the nested machine is left."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge import host
from imgforge.xen_appliance import prepare_appliance
from tests.boot.command_line import Room, file_sha256
from tests.boot.conftest import open_room
from tests.boot.interruption import SIGNALS, Moment, interrupt
from tests.boot.xen_guest import Limits, make_hostile_disk, write_recipe

pytestmark = pytest.mark.boot

MOMENTS = (
    Moment("accelerator: ", 0.0),
    Moment("metadata: ", 0.0),
    Moment("metadata: ", 0.5),  # Xen
    Moment("metadata: ", 3.0),
    Moment("metadata: ", 7.0),  # dom0
    Moment("metadata: ", 11.0),
    Moment("boot: bootloader", 0.0),
    Moment("boot: bootloader", 1.0),
    Moment("boot: kernel", 0.0),
    Moment("boot: kernel", 2.0),
)
PATIENT = Limits(boot_s=300, silence_s=300)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    prepare_appliance(host.cache_dir())
    with open_room(tmp_path, host.cache_dir()) as room:
        yield room


def words(room: Room, name: str, *, do: str = "s") -> list[str | Path]:
    """Return the words of a boot that never ends by itself, unless it is told to."""
    folder = room.folder / name
    folder.mkdir(exist_ok=True)
    disk = make_hostile_disk(folder, do=do)
    recipe = write_recipe(folder, PATIENT)
    options = ("--suite", "none", "--accel", "tcg", "--pv-boot", "xen-grub")
    return ["test", disk, "--recipe", recipe, *options, "--out", folder / "t"]


def assert_nothing_is_left(room: Room) -> None:
    """The next boot of the same folder ends by its own, and takes away what a kill left."""
    room.assert_no_process_is_left()
    ended = room.run(*words(room, "disk", do="0"))
    assert ended.exit_code == 1, ended.stderr
    left = [path.name for path in room.runtime.iterdir()]
    assert [name for name in left if not name.startswith("imgforge-places-")] == []
    assert room.asides() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_boot_under_xen_is_ended_at_each_moment_and_nothing_is_left(
    room: Room, number: signal.Signals
) -> None:
    command = words(room, "disk")
    disk, folder = Path(command[1]), room.folder / "disk/t"
    before = file_sha256(disk)
    for moment in MOMENTS:
        assert interrupt(room, command, moment, number), moment
        if number is not signal.SIGKILL:
            assert room.asides() == [], moment
        assert not (folder / "verdict.json").exists()
        assert file_sha256(disk) == before
    assert_nothing_is_left(room)


@pytest.mark.slow
def test_of_two_boots_under_xen_the_one_that_is_killed_leaves_the_other_alone(room: Room) -> None:
    with (
        room.start(*words(room, "disk")) as first,
        room.start(*words(room, "other")) as second,
    ):
        assert first.saw("boot: kernel")
        assert second.saw("boot: bootloader")
        assert first.interrupt(signal.SIGKILL).exit_code == -signal.SIGKILL
        assert second.saw("boot: kernel")
        assert second.runs_for(2)
        machines = [line for line in room.processes() if "qemu-system" in line.partition(" ")[0]]
        assert len(machines) == 1, machines
        assert second.interrupt(signal.SIGTERM).exit_code == 130
    assert_nothing_is_left(room)
