"""`imgforge convert --to ebs` with real file systems, up to the boot (which tests/boot does)."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.accelerator import AcceleratorWish
from imgforge.bundle import MachineConfiguration
from imgforge.command import run
from imgforge.conversion_step import StepName
from imgforge.disk import disk_sha256
from imgforge.ebs_conversion import (
    EbsOptions,
    Repeat,
    StepState,
    convert_to_ebs,
    read_chain,
)
from imgforge.errors import ImageRejectedError
from imgforge.start import Surroundings
from tests import menu_disks
from tests.ebs_desk import (
    KEPT,
    MIB,
    START,
    Desk,
    begin_of,
    bundled,
    fstab_on,
    make_disk,
    make_filesystem,
    states,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return bundled(tmp_path, make_disk(tmp_path))


def test_a_bundle_becomes_a_volume_whose_fstab_has_lost_two_lines(desk: Desk) -> None:
    before = disk_sha256(desk.disk)
    made = convert_to_ebs(replace(desk.wish, last_step=StepName.DIGEST))
    volume = desk.made / "volume.raw"
    assert volume.stat().st_size == 2**30
    assert volume.stat().st_blocks * 512 < 24 * MIB
    assert fstab_on(volume) == KEPT
    assert {path.stat().st_mode & 0o777 for path in desk.made.glob("*.raw")} == {0o600}
    run("e2fsck", ["-fn", f"{volume}?offset={START}"])
    assert made.chain is not None
    assert made.chain.disk.sha256 == before == disk_sha256(desk.made / "disk.raw")
    assert made.chain.volume.sha256 == disk_sha256(volume)
    [change] = made.chain.changes
    assert change.file == "(hd0,0)/etc/fstab"
    assert [reason.split(":")[0] for reason in change.reasons] == ["line 2", "line 3"]
    assert not (desk.made / "volume.unfinished").exists()
    # All else is the disk's: only the file's own block and its inode differ.
    with volume.open("rb") as left, desk.disk.open("rb") as right:
        size = desk.disk.stat().st_size
        pages = range(0, size, 4096)
        differing = sum(left.read(4096) != right.read(4096) for _ in pages)
    assert differing <= 3


def test_a_second_run_does_nothing_and_gives_the_same(desk: Desk) -> None:
    convert_to_ebs(desk.wish)
    volume = (desk.made / "volume.raw").stat()
    second = convert_to_ebs(desk.wish)
    assert (desk.made / "volume.raw").stat() == volume
    assert StepState.DONE not in {step.state for step in second.steps}


def test_each_step_can_be_done_alone_and_again(desk: Desk) -> None:
    for name in list(StepName)[: list(StepName).index(StepName.DIGEST) + 1]:
        made = convert_to_ebs(replace(desk.wish, last_step=name, repeat=Repeat.LAST_STEP))
        done = {step.name for step in made.steps if step.state is StepState.DONE}
        assert done == {name}
    reference = begin_of(desk.made / "volume.raw")
    assert (desk.made / "chain.json").exists()
    again = replace(desk.wish, last_step=StepName.FSTAB, repeat=Repeat.LAST_STEP)
    left = {name for name, state in states(again).items() if state is StepState.STANDS}
    assert left == {"download", "unbundle", "identify"}  # it used up what the others made
    for name in (StepName.FSTAB, StepName.COPY, StepName.UNBUNDLE):
        made = convert_to_ebs(replace(desk.wish, last_step=name, repeat=Repeat.LAST_STEP))
        assert made.chain is None
        assert not (desk.made / "chain.json").exists()
        assert (desk.made / "volume.raw").exists() == (name is StepName.FSTAB)
    convert_to_ebs(desk.wish)
    assert begin_of(desk.made / "volume.raw") == reference


def test_another_wish_repeats_only_what_it_changes(desk: Desk) -> None:
    convert_to_ebs(desk.wish)
    larger = replace(desk.wish, ebs=EbsOptions(size_gib=3))
    found = states(larger)
    kept = {name for name, state in found.items() if state is StepState.STANDS}
    assert kept == {"download", "unbundle", "identify"}
    assert states(replace(desk.wish, ebs=EbsOptions(name="another")))["fstab"] == "stands"
    convert_to_ebs(larger)
    assert (desk.made / "volume.raw").stat().st_size == 3 * 2**30


@pytest.mark.parametrize("name", ["disk.raw", "volume.raw"])
def test_what_somebody_changed_is_made_again(desk: Desk, name: str) -> None:
    convert_to_ebs(desk.wish)
    reference = begin_of(desk.made / "volume.raw")
    with (desk.made / name).open("r+b") as file:
        file.write(b"changed")
    convert_to_ebs(desk.wish)
    assert begin_of(desk.made / "volume.raw") == reference
    assert disk_sha256(desk.made / "disk.raw") == disk_sha256(desk.disk)


def test_a_dry_run_prints_the_plan_and_writes_nothing(desk: Desk) -> None:
    shown = subprocess.run(desk.words("--dry-run", "--json"), capture_output=True, check=True)
    values = json.loads(shown.stdout)
    assert [step["name"] for step in values["steps"]] == list(StepName)
    assert {step["state"] for step in values["steps"]} == {"to-do"}
    assert not desk.made.exists()
    convert_to_ebs(desk.wish)
    table = subprocess.run(desk.words("--dry-run"), capture_output=True, check=True).stdout
    assert b"fstab        done before" in table
    assert b"register     to do" in table


def test_the_command_shows_the_diff_before_it_writes(desk: Desk) -> None:
    done = subprocess.run(desk.words("--until", "fstab"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\n-/dev/xvdb   /media/ephemeral0" in done.stderr
    assert "\n-LABEL=UEFI" in done.stderr
    assert "\n /dev/sdh" in done.stderr
    assert done.stdout.startswith("step")


def test_a_pv_image_keeps_its_kernel_and_an_hvm_one_has_none(tmp_path: Path) -> None:
    hvm = tmp_path / "hvm"
    pv = tmp_path / "pv"
    for folder in (hvm, pv):
        folder.mkdir()
    machine = MachineConfiguration("x86_64", kernel_id="aki-5c21674b")
    identified = {}
    for desk in (
        bundled(hvm, make_disk(hvm), machine),
        bundled(pv, make_filesystem(pv), machine),
    ):
        convert_to_ebs(desk.wish)
        record = json.loads((desk.made / "conversion.json").read_bytes())
        value = record["steps"]["identify"]["value"]
        identified[value["layout"]] = value["kernel_id"]
        start = START if value["layout"] == "hvm-mbr" else 0
        assert fstab_on(desk.made / "volume.raw", start=start) == KEPT
    assert identified == {"hvm-mbr": None, "pv": "aki-5c21674b"}


def test_a_partitioned_pv_image_keeps_an_hd0_kernel_which_finds_it_there(tmp_path: Path) -> None:
    menu = b"default 0\ntimeout 0\ntitle x\nroot (hd0,0)\nkernel /boot/k\n"
    disk = menu_disks.make_disk(tmp_path, {"boot/grub/menu.lst": menu}, partitions=1)
    machine = MachineConfiguration("x86_64", kernel_id="aki-919dcaf8")
    desk = bundled(tmp_path, disk, machine)
    convert_to_ebs(replace(desk.wish, last_step=StepName.IDENTIFY))
    record = json.loads((desk.made / "conversion.json").read_bytes())
    value = record["steps"]["identify"]["value"]
    assert (value["layout"], value["kernel_id"]) == ("pv-part", "aki-919dcaf8")


def test_an_image_without_fstab_is_converted_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = bundled(tmp_path, make_disk(tmp_path, None))
    convert_to_ebs(desk.wish)
    assert begin_of(desk.made / "volume.raw") == disk_sha256(desk.disk)
    assert "no /etc/fstab" in caplog.text


def test_a_bundle_in_s3_is_fetched_once_and_converted(tmp_path: Path) -> None:
    machine = MachineConfiguration("x86_64", kernel_id="aki-5c21674b")  # us-east-1's
    desk = bundled(tmp_path, make_disk(tmp_path), machine)
    environment = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
    environment |= {"XDG_DATA_HOME": str(desk.folder / "data"), "HOME": str(desk.folder)}

    def imgforge(*words: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "imgforge", *map(str, words), "--region", "eu-west-1"],
            cwd=desk.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = "s3://my-own-bucket/bundles"
    imgforge("bundle", "upload", desk.wish.source, place)
    url = f"{place}/image.manifest.xml"
    words = ("convert", url, "--to", "ebs", "--key", str(desk.wish.key), "--json")
    first = json.loads(imgforge(*words, "--until", "download"))
    assert first["folder"] == "image.ebs"
    second = json.loads(imgforge(*words, "--until", "fstab"))
    assert second["steps"][0] == {"name": "download", "state": "stands"}
    assert fstab_on(desk.folder / "image.ebs/volume.raw") == KEPT
    assert sorted(path.name for path in (desk.folder / "image.ebs/bundle").iterdir()) == [
        "image.manifest.xml", "image.part.0",
    ]  # fmt: skip


def test_a_volume_that_does_not_boot_becomes_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paravirtual one without menu.lst: that is known before any machine starts."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    machine = MachineConfiguration("x86_64", kernel_id="aki-5c21674b")
    desk = bundled(tmp_path, make_filesystem(tmp_path), machine)
    surroundings = Surroundings(accelerator=AcceleratorWish.TCG)
    wish = replace(desk.wish, last_step=StepName.REGISTER, surroundings=surroundings)
    for _ in range(2):
        with pytest.raises(ImageRejectedError, match="is rejected"):
            convert_to_ebs(wish)
        found = states(wish)
        assert found["test-source"] == "stands"
        assert {found["test"], found["snapshot"], found["register"]} == {"to-do"}
    assert read_chain(desk.made).verdict is None
    verdict = json.loads((desk.made / "volume.test/verdict.json").read_bytes())
    assert not verdict["accepted"]
    assert verdict["disk"]["sha256_after"] == read_chain(desk.made).volume.sha256
    assert list((tmp_path / "data").rglob("blobs")) == []
