"""Guests that attack under Xen: each is rejected in words, in time, and leaves nothing behind."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge import host
from imgforge.xen_appliance import prepare_appliance
from tests.boot.command_line import Ended, Room
from tests.boot.conftest import open_room
from tests.boot.xen_guest import KERNEL, Limits, make_hostile_disk, write_recipe

pytestmark = pytest.mark.boot

_PROGRAM_HEADER = 64


@dataclass(frozen=True, slots=True)
class Attack:
    """What a guest's kernel does (data/test_kernel/hostile.s), and what the verdict says of it."""

    name: str
    do: str
    sign: str
    stage: str = "kernel"
    shown: str = ""
    way: str = "xen-direct"
    kernel: bytes = KERNEL


def _lie(offset: int, value: int) -> bytes:
    """Return the kernel with another 64-bit number in the header of its first segment."""
    lying = bytearray(KERNEL)
    struct.pack_into("<Q", lying, _PROGRAM_HEADER + offset, value)
    return bytes(lying)


HUGE = _lie(40, 2**40)
ATTACKS = (
    Attack("triple fault", "t", "guest-panic", shown="Xen's reason is crash"),
    Attack("reboot loop", "1", "silent-reset", shown="Xen's reason is reboot"),
    Attack("switches itself off", "0", "guest-shutdown", shown="Xen's reason is poweroff"),
    Attack("suspends itself", "2", "guest-shutdown", shown="Xen's reason is suspend"),
    Attack("soft reset", "5", "silent-reset", shown="Xen's reason is soft reset"),
    Attack("ends for a reason unknown to Xen", "9", "guest-shutdown", shown="none of Xen's"),
    Attack("hangs", "s", "silent-kernel"),
    Attack("floods and escapes", "f", "boot-limit"),
    Attack("speaks as dom0", "d", "silent-kernel"),
    Attack("floods xenstore", "x", "silent-kernel"),
    Attack("breaks xenstore's ring", "c", "silent-kernel"),
    Attack("breaks the console's ring", "o", "silent-kernel"),
    Attack("takes its devices away", "v", "silent-kernel"),
    Attack("claims 1 TiB", "s", "kernel-refused", kernel=HUGE),
    Attack("lies beyond all memory", "s", "kernel-refused", kernel=_lie(24, 2**45)),
    Attack("lies beyond its file", "s", "guest-panic", kernel=_lie(8, 2**40)),
    Attack("triple fault", "t", "guest-panic", way="xen-grub", shown="Xen's reason is crash"),
    Attack("reboot loop", "1", "silent-reset", way="xen-grub", shown="Xen's reason is reboot"),
    Attack("hangs", "s", "silent-kernel", way="xen-grub"),
    Attack("claims 1 TiB", "s", "grub-no-entry-boots", "bootloader", "", "xen-grub", HUGE),
)  # fmt: skip


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """A room of an appliance that is there; nothing may be left in it but the evidence."""
    prepare_appliance(host.cache_dir())
    with open_room(tmp_path, host.cache_dir()) as room:
        yield room
        left = [path.name for path in room.runtime.iterdir()]
        assert [name for name in left if not name.startswith("imgforge-places-")] == []
        assert room.asides() == []


def assert_rejected(ended: Ended, folder: Path, *, sign: str, stage: str, way: str) -> None:
    told = ended.stdout + ended.stderr
    if ended.exit_code == 3 and "waited for a processor" in ended.stderr:
        pytest.skip("the host was too busy to tell a silent guest from a starved one")
    assert ended.exit_code == 1, told
    verdict = json.loads((folder / "verdict.json").read_bytes())
    assert (verdict["sign"]["id"], verdict["failed_stage"]) == (sign, stage), told
    assert verdict["boot_method"] == way
    assert verdict["disk"]["sha256_before"] == verdict["disk"]["sha256_after"]
    for shown in (told, (folder / "report.html").read_text(), (folder / "console.log").read_text()):
        assert not {"\x1b", "\x07", "\x9b"} & set(shown)
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [pytest.param(each, id=f"{each.way} {each.name}".replace(" ", "-")) for each in ATTACKS],
)
def test_a_hostile_kernel_is_rejected_and_nothing_is_left(room: Room, attack: Attack) -> None:
    disk = make_hostile_disk(room.folder, do=attack.do, kernel=attack.kernel)
    recipe = write_recipe(room.folder, Limits(boot_s=60, silence_s=20))
    out = room.folder / "t"
    words = ("--suite", "none", "--pv-boot", attack.way, "--accel", "tcg")
    ended = room.run("test", disk, "--recipe", recipe, *words, "--out", out)
    assert_rejected(ended, out, sign=attack.sign, stage=attack.stage, way=attack.way)
    assert attack.shown in ended.stdout
