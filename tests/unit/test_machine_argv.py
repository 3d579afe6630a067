"""QEMU's command line."""

import json
from dataclasses import replace
from pathlib import Path

from imgforge.machine import (
    Accelerator,
    AcceleratorKind,
    BootSource,
    DiskBus,
    InstanceType,
    MachineSpec,
    plain_storage,
)
from imgforge.machine.argv import Wiring, instance_uuid, qemu_argv
from imgforge.metadata import Instance

WIRING = Wiring(
    storage=plain_storage(Path("/out/a,b/overlay.qcow2"), disk_format="qcow2"),
    relay=Path("/run/x/relay"),
    console_fd=7,
    monitor_fd=9,
)
SPEC = MachineSpec(
    disk=Path("/disks/minimal.raw"),
    accelerator=Accelerator(AcceleratorKind.TCG, "max", "asked for"),
    instance=Instance("i-0123456789abcdef0", "ami-0123456789abcdef0"),
    folder=Path("/out"),
)


def options(argv: list[str], name: str) -> list[str]:
    return [argv[i + 1] for i, argument in enumerate(argv) if argument == name]


def test_a_guest_is_kept_from_the_network_unless_asked() -> None:
    (netdev,) = options(qemu_argv(SPEC, WIRING), "-netdev")
    assert ",restrict=on," in netdev
    assert netdev.startswith("user,id=net,net=168.0.0.0/5,host=172.31.0.1,")
    (asked,) = options(qemu_argv(replace(SPEC, network=True), WIRING), "-netdev")
    assert "restrict" not in asked


def test_the_metadata_address_leads_to_the_relay_and_ssh_to_a_free_loopback_port() -> None:
    (netdev,) = options(qemu_argv(SPEC, WIRING), "-netdev")
    assert "guestfwd=tcp:169.254.169.254:80-cmd:/bin/sh /run/x/relay" in netdev.split(",")
    assert "hostfwd=tcp:127.0.0.1:0-:22" in netdev.split(",")


def test_the_machine_waits_for_cont_and_never_reboots_by_itself() -> None:
    argv = qemu_argv(SPEC, WIRING)
    assert "-S" in argv
    assert options(argv, "-action") == ["reboot=shutdown,shutdown=pause"]
    assert "-nodefaults" in argv


def test_dmi_says_ec2() -> None:
    argv = qemu_argv(SPEC, WIRING)
    (product_uuid,) = options(argv, "-uuid")
    assert product_uuid == instance_uuid(SPEC.instance.instance_id)
    assert product_uuid.startswith("ec2")
    assert len(product_uuid) == 36
    firmware, system, board, _ = options(argv, "-smbios")
    assert "vendor=Amazon EC2" in firmware
    assert f"serial={product_uuid}" in system
    assert "product=t3.micro" in system
    assert board.endswith("asset=i-0123456789abcdef0")


def test_an_instance_keeps_its_uuid_and_another_has_another() -> None:
    assert instance_uuid("i-1") == instance_uuid("i-1")
    assert instance_uuid("i-1") != instance_uuid("i-2")


def test_a_comma_in_a_name_does_not_become_an_option() -> None:
    argv = qemu_argv(
        replace(SPEC, instance=replace(SPEC.instance, instance_type="t3,uuid=evil")), WIRING
    )
    assert any("product=t3,,uuid=evil," in text for text in options(argv, "-smbios"))
    (disk,) = options(argv, "-blockdev")
    assert json.loads(disk)["file"]["filename"] == "/out/a,b/overlay.qcow2"


def test_the_disk_is_nvme_with_an_ebs_serial_or_virtio() -> None:
    nvme = next(d for d in options(qemu_argv(SPEC, WIRING), "-device") if d.startswith("nvme"))
    serial = next(part for part in nvme.split(",") if part.startswith("serial="))
    assert serial.startswith("serial=vol")
    assert len(serial.removeprefix("serial=")) == 20
    profile = InstanceType("old", vcpus=1, memory_mib=256, disk_bus=DiskBus.VIRTIO)
    argv = qemu_argv(replace(SPEC, profile=profile), WIRING)
    assert "virtio-blk-pci,drive=root,bootindex=1" in options(argv, "-device")
    assert options(argv, "-m") == ["256M"]
    assert options(argv, "-smp") == ["1"]


def test_a_kernel_is_given_only_where_the_source_names_one() -> None:
    assert "-kernel" not in qemu_argv(SPEC, WIRING)
    source = BootSource(Path("/k"), Path("/i"), "root=LABEL=root console=ttyS0")
    argv = qemu_argv(replace(SPEC, source=source), WIRING)
    assert argv[-6:] == ["-kernel", "/k", "-initrd", "/i", "-append", source.command_line]
    without_initrd = qemu_argv(replace(SPEC, source=BootSource(Path("/k"))), WIRING)
    assert without_initrd[-4:] == ["-kernel", "/k", "-append", ""]


def test_kvm_takes_the_proved_cpu_model() -> None:
    proved = Accelerator(AcceleratorKind.KVM, "host,arch-capabilities=off", "proved")
    argv = qemu_argv(replace(SPEC, accelerator=proved), WIRING)
    assert options(argv, "-accel") == ["kvm"]
    assert options(argv, "-cpu") == ["host,arch-capabilities=off"]
    assert options(qemu_argv(SPEC, WIRING), "-accel") == ["tcg,thread=multi"]


def test_a_seed_is_a_read_only_disk_behind_all_others_and_no_dmi_says_ec2() -> None:
    argv = qemu_argv(replace(SPEC, seed=Path("/out/a,b/seed.iso")), WIRING)
    node = json.loads(options(argv, "-blockdev")[-1])
    assert node["read-only"]
    assert node["file"]["filename"] == "/out/a,b/seed.iso"
    assert "virtio-blk-pci,drive=seed,serial=seed,addr=0x1f" in options(argv, "-device")
    assert not any("Amazon" in word or word.startswith("ec2") for word in argv)
