"""EC2's rules for registering, each both ways, and the gate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgforge.acceptance import Verdict
from imgforge.catalog import (
    Architecture,
    BlockDeviceMapping,
    BootMode,
    EbsDevice,
    Gate,
    ImageRegistration,
    VirtualizationType,
    VolumeType,
    check_registration,
    smallest_gib,
)
from imgforge.catalog.rules import check_gate, size_gib
from imgforge.disk import Disk
from imgforge.errors import BadInputError, ImageRejectedError
from imgforge.recipe import ImagePart, Layout

DISK = Disk(path=Path("d.raw"), sha256="ab" * 32, size_bytes=3 * 2**30 + 1)
SNAPSHOTS = {"snap-0123456789abcdef0": 8}
ROOT = BlockDeviceMapping("/dev/xvda", ebs=EbsDevice())
HVM = ImageRegistration(
    name="an image",
    architecture=Architecture.X86_64,
    virtualization_type=VirtualizationType.HVM,
    root_device_name="/dev/xvda",
    block_devices=(ROOT,),
)
PV = replace(
    HVM,
    virtualization_type=VirtualizationType.PARAVIRTUAL,
    root_device_name="/dev/sda1",
    block_devices=(BlockDeviceMapping("/dev/sda1", ebs=EbsDevice()),),
)


def rules_broken(registration: ImageRegistration, disk: Disk = DISK) -> set[str]:
    found = check_registration(registration, disk=disk, snapshots=SNAPSHOTS)
    return {finding.rule for finding in found}


def with_device(device: BlockDeviceMapping) -> ImageRegistration:
    return replace(HVM, block_devices=(ROOT, device))


def with_root(**ebs: Any) -> ImageRegistration:
    return replace(HVM, block_devices=(BlockDeviceMapping("/dev/xvda", ebs=EbsDevice(**ebs)),))


def with_volume(**ebs: Any) -> ImageRegistration:
    return with_device(BlockDeviceMapping("/dev/sdb", ebs=EbsDevice(**ebs)))


@pytest.mark.parametrize("registration", [HVM, PV])
def test_a_plain_registration_breaks_no_rule(registration: ImageRegistration) -> None:
    assert rules_broken(registration) == set()


@pytest.mark.parametrize("name", ["abc", "a" * 128, "A-z 0.9 (x) [y] ./-'@_"])
def test_accepts_names_as_ec2_does(name: str) -> None:
    assert rules_broken(replace(HVM, name=name)) == set()


@pytest.mark.parametrize("name", ["", "ab", "a" * 129, "a:b", "name\n", "näme", "a\0b", "a{b}"])
def test_refuses_names_as_ec2_does(name: str) -> None:
    assert rules_broken(replace(HVM, name=name)) == {"name"}


def test_limits_the_description() -> None:
    assert rules_broken(replace(HVM, description="d" * 255)) == set()
    assert rules_broken(replace(HVM, description="d" * 256)) == {"description"}


@pytest.mark.parametrize(
    "tags",
    [{"": "v"}, {"k" * 129: "v"}, {"aws:x": "v"}, {"AWS:x": "v"}, {"k": "v" * 257}],
)
def test_refuses_tags_as_ec2_does(tags: dict[str, str]) -> None:
    assert rules_broken(replace(HVM, tags=tags)) == {"tags"}


def test_counts_tags() -> None:
    assert rules_broken(replace(HVM, tags={f"k{n}": "" for n in range(50)})) == set()
    assert rules_broken(replace(HVM, tags={f"k{n}": "" for n in range(51)})) == {"tags"}


def test_an_hvm_image_has_no_kernel_id_and_a_pv_image_may() -> None:
    assert rules_broken(replace(HVM, kernel_id="aki-919dcaf8")) == {"kernel-id"}
    assert rules_broken(replace(PV, kernel_id="aki-919dcaf8")) == set()
    assert rules_broken(replace(PV, kernel_id="aki-xyz")) == {"kernel-id"}


def test_a_pv_image_has_neither_ena_nor_uefi() -> None:
    assert rules_broken(replace(HVM, ena_support=True, boot_mode=BootMode.UEFI)) == set()
    broken = rules_broken(replace(PV, ena_support=True, boot_mode=BootMode.UEFI))
    assert broken == {"ena-support", "boot-mode"}


@pytest.mark.parametrize("layout", Layout)
def test_the_virtualization_type_follows_the_layout(layout: Layout) -> None:
    disk = replace(DISK, layout=layout)
    fitting, other = (PV, HVM) if layout.is_pv else (HVM, PV)
    assert rules_broken(fitting, disk) == set()
    assert rules_broken(other, disk) == {"virtualization-type"}


def test_the_root_device_is_one_that_ec2_knows_and_is_mapped() -> None:
    sda1 = BlockDeviceMapping("/dev/sda1", ebs=EbsDevice())
    assert rules_broken(replace(HVM, root_device_name="/dev/sda1", block_devices=(sda1,))) == set()
    assert rules_broken(replace(HVM, block_devices=())) == {"root-device-name"}
    sdb = BlockDeviceMapping("/dev/sdb", ebs=EbsDevice())
    broken = rules_broken(replace(HVM, root_device_name="/dev/sdb", block_devices=(sdb,)))
    assert broken == {"root-device-name"}
    unmapped = BlockDeviceMapping("/dev/xvda", no_device=True)
    assert rules_broken(replace(HVM, block_devices=(unmapped,))) == {"root-device"}


@pytest.mark.parametrize("name", ["/dev/sdb", "/dev/sdz", "/dev/xvdba", "/dev/xvdz", "/dev/xvde"])
def test_accepts_hvm_device_names(name: str) -> None:
    assert rules_broken(with_device(BlockDeviceMapping(name, no_device=True))) == set()


@pytest.mark.parametrize(
    "name", ["/dev/sdb1", "/dev/hdb", "/dev/xvdea", "/dev/xvdb", "sdb", "", "/dev/sdb\n"]
)
def test_refuses_hvm_device_names(name: str) -> None:
    device = BlockDeviceMapping(name, no_device=True)
    assert rules_broken(with_device(device)) == {"device-name"}


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("/dev/sdb", set()),
        ("/dev/sda15", set()),
        ("/dev/hdz1", set()),
        ("/dev/sda16", {"device-name"}),
        ("/dev/sda0", {"device-name"}),
        ("/dev/xvdb", {"device-name"}),
    ],
)
def test_pv_device_names(name: str, broken: set[str]) -> None:
    device = BlockDeviceMapping(name, no_device=True)
    assert rules_broken(replace(PV, block_devices=(*PV.block_devices, device))) == broken


def test_a_device_is_named_once_and_is_one_thing() -> None:
    assert rules_broken(with_device(ROOT)) == {"device-name"}
    assert rules_broken(with_device(BlockDeviceMapping("/dev/sdb"))) == {"device"}
    both = BlockDeviceMapping("/dev/sdb", virtual_name="ephemeral0", no_device=True)
    assert rules_broken(with_device(both)) == {"device"}


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("ephemeral0", set()),
        ("ephemeral23", set()),
        ("ephemeral24", {"virtual-name"}),
        ("ephemeral", {"virtual-name"}),
        ("ephemeral01", {"virtual-name"}),
        ("swap", {"virtual-name"}),
    ],
)
def test_virtual_names(name: str, broken: set[str]) -> None:
    device = BlockDeviceMapping("/dev/sdb", virtual_name=name)
    assert rules_broken(with_device(device)) == broken


@pytest.mark.parametrize(
    ("kind", "size_gib", "iops", "broken"),
    [
        (VolumeType.GP2, 16384, None, set()),
        (VolumeType.GP2, 16385, None, {"volume-size"}),
        (VolumeType.GP2, 10, 100, {"iops"}),
        (VolumeType.GP3, 65536, 3000, set()),
        (VolumeType.GP3, 65537, None, {"volume-size"}),
        (VolumeType.GP3, 10, 2999, {"iops"}),
        (VolumeType.IO1, 4, 100, set()),
        (VolumeType.IO1, 3, 100, {"volume-size"}),
        (VolumeType.IO1, 4, None, {"iops"}),
        (VolumeType.IO1, 4, 200, set()),
        (VolumeType.IO1, 4, 201, {"iops-ratio"}),
        (VolumeType.IO1, 1280, 64000, set()),
        (VolumeType.IO1, 1280, 64001, {"iops"}),
        (VolumeType.IO2, 4, 4000, set()),
        (VolumeType.IO2, 4, 4001, {"iops-ratio"}),
        (VolumeType.IO2, 4, 0, {"iops"}),
        (VolumeType.GP3, 1, 3000, set()),
        (VolumeType.GP3, 6, 3001, {"iops-ratio"}),
        (VolumeType.GP3, 7, 3500, set()),
        (VolumeType.GP3, 7, 3501, {"iops-ratio"}),
        (VolumeType.GP3, 160, 80000, set()),
        (VolumeType.GP3, 10, 0, {"iops"}),
        (VolumeType.IO2, 65536, 256000, set()),
        (VolumeType.IO2, 4, 256001, {"iops"}),
        (VolumeType.ST1, 125, None, set()),
        (VolumeType.ST1, 124, None, {"volume-size"}),
        (VolumeType.SC1, 124, None, {"volume-size"}),
        (VolumeType.STANDARD, 1024, None, set()),
        (VolumeType.STANDARD, 1025, None, {"volume-size"}),
        (VolumeType.GP3, None, None, {"volume-size"}),
        (VolumeType.GP3, 0, None, {"volume-size"}),
        (VolumeType.GP3, -1, None, {"volume-size"}),
    ],
)
def test_limits_of_volumes(
    kind: VolumeType, size_gib: int | None, iops: int | None, broken: set[str]
) -> None:
    found = rules_broken(with_volume(volume_type=kind, volume_size_gib=size_gib, iops=iops))
    assert found == broken


@pytest.mark.parametrize(
    ("iops", "throughput", "broken"),
    [
        (None, 125, set()),
        (None, 750, set()),
        (None, 751, {"throughput-ratio"}),
        (4000, 1000, set()),
        (4000, 1001, {"throughput-ratio"}),
        (8000, 2000, set()),
        (8000, 2001, {"throughput"}),
        (3000, 124, {"throughput"}),
        (None, 0, {"throughput"}),
    ],
)
def test_throughput_needs_iops(iops: int | None, throughput: int, broken: set[str]) -> None:
    asked = with_volume(
        volume_type=VolumeType.GP3, volume_size_gib=100, iops=iops, throughput=throughput
    )
    assert rules_broken(asked) == broken


@pytest.mark.parametrize(
    ("kind", "iops", "smallest"),
    [
        (VolumeType.IO1, 500, 10),
        (VolumeType.IO1, 501, 11),
        (VolumeType.IO2, 100, 4),
        (VolumeType.GP3, None, 1),
        (VolumeType.ST1, None, 125),
    ],
)
def test_the_smallest_volume_with_so_many_iops(
    kind: VolumeType, iops: int | None, smallest: int
) -> None:
    assert smallest_gib(EbsDevice(volume_type=kind, iops=iops)) == smallest


def test_a_root_volume_of_no_size_is_not_as_large_as_the_disk() -> None:
    assert rules_broken(with_root(volume_size_gib=0)) == {"volume-size"}


def test_a_root_volume_holds_the_disk_and_can_boot() -> None:
    assert rules_broken(with_root(volume_size_gib=4)) == set()
    assert rules_broken(with_root(volume_size_gib=3)) == {"volume-size"}
    assert rules_broken(with_root(volume_type=VolumeType.ST1, volume_size_gib=200)) == {
        "volume-type"
    }
    assert rules_broken(with_root(encrypted=True)) == {"encrypted"}
    assert rules_broken(with_root(snapshot_id="snap-0123456789abcdef0")) == {"snapshot"}


def test_a_volume_from_a_snapshot_is_as_large_and_as_encrypted() -> None:
    known = "snap-0123456789abcdef0"
    assert rules_broken(with_volume(snapshot_id=known)) == set()
    assert rules_broken(with_volume(snapshot_id=known, volume_size_gib=8)) == set()
    assert rules_broken(with_volume(snapshot_id=known, volume_size_gib=7)) == {"volume-size"}
    assert rules_broken(with_volume(snapshot_id=known, encrypted=False)) == {"encrypted"}
    assert rules_broken(with_volume(snapshot_id="snap-1")) == {"snapshot"}
    assert rules_broken(with_volume(volume_size_gib=1, encrypted=True)) == set()


def test_all_findings_are_told_at_once() -> None:
    broken = rules_broken(replace(with_root(volume_size_gib=1), name="x", kernel_id="aki-1"))
    assert broken == {"name", "kernel-id", "volume-size"}


@pytest.mark.parametrize(
    ("size_bytes", "gib"), [(1, 1), (2**30, 1), (2**30 + 1, 2), (10 * 2**30, 10)]
)
def test_volumes_are_rounded_up_to_gib(size_bytes: int, gib: int) -> None:
    assert size_gib(size_bytes) == gib


@pytest.mark.parametrize("layout", Layout)
def test_what_a_recipe_declares_breaks_no_rule(layout: Layout) -> None:
    part = ImagePart.model_validate(
        {
            "name": "minimal {layout} {version}",
            "version": "7",
            "tags": {"a": "b"},
            "block_devices": (
                {"device_name": "/dev/sdb", "virtual_name": "ephemeral0"},
                {"device_name": "/dev/sdc", "ebs": {"volume_size": 3}},
            ),
        }
    )
    registration = ImageRegistration.of_recipe(part, layout=layout)
    assert rules_broken(registration, replace(DISK, layout=layout)) == set()
    assert registration.name == f"minimal {layout} 7"
    assert registration.block_devices[0].device_name == registration.root_device_name
    assert registration.root_device_name == ("/dev/sda1" if layout.is_pv else "/dev/xvda")


def test_a_recipe_may_map_its_root_itself() -> None:
    part = ImagePart.model_validate(
        {"name": "own root", "block_devices": ({"device_name": "/dev/sda1", "ebs": {}},)}
    )
    registration = ImageRegistration.of_recipe(part, layout=Layout.HVM_MBR)
    assert registration.root_device_name == "/dev/sda1"
    assert len(registration.block_devices) == 1


def make_verdict(**changes: Any) -> Verdict:
    values: dict[str, Any] = {
        "schema": 1,
        "accepted": True,
        "reason": "it let the key's owner in",
        "disk": {"sha256_before": "ab" * 32, "sha256_after": "ab" * 32, "layout": None},
        "recipe_sha256": "",
        "lock_sha256": "",
        "accelerator": {"kind": "tcg", "reason": "asked for"},
        "qemu_version": "7.2",
        "seconds": 1.5,
        "sign": None,
        "boot_method": "bios",
        "stages": [],
        "checks": [{"id": "booted", "passed": True, "evidence": "logged in"}],
        "failed_stage": None,
        "created": "2026-01-01T00:00:00Z",
    }
    return Verdict.model_validate({**values, **changes})


def test_the_gate_opens_for_an_accepted_verdict_of_this_disk() -> None:
    assert check_gate(DISK, verdict=make_verdict(), gate=Gate.VERDICT)
    assert check_gate(DISK, verdict=make_verdict(), gate=Gate.UNVERIFIED)


@pytest.mark.parametrize(
    ("tested", "reason"),
    [
        ({"sha256_before": "cd" * 32, "sha256_after": "cd" * 32, "layout": None}, "another disk"),
        ({"sha256_before": "ab" * 32, "sha256_after": "cd" * 32, "layout": None}, "changed while"),
        ({"sha256_before": "cd" * 32, "sha256_after": "ab" * 32, "layout": None}, "changed while"),
        ({"sha256_before": "", "sha256_after": "", "layout": None}, "another disk"),
        (
            {"sha256_before": "ab" * 32, "sha256_after": "ab" * 32, "layout": "hvm-gpt"},
            "tested as hvm-gpt",
        ),
    ],
)
def test_the_gate_stays_shut_for_other_disks(tested: dict[str, Any], reason: str) -> None:
    disk = replace(DISK, layout=Layout.HVM_MBR)
    with pytest.raises(BadInputError, match=reason):
        check_gate(disk, verdict=make_verdict(disk=tested), gate=Gate.VERDICT)
    assert not check_gate(disk, verdict=make_verdict(disk=tested), gate=Gate.UNVERIFIED)


def test_the_gate_stays_shut_without_a_verdict_and_for_a_rejection() -> None:
    with pytest.raises(BadInputError, match="no verdict") as caught:
        check_gate(DISK, verdict=None, gate=Gate.VERDICT)
    assert "--unverified" in caught.value.hint
    rejected = make_verdict(accepted=False, reason="the kernel panicked")
    with pytest.raises(ImageRejectedError, match="the kernel panicked"):
        check_gate(DISK, verdict=rejected, gate=Gate.VERDICT)
    assert not check_gate(DISK, verdict=rejected, gate=Gate.UNVERIFIED)


@pytest.mark.parametrize(
    "changes",
    [
        {"checks": []},
        {"checks": [{"id": "booted", "passed": False, "evidence": "nobody got in"}]},
        {"failed_stage": "kernel"},
        {
            "sign": {"id": "x", "meaning": "m", "text": "t", "seconds": 1.0, "hint": ""},
        },
    ],
)
def test_the_gate_stays_shut_for_a_verdict_that_contradicts_itself(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="contradicts itself"):
        check_gate(DISK, verdict=make_verdict(**changes), gate=Gate.VERDICT)
