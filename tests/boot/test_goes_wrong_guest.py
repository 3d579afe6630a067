"""Guests broken on purpose, by the real command line: each is rejected in words, and soon."""

import json
from pathlib import Path
from typing import Any

import pytest

from imgforge.command import run
from tests.boot.command_line import DIRECT_PV, Ended, Room
from tests.boot.conftest import Workshop
from tests.boot.wrong_guest import DROWN_BYTES, FLOOD_BYTES, FLOOD_LINE

pytestmark = pytest.mark.boot

# A busy runner may be late; a time limit of the boot would be minutes.
_SOON_S = 5.0


def read_verdict(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "verdict.json").read_bytes())
    return values


def assert_rejected(ended: Ended, folder: Path, *, sign: str, stage: str) -> dict[str, Any]:
    verdict = read_verdict(folder)
    assert ended.exit_code == 1, ended.stderr
    assert verdict["accepted"] is False
    assert (verdict["sign"]["id"], verdict["failed_stage"]) == (sign, stage), ended.stdout
    assert verdict["seconds"] - verdict["sign"]["seconds"] < _SOON_S
    assert verdict["disk"]["sha256_before"] == verdict["disk"]["sha256_after"]
    assert "The console around it:" in ended.stdout
    assert f"Rejected at stage {stage}: " in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert f"report  {folder}/report.html" in ended.stdout.splitlines()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<title>rejected: " in page
    assert f"<code>{sign}</code>" in page
    assert "\x1b" not in page
    return verdict


@pytest.mark.parametrize(
    ("wrong", "sign", "stage", "shown"),
    [
        ("panic", "kernel-panic", "kernel", "Kernel panic - not syncing: sysrq triggered crash"),
        ("reboot", "guest-reset", "network", "going wrong: reboot"),
        ("hang", "silence", "network", "going wrong: hang"),
        ("no-metadata", "key-not-fetched", "metadata", "Permission denied"),
        ("other-key", "ssh-refused-key", "ssh", "Permission denied"),
        ("host-keys", "host-key-mismatch", "ssh", "another host key than the console did"),
    ],
)
def test_a_guest_that_goes_wrong_is_rejected_at_the_stage_that_failed(
    workshop: Workshop, room: Room, wrong: str, sign: str, stage: str, shown: str
) -> None:
    # With the kernel's default, panic=0, nothing but the console tells of a panic.
    changes = {"panic=-1": f"imgforge.wrong={wrong}"} if wrong == "panic" else {}
    recipe = workshop.write_recipe(
        room.folder, wrong=wrong, changes=changes, expect="silence_limit_s = 15\n"
    )
    ended = room.run("run", recipe, "--locked", *DIRECT_PV, "--out", room.out)
    verdict = assert_rejected(ended, room.out / "minimal-pv.test", sign=sign, stage=stage)
    assert shown in ended.stdout
    assert verdict["boot_method"] == "direct"
    listed = room.run("images", "--json")
    assert listed.result == []


def test_an_init_that_returns_is_rejected_by_the_panic_it_causes(
    workshop: Workshop, room: Room
) -> None:
    recipe = workshop.write_recipe(
        room.folder, changes={"panic=-1": "panic=-1 init=/usr/lib/imgforge/exits"}
    )
    ended = room.run("run", recipe, "--locked", *DIRECT_PV, "--out", room.out)
    folder = room.out / "minimal-pv.test"
    assert_rejected(ended, folder, sign="panic-init-killed", stage="init")
    assert "Kernel panic" in ended.stdout  # it may overtake what init said last


def test_a_guest_that_stops_in_grub_is_rejected_with_grubs_error(
    workshop: Workshop, room: Room
) -> None:
    recipe = workshop.write_recipe(room.folder, changes={"/boot/vmlinuz-*": "/boot/no-kernel"})
    ended = room.run("run", recipe, "--locked", "--layout", "hvm-mbr", "--out", room.out)
    folder = room.out / "minimal-hvm-mbr.test"
    verdict = assert_rejected(ended, folder, sign="grub-error", stage="bootloader")
    assert "Error 13" in ended.stdout
    assert verdict["boot_method"] == "bios"
    assert [stage["reached"] for stage in verdict["stages"]][:3] == [True, True, False]


def test_a_disk_whose_kernel_was_removed_later_is_no_longer_what_its_record_says(
    workshop: Workshop, room: Room
) -> None:
    recipe = workshop.write_recipe(room.folder)
    built = room.run(
        "build", recipe, "--locked", "--layout", "hvm-mbr", "--out", room.out, "--json"
    ).result
    disk = Path(built["disk"])
    tree = next(workshop.cache.glob("rootfs/*/tree/boot/vmlinuz-*"))
    remove = ["-w", "-R", f"rm /boot/{tree.name}", f"{disk}?offset=1048576"]
    run("debugfs", remove, timeout_s=60)
    ended = room.run("test", disk, "--recipe", recipe, "--out", room.folder / "test")
    verdict = assert_rejected(ended, room.folder / "test", sign="grub-error", stage="bootloader")
    assert "Error 15" in ended.stdout
    assert verdict["disk"]["sha256_before"] != built["sha256"]
    assert verdict["recipe_sha256"] == ""
    # Nor does a verdict on the disk as it was open the catalog to it.
    registered = room.run("register", disk, "--verdict", workshop.verdict)
    assert registered.exit_code != 0
    assert "Traceback" not in registered.stderr


@pytest.mark.parametrize(
    ("wrong", "count"),
    [
        ("flood", FLOOD_BYTES),
        # A serial port carries some 200 KB/s on TCG: 100 MB take minutes.
        pytest.param("drown", DROWN_BYTES, marks=pytest.mark.slow),
    ],
)
def test_a_guest_that_floods_its_console_with_escapes_is_accepted_and_its_console_kept_whole(
    workshop: Workshop, room: Room, wrong: str, count: int
) -> None:
    recipe = workshop.write_recipe(
        room.folder,
        wrong=wrong,
        changes={"boot_limit_s = 200": "boot_limit_s = 1800"},
        expect="silence_limit_s = 60\n",
    )
    with room.start("run", recipe, "--locked", *DIRECT_PV, "--out", room.out) as running:
        ended = running.wait(1800)
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    folder = room.out / "minimal-pv.test"
    assert read_verdict(folder)["accepted"]
    raw, log = (folder / "console.raw").read_bytes(), (folder / "console.log").read_bytes()
    flood = (FLOOD_LINE * (count // len(FLOOD_LINE) + 1))[:count]
    assert flood in raw.replace(b"\r\n", b"\n")
    assert b"\x1b" not in log
    assert b"the flood is over" in log
    assert "\x1b" not in ended.stdout + ended.stderr
