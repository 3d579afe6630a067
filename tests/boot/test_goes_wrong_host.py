"""Hosts that fail: full disks, a KVM that aborts, and two runs at once."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from imgforge.command import find_program
from imgforge.disk import open_disk
from imgforge.machine import Accelerator, AcceleratorKind
from imgforge.recipe import ExpectPart
from imgforge.start import Surroundings
from imgforge.trial import Trial, try_disk
from tests.boot.command_line import DIRECT_PV, Ended, Room
from tests.boot.conftest import Workshop

pytestmark = pytest.mark.boot

# Mounts a tmpfs of size $1 at $2, runs the rest, and lists what it left there, all in a mount
# namespace of its own that takes the mount with it.
_SMALL = (
    'size=$1 place=$2; shift 2; mkdir -p "$place"; mount -t tmpfs -o size="$size" tmpfs "$place" '
    '|| exit 99; "$@"; code=$?; find "$place" -type f -printf "left %p\\n"; exit "$code"'
)


def on_small_disk(size: str, place: Path) -> list[str]:
    return ["unshare", "-rm", "sh", "-c", _SMALL, "sh", size, str(place)]


@pytest.fixture(autouse=True)
def _can_mount(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if "full" in request.node.name:
        attempt = [*on_small_disk("64k", tmp_path / "probe"), "true"]
        if subprocess.run(attempt, capture_output=True, check=False).returncode:
            pytest.skip("unprivileged user and mount namespaces are missing here")


def left(ended: Ended) -> list[str]:
    return [
        line.removeprefix("left ")
        for line in ended.stdout.splitlines()
        if line.startswith("left ") and "/locks/" not in line
    ]


@pytest.mark.parametrize("wrong", ["flood", "fill"])
def test_a_disk_full_while_testing_is_the_hosts_failure_and_no_verdict(
    workshop: Workshop, room: Room, wrong: str
) -> None:
    recipe = workshop.write_recipe(room.folder, wrong=wrong, expect="silence_limit_s = 60\n")
    built = room.run("build", recipe, "--locked", "--layout", "pv", "--out", room.out)
    assert built.exit_code == 0, built.stderr
    place = room.folder / "small"
    # The kernel and initrd are taken out of a pv disk: they have to fit.
    words = ("test", room.out / "minimal-pv.raw", "--out", place / "test")
    tree = next(workshop.cache.glob("rootfs/*/tree/boot"))
    taken = sum(path.stat().st_size for path in tree.iterdir() if path.name != "no-kernel")
    ended = room.run(*words, before=on_small_disk(str(taken + 2**20), place))
    assert ended.exit_code == 3, ended.stdout + ended.stderr
    assert "space" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "unexpectedly" not in ended.stderr
    assert not [path for path in left(ended) if path.endswith("verdict.json") or "aside" in path]


def test_a_disk_full_while_building_leaves_no_disk(workshop: Workshop, room: Room) -> None:
    words = ("build", workshop.recipe, "--locked", "--layout", "hvm-gpt", "--out", room.out)
    ended = room.run(*words, before=on_small_disk("12m", room.out))
    assert ended.exit_code == 3, ended.stderr
    assert "space" in ended.stderr
    assert "unexpectedly" not in ended.stderr
    assert left(ended) == []


def test_a_disk_full_while_the_root_tree_is_made_leaves_no_tree(
    workshop: Workshop, room: Room
) -> None:
    cache = workshop.link_cache(room.folder / "cache")
    cold = Room(folder=room.folder, runtime=room.runtime, cache=cache)
    words = ("build", workshop.recipe, "--locked", "--layout", "pv", "--out", room.out)
    ended = cold.run(*words, before=on_small_disk("12m", cache / "rootfs"))
    assert ended.exit_code == 3, ended.stderr
    assert "space" in ended.stderr
    assert "unexpectedly" not in ended.stderr
    assert left(ended) == []
    assert not list(room.folder.glob("out/*.raw"))


def test_a_disk_full_while_registering_leaves_no_image(workshop: Workshop, room: Room) -> None:
    words = ("register", workshop.disk, "--verdict", workshop.verdict)
    data = room.folder / "data"
    ended = room.run(*words, before=on_small_disk("12m", data))
    assert ended.exit_code == 3, ended.stderr
    assert "no space is left" in ended.stderr
    assert not [path for path in left(ended) if "blocks" in path]


ABORTS_AT_ONCE = """#!/bin/sh
case " $* " in
*" kvm "*) echo "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69" >&2; exit 134 ;;
esac
exec {qemu} "$@"
"""
# Some seconds of a guest, then the end of a KVM that does not run it.
ABORTS_LATER = """#!/bin/bash
case " $* " in
*" kvm "*) ;;
*) exec {qemu} "$@" ;;
esac
words=("$@")
for number in "${{!words[@]}}"; do
    [ "${{words[number]}}" = kvm ] && words[number]=tcg
done
{qemu} "${{words[@]}}" &
sleep 1
kill -KILL $!
wait
echo "KVM internal error. Suberror: 1" >&2
exit 134
"""


@pytest.mark.parametrize("program", [ABORTS_AT_ONCE, ABORTS_LATER])
def test_a_boot_that_kvm_aborts_is_repeated_once_on_tcg_and_the_verdict_says_so(
    workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    programs = room.folder / "bin"
    programs.mkdir()
    fake = programs / "qemu-system-x86_64"
    fake.write_text(program.format(qemu=find_program("qemu-system-x86_64")), encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    trial = Trial(
        disk=open_disk(workshop.disk),
        folder=room.folder / "test",
        expect=ExpectPart(boot_limit_s=120),
        surroundings=Surroundings(),
    )
    kvm = Accelerator(AcceleratorKind.KVM, "max", "proved")
    tested = asyncio.run(asyncio.wait_for(try_disk(trial, accelerator=kvm), 150))
    verdict = json.loads(tested.verdict_path.read_bytes())
    assert verdict["accepted"], verdict["reason"]
    assert verdict["accelerator"]["kind"] == "tcg"
    assert "after KVM failed" in verdict["accelerator"]["reason"]
    told = "failed to set MSR" if program == ABORTS_AT_ONCE else "KVM internal error"
    assert told in verdict["host_failure"]


def test_two_runs_of_everything_at_once_share_one_cache_and_one_catalog(
    workshop: Workshop, room: Room
) -> None:
    cache = workshop.link_cache(room.folder / "cache")
    cold = Room(folder=room.folder, runtime=room.runtime, cache=cache)
    layouts = (*DIRECT_PV, "--layout", "hvm-mbr")
    words = ("run", workshop.recipe, "--locked", "--json", *layouts, "--out")
    with (
        cold.start(*words, room.folder / "one") as first,
        cold.start(*words, room.folder / "two") as second,
    ):
        results = [first.wait(), second.wait()]
    for ended in results:
        assert ended.exit_code == 0, ended.stderr
    digests = [[layout["sha256"] for layout in ended.result] for ended in results]
    assert digests[0] == digests[1]
    listed = cold.run("images", "--json").result
    assert len(listed) == 2, listed
    shutil.rmtree(cache)


def test_of_two_runs_into_one_folder_one_waits_and_both_are_right(
    workshop: Workshop, room: Room
) -> None:
    words = ("run", workshop.recipe, "--locked", *DIRECT_PV, "--out", room.out)
    with room.start(*words) as first, room.start(*words) as second:
        results = [first.wait(), second.wait()]
    for ended in results:
        assert ended.exit_code == 0, ended.stderr
    sha256 = json.loads(workshop.disk.with_name("minimal-pv.disk.json").read_bytes())["sha256"]
    room.assert_nothing_half_made_looks_finished(sha256)
    assert len(list(room.out.glob("*/verdict.json"))) == 1
    assert len(room.run("images", "--json").result) == 1
