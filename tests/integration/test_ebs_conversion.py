"""`imgforge convert --to ebs` with real file systems, up to the boot (which tests/boot does)."""

import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imgforge.accelerator import AcceleratorWish
from imgforge.bundle import BundleWish, MachineConfiguration, Mapping, Signers, create_bundle
from imgforge.command import run
from imgforge.conversion_step import StepName
from imgforge.disk import disk_sha256
from imgforge.ebs_conversion import (
    ConversionWish,
    EbsOptions,
    Repeat,
    StepState,
    convert_to_ebs,
    plan,
    read_chain,
)
from imgforge.errors import BadInputError, HostError, ImageRejectedError, ImgforgeError
from imgforge.start import Surroundings
from tests.bundle_material import ACCOUNT, identity, noise

MIB = 2**20
START = 2048 * 512
MOMENTS = 20
FSTAB = b"""\
LABEL=/     /           ext4    defaults,noatime  1   1
/dev/xvdb   /media/ephemeral0  auto  defaults,comment=cloudconfig  0  2
LABEL=UEFI  /boot/efi   vfat    defaults          0   0
/dev/sdh    /data       ext4    nofail            0   2
"""
KEPT = b"".join(FSTAB.splitlines(keepends=True)[i] for i in (0, 3))
# Mounts a tmpfs of size $1 at $2, and runs the rest there: once, and again with room.
SMALL = (
    'mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99; place=$2; shift 2; "$@"; code=$?; '
    'ls "$place"; mount -o remount,size=256m "$place" && "$@" && exit "$code"; exit 98'
)


@dataclass(frozen=True, slots=True)
class Desk:
    """A bundle of a disk with one partition, and the wish to convert it."""

    folder: Path
    disk: Path
    wish: ConversionWish

    @property
    def made(self) -> Path:
        return self.wish.folder

    def words(self, *more: str | Path) -> list[str]:
        key = self.wish.key or ""
        command = [sys.executable, "-m", "imgforge", "convert", self.wish.source, "--to", "ebs"]
        return [*map(str, command), "--key", str(key), *map(str, more)]


def make_filesystem(folder: Path, fstab: bytes | None = FSTAB) -> Path:
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    if fstab is not None:
        (tree / "etc/fstab").write_bytes(fstab)
    (tree / "data").write_bytes(noise(3 * MIB))
    inner = folder / "inner"
    run("mke2fs", ["-q", "-t", "ext4", "-L", "/", "-d", tree, inner, "16M"])
    return inner


def make_disk(folder: Path, fstab: bytes | None = FSTAB) -> Path:
    inner = make_filesystem(folder, fstab)
    head = bytearray(512)
    head[:2] = b"\xeb\x63"
    struct.pack_into("<B3xB3xII", head, 446, 0x80, 0x83, START // 512, 16 * MIB // 512)
    head[510:] = b"\x55\xaa"
    disk = folder / "image"
    with disk.open("wb") as file:
        file.write(head)
        file.seek(START)
        file.write(inner.read_bytes())
    return disk


def bundled(folder: Path, disk: Path, machine: MachineConfiguration | None = None) -> Desk:
    user, ec2 = identity("user", folder / "keys"), identity("ec2", folder / "keys")
    made = create_bundle(
        disk,
        wish=BundleWish(
            disk.name,
            ACCOUNT,
            machine
            or MachineConfiguration(
                "x86_64",
                (Mapping("ami", "sda1"), Mapping("ephemeral0", "sdb")),
                kernel_id="aki-919dcaf8",
            ),
        ),
        signers=Signers(user.pair, ec2.certificate),
        destination=folder / "bundle",
    )
    wish = ConversionWish(str(made.manifest_path), key=user.key_path, last_step=StepName.FSTAB)
    return Desk(folder, disk, wish)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return bundled(tmp_path, make_disk(tmp_path))


def states(wish: ConversionWish) -> dict[str, StepState]:
    return {step.name: step.state for step in plan(wish)}


def begin_of(volume: Path) -> str:
    """Return the SHA-256 of what is not blank on a volume; the rest is a hole."""
    assert volume.stat().st_size == 2**30
    with volume.open("rb") as file:
        end = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        while True:
            hole = os.lseek(file.fileno(), end, os.SEEK_HOLE)
            try:
                end = os.lseek(file.fileno(), hole, os.SEEK_DATA)
            except OSError:
                break
        assert hole <= START + 16 * MIB
        file.seek(0)
        return hashlib.sha256(file.read(START + 16 * MIB)).hexdigest()


def fstab_on(disk: Path, *, start: int = START) -> bytes:
    return run("debugfs", ["-R", "cat /etc/fstab", f"{disk}?offset={start}"]).stdout


def test_a_bundle_becomes_a_volume_whose_fstab_has_lost_two_lines(desk: Desk) -> None:
    before = disk_sha256(desk.disk)
    made = convert_to_ebs(replace(desk.wish, last_step=StepName.DIGEST))
    volume = desk.made / "volume.raw"
    assert volume.stat().st_size == 2**30
    assert volume.stat().st_blocks * 512 < 24 * MIB
    assert fstab_on(volume) == KEPT
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


def refused(wish: ConversionWish, *, made: bool = False) -> str:
    with pytest.raises(BadInputError) as caught:
        convert_to_ebs(wish)
    assert (wish.folder / "volume.raw").exists() == made
    return str(caught.value)


def test_anothers_bundle_is_refused(desk: Desk) -> None:
    other = identity("another", desk.folder / "keys").key_path
    assert "signature" in refused(replace(desk.wish, key=other))
    assert "private key" in refused(replace(desk.wish, key=None))
    assert not (desk.made / "disk.raw").exists()


def test_a_volume_smaller_than_the_image_is_refused_before_anything(tmp_path: Path) -> None:
    disk = tmp_path / "image"
    with disk.open("wb") as file:
        file.truncate(2**30 + 512)
    desk = bundled(tmp_path, disk)
    small = replace(desk.wish, ebs=EbsOptions(size_gib=1))
    assert "same size or larger" in refused(small)
    assert not desk.made.exists()
    with pytest.raises(BadInputError, match="1 to 65536"):
        replace(desk.wish, ebs=EbsOptions(size_gib=65_537))


def test_a_windows_image_is_refused(tmp_path: Path) -> None:
    disk = make_disk(tmp_path)
    content = bytearray(disk.read_bytes())
    content[START:] = b"\xeb\x52\x90NTFS    ".ljust(16 * MIB, b"\0")
    disk.write_bytes(content)
    assert "Windows" in refused(bundled(tmp_path, disk).wish)


def test_a_disk_that_nothing_boots_from_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "image"
    disk.write_bytes(noise(MIB))
    assert "no layout is recognised" in refused(bundled(tmp_path, disk).wish)


@pytest.mark.parametrize(
    ("machine", "found"),
    [
        (MachineConfiguration("x86_64", kernel_id="aki-04206613"), "i386"),
        (MachineConfiguration("x86_64", kernel_id="aki-5c21674b", ramdisk_id="ari-1234abcd"),
         "takes none"),
    ],
)  # fmt: skip
def test_a_kernel_that_does_not_suit_is_refused(
    tmp_path: Path, machine: MachineConfiguration, found: str
) -> None:
    desk = bundled(tmp_path, make_filesystem(tmp_path), machine)
    assert found in refused(desk.wish)


def test_a_name_that_no_image_can_have_is_refused_early(desk: Desk) -> None:
    named = replace(desk.wish, ebs=EbsOptions(name="no"))
    assert "name: found 'no'" in refused(named)


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


def test_an_image_without_fstab_is_converted_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = bundled(tmp_path, make_disk(tmp_path, None))
    convert_to_ebs(desk.wish)
    assert begin_of(desk.made / "volume.raw") == disk_sha256(desk.disk)
    assert "no /etc/fstab" in caplog.text


def test_a_verdict_of_another_disk_is_no_sources(desk: Desk) -> None:
    verdict = desk.folder / "verdict.json"
    verdict.write_text(json.dumps(accepted("0" * 64)))
    wish = replace(desk.wish, source_verdict=verdict, last_step=StepName.TEST_SOURCE)
    assert "is of another disk" in refused(wish, made=True)
    verdict.write_text(json.dumps(accepted(disk_sha256(desk.disk))))
    made = convert_to_ebs(wish)
    assert made.chain is not None
    assert made.chain.source_verdict is not None
    assert made.chain.source_verdict.accepted


def accepted(sha256: str) -> dict[str, object]:
    return {
        "schema": 1,
        "accepted": True,
        "reason": "Accepted.",
        "disk": {"sha256_before": sha256, "sha256_after": sha256, "layout": "hvm-mbr"},
        "recipe_sha256": "",
        "lock_sha256": "",
        "accelerator": {"kind": "tcg", "reason": "asked for"},
        "qemu_version": "7.2",
        "boot_method": "bios",
        "seconds": 1.5,
        "stages": [],
        "checks": [{"id": "booted", "passed": True, "evidence": "logged in"}],
        "failed_stage": None,
        "sign": None,
        "created": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": 2, "source": "x"}', b"\xff" * 90])
def test_a_record_that_is_none_is_refused(desk: Desk, content: bytes) -> None:
    desk.made.mkdir()
    (desk.made / "conversion.json").write_bytes(content)
    assert "is no record" in refused(desk.wish)


def test_a_folder_of_another_bundle_is_refused(desk: Desk) -> None:
    convert_to_ebs(replace(desk.wish, last_step=StepName.DOWNLOAD))
    shutil.copytree(desk.folder / "bundle", desk.folder / "other")
    other = replace(desk.wish, source=str(desk.folder / "other/image.manifest.xml"), out=desk.made)
    assert "is that of" in refused(other)


def test_two_at_once_are_refused(desk: Desk) -> None:
    desk.made.mkdir()
    lock = desk.made / ".lock"
    holder = subprocess.Popen(
        ["flock", lock, "sh", "-c", "echo held; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(HostError, match="another conversion"):
        convert_to_ebs(desk.wish)
    holder.communicate(b"\n", timeout=30)
    convert_to_ebs(replace(desk.wish, last_step=StepName.DOWNLOAD))


def test_options_of_ebs_are_refused_for_a_disk(desk: Desk) -> None:
    command = [sys.executable, "-m", "imgforge", "convert", desk.disk, "--to", "qcow2", "--size"]
    done = subprocess.run([*map(str, command), "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--size is for --to ebs only" in done.stderr


# Says "ready" when all is imported, and converts when it is told to.
CONVERT = """
import sys
from pathlib import Path
from imgforge.command import run
from imgforge.conversion_step import StepName
from imgforge.ebs_conversion import ConversionWish, convert_to_ebs
wish = ConversionWish(sys.argv[1], key=Path(sys.argv[2]), last_step=StepName.FSTAB)
print("ready", flush=True)
sys.stdin.readline()
convert_to_ebs(wish)
"""


class Converting:
    """A process that is about to convert."""

    def __init__(self, desk: Desk) -> None:
        command = [sys.executable, "-c", CONVERT, desk.wish.source, str(desk.wish.key)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def go(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return time.monotonic()

    def kill_after(self, delay_s: float) -> None:
        self.go()
        try:
            self.process.wait(timeout=delay_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing(desk: Desk) -> None:
    """At twenty moments, each run going on from where the kill left it, or from the start."""
    whole = Converting(desk)
    started = whole.go()
    assert whole.process.wait(120) == 0
    lasts_s = time.monotonic() - started
    reference = begin_of(desk.made / "volume.raw")
    chance = random.Random(5)
    finished = 0
    for moment in range(MOMENTS):
        shutil.rmtree(desk.made)
        converting = Converting(desk)
        converting.kill_after(lasts_s * (moment + chance.random()) / MOMENTS)
        if (desk.made / "volume.raw").exists():
            assert begin_of(desk.made / "volume.raw") == reference
        before = _recorded(desk)
        made = convert_to_ebs(desk.wish)
        repeated = before & {step.name for step in made.steps if step.state is StepState.DONE}
        # A volume that a kill left half copied or half edited is made again.
        assert repeated <= {StepName.VOLUME, StepName.COPY, StepName.PARTITIONS}
        assert begin_of(desk.made / "volume.raw") == reference
        assert sorted(path.name for path in desk.made.iterdir()) == [
            ".lock", "conversion.json", "disk.raw", "volume.raw",
        ]  # fmt: skip
        finished += len(before)
    assert finished  # some kills came late enough to leave something


def _recorded(desk: Desk) -> set[StepName]:
    path = desk.made / "conversion.json"
    if not path.exists():
        return set()
    return {StepName(name) for name in json.loads(path.read_bytes())["steps"]}


@pytest.mark.parametrize(
    ("fraction", "step"),
    [(0.1, "unbundle"), (0.9, "unbundle"), (1.5, "copy")],
    ids=["unbundle", "unbundle-late", "copy"],
)
def test_a_full_disk_is_told_and_the_next_run_goes_on(
    desk: Desk, fraction: float, step: str
) -> None:
    place = desk.folder / "small"
    place.mkdir()
    if subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    convert_to_ebs(replace(desk.wish, last_step=StepName.UNBUNDLE))
    data_bytes = (desk.made / "disk.raw").stat().st_blocks * 512
    size = str(int(data_bytes * fraction) // 4096 * 4096)
    shell = ["unshare", "-Urm", "sh", "-c", SMALL, "sh", size, str(place)]
    words = desk.words("--until", "fstab", "--out", place)
    done = subprocess.run(
        [*shell, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "no space is left" in done.stderr
    listed = done.stdout.partition("step")[0].split()
    assert "volume.raw" not in listed
    assert ("disk.raw" in listed) == (step == "copy")
    assert ("unbundle     done before" in done.stdout) == (step == "copy")
    assert "fstab        done " in done.stdout


@pytest.mark.parametrize("step", [StepName.UNBUNDLE, StepName.COPY])
def test_a_failure_leaves_nothing_that_looks_finished(desk: Desk, step: StepName) -> None:
    if step is StepName.UNBUNDLE:
        part = next((desk.folder / "bundle").glob("*.part.0"))
        part.write_bytes(part.read_bytes()[:-16])
    else:
        convert_to_ebs(replace(desk.wish, last_step=StepName.VOLUME))
        (desk.made / "disk.raw").unlink()
        (desk.made / "disk.raw").mkdir()
    with pytest.raises((ImgforgeError, OSError)):
        convert_to_ebs(desk.wish)
    assert not (desk.made / "volume.raw").exists()


def test_a_bundle_in_s3_is_fetched_once_and_converted(desk: Desk) -> None:
    environment = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
    environment |= {"XDG_DATA_HOME": str(desk.folder / "data"), "HOME": str(desk.folder)}

    def imgforge(*words: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "imgforge", *map(str, words)],
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
