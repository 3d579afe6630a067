"""What `imgforge convert --to ebs` refuses, and in which words."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.bundle import MachineConfiguration, load_manifest, read_private_key
from imgforge.bundle.manifest_writer import write_manifest
from imgforge.bundle.secret import sign_manifest
from imgforge.conversion_step import StepName
from imgforge.disk import disk_sha256
from imgforge.ebs_conversion import (
    ConversionWish,
    EbsOptions,
    convert_to_ebs,
    plan,
)
from imgforge.ec2 import CloudWish
from imgforge.errors import BadInputError, HostError
from tests.bundle_material import identity, noise
from tests.ebs_desk import MIB, START, Desk, bundled, make_disk, make_filesystem, states


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return bundled(tmp_path, make_disk(tmp_path))


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


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_kernel_of_another_region_is_told_before_and_refused_before_the_work(
    tmp_path: Path, region: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine = MachineConfiguration("x86_64", kernel_id="aki-5c21674b")  # us-east-1's
    desk = bundled(tmp_path, make_filesystem(tmp_path), machine)
    cloud = CloudWish(region=region, url="local")
    wish = replace(desk.wish, cloud=cloud, last_step=StepName.REGISTER)
    plan(wish)
    assert ("aki-5c21674b is of us-east-1; eu-west-1 has none of that id" in caplog.text) == (
        region != "us-east-1"
    )
    if region == "us-east-1":
        return
    for _ in range(2):
        assert "aki-5c21674b in eu-west-1; that one is of us-east-1" in refused(wish)
        assert states(wish)["identify"] == "stands"
        assert states(wish)["volume"] == "to-do"
    convert_to_ebs(replace(wish, last_step=StepName.FSTAB))  # no region has a say in that
    assert "kernel-region" in refused(wish, made=True)


def test_a_name_that_no_image_can_have_is_refused_early(desk: Desk) -> None:
    named = replace(desk.wish, ebs=EbsOptions(name="no"))
    assert "name: found 'no'" in refused(named)


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


def test_an_architecture_that_ec2_does_not_know_is_refused_before_anything(desk: Desk) -> None:
    key = read_private_key(desk.folder / "keys/user-key.pem")
    manifest = Path(desk.wish.source)
    read = load_manifest(manifest).manifest
    strange = replace(read, machine=MachineConfiguration("sparc"))
    manifest.write_bytes(write_manifest(sign_manifest(strange, key)))
    for look in (refused, plan_refused):
        told = look(desk.wish)
        assert "has the architecture sparc; i386, x86_64" in told
    assert not desk.made.exists()
    convert_to_ebs(replace(desk.wish, last_step=StepName.UNBUNDLE))


def plan_refused(wish: ConversionWish) -> str:
    with pytest.raises(BadInputError) as caught:
        plan(wish)
    return str(caught.value)


def test_a_step_that_needs_the_key_is_refused_before_anything(desk: Desk) -> None:
    keyless = replace(desk.wish, key=None)
    assert "the step unbundle needs the private key" in plan_refused(keyless)
    assert "the step unbundle needs the private key" in refused(keyless)
    assert not desk.made.exists()
    convert_to_ebs(replace(keyless, last_step=StepName.DOWNLOAD))
    convert_to_ebs(replace(desk.wish, last_step=StepName.UNBUNDLE))
    convert_to_ebs(keyless)  # all that needs it is done
    far = replace(keyless, source="s3://bucket/x/image.manifest.xml", out=desk.folder / "far")
    assert "the step download needs the private key" in plan_refused(far)


def test_a_file_where_the_folder_is_to_be_is_refused(desk: Desk) -> None:
    key = desk.wish.key
    assert key is not None
    wish = replace(desk.wish, out=key)
    assert "is a file; the conversion needs a folder" in plan_refused(wish)
    assert "is a file; the conversion needs a folder" in refused(wish)
