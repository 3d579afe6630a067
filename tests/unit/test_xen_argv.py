"""QEMU's command line for the Xen appliance."""

import json
from dataclasses import replace
from pathlib import Path

from imgforge.machine import (
    T2_MICRO,
    Accelerator,
    AcceleratorKind,
    BootSource,
    DiskLayer,
    Drive,
    MachineSpec,
    Storage,
    Suspended,
    XenAppliance,
    XenBoot,
    plain_storage,
)
from imgforge.machine.argv import Wiring
from imgforge.machine.xen.argv import (
    CONFIG,
    GUEST_KERNEL,
    HYPERVISOR,
    INITRAMFS,
    KERNEL,
    describe_guest,
    xen_argv,
)
from imgforge.metadata import Instance

APPLIANCE = XenAppliance(
    hypervisor=Path("/c/xen"),
    kernel=Path("/c/vmlinux.gz"),
    initramfs=Path("/c/dom0.cpio.gz"),
    loader=Path("/c/pv-grub"),
    loader_32=Path("/c/pv-grub-i386"),
    key="0" * 64,
)
FILES = {
    HYPERVISOR: Path("/run/x/xen"),
    KERNEL: Path("/run/x/dom0"),
    INITRAMFS: Path("/run/x/dom0.cpio"),
    CONFIG: Path("/run/x/config"),
    GUEST_KERNEL: Path("/t/kernel"),
}
WIRING = Wiring(
    storage=plain_storage(Path("/out/overlay.qcow2"), disk_format="qcow2"),
    relay=None,
    console_fd=7,
    monitor_fd=9,
    appliance_fd=11,
    files=FILES,
)
SPEC = MachineSpec(
    disk=Path("/disks/pv.raw"),
    accelerator=Accelerator(AcceleratorKind.TCG, "max", "asked for"),
    instance=Instance("i-0123456789abcdef0", "ami-0123456789abcdef0"),
    folder=Path("/out"),
    profile=T2_MICRO,
    source=BootSource(xen=XenBoot(APPLIANCE, "xvda1")),
)


def options(argv: list[str], name: str) -> list[str]:
    return [argv[i + 1] for i, argument in enumerate(argv) if argument == name]


def drives(argv: list[str]) -> list[str]:
    return [json.loads(text)["node-name"] for text in options(argv, "-blockdev")]


def test_xen_is_the_kernel_and_dom0_s_kernel_and_initramfs_its_modules() -> None:
    argv = xen_argv(SPEC, WIRING)
    assert options(argv, "-kernel") == ["/run/x/xen"]
    (modules,) = options(argv, "-initrd")
    kernel, _, initramfs = modules.partition(",")
    assert kernel.startswith("/run/x/dom0 console=hvc0 ")
    assert initramfs == "/run/x/dom0.cpio"


def test_smap_is_off_on_tcg_alone() -> None:
    assert options(xen_argv(SPEC, WIRING), "-cpu") == ["max,-smap"]
    kvm = replace(SPEC, accelerator=Accelerator(AcceleratorKind.KVM, "host", "proved"))
    assert options(xen_argv(kvm, WIRING), "-cpu") == ["host"]


def test_the_two_consoles_come_apart() -> None:
    argv = xen_argv(SPEC, WIRING)
    assert options(argv, "-serial") == ["chardev:appliance"]
    assert "socket,id=appliance,fd=11" in options(argv, "-chardev")
    assert "socket,id=console,fd=7" in options(argv, "-chardev")
    ports = [device for device in options(argv, "-device") if device.startswith("virtserialport")]
    assert ports == ["virtserialport,bus=ports.0,chardev=console,name=org.imgforge.console"]


def test_a_channel_is_a_port_of_dom0_s_for_its_session() -> None:
    argv = xen_argv(SPEC, replace(WIRING, channel_fd=13))
    assert "socket,id=channel,fd=13" in options(argv, "-chardev")
    ports = [device for device in options(argv, "-device") if device.startswith("virtserialport")]
    assert ports[1:] == ["virtserialport,bus=ports.0,chardev=channel,name=org.imgforge.session"]


def test_dom0_s_card_never_has_the_instance_s_address() -> None:
    argv = xen_argv(SPEC, WIRING)
    (card,) = (device for device in options(argv, "-device") if device.startswith("virtio-net"))
    assert SPEC.instance.mac_address not in card


def test_the_guest_has_its_whole_memory_beside_xen_s_and_dom0_s() -> None:
    (size,) = options(xen_argv(SPEC, WIRING), "-m")
    assert int(size.removesuffix("M")) >= T2_MICRO.memory_mib + 256


def test_disks_are_known_by_their_serials() -> None:
    below = Drive((DiskLayer(Path("/v.qcow2"), "qcow2"),))
    wiring = replace(WIRING, storage=Storage(WIRING.storage.root, (below, below)))
    source = replace(SPEC.source, kernel=Path("/t/kernel"), initrd=Path("/t/initrd"))
    argv = xen_argv(replace(SPEC, source=source, seed=Path("/t/seed.iso")), wiring)
    names = ["root", "volume0", "volume1", "kernel", "initrd", "seed", "config"]
    assert drives(argv) == names
    disks = [device for device in options(argv, "-device") if device.startswith("virtio-blk")]
    assert disks == [f"virtio-blk-pci,drive={name},serial={name},id={name}" for name in names]


def test_only_the_guest_s_own_disks_may_be_written_to() -> None:
    nodes = [json.loads(text) for text in options(xen_argv(SPEC, WIRING), "-blockdev")]
    writable = [node["node-name"] for node in nodes if not node.get("read-only")]
    assert writable == ["root"]


def test_an_end_of_the_machine_is_never_a_reboot() -> None:
    assert options(xen_argv(SPEC, WIRING), "-action") == ["reboot=shutdown,shutdown=pause"]
    assert "-S" in xen_argv(SPEC, WIRING)


def test_a_machine_that_goes_on_is_given_no_xen_and_no_dom0() -> None:
    resume = Suspended(Path("/f/state"), WIRING.storage, 9.0, bytes(32), Path("/f/memory"))
    files = {name: FILES[name] for name in (CONFIG, GUEST_KERNEL)}
    argv = xen_argv(replace(SPEC, resume=resume), replace(WIRING, files=files))
    assert {"-kernel", "-initrd", "-append"}.isdisjoint(argv)
    assert options(argv, "-incoming") == ["defer"]
    assert drives(argv) == ["root", "kernel", "config"]


def test_a_guest_whose_seed_tells_it_who_it_is_has_no_uuid_of_ec2() -> None:
    boot = SPEC.source.xen
    assert boot is not None
    assert describe_guest(SPEC, boot, WIRING).uuid.startswith("ec2")
    seeded = describe_guest(replace(SPEC, seed=Path("/t/seed.iso")), boot, WIRING)
    assert not seeded.uuid.startswith("ec2")
    assert seeded.has_seed


def test_a_32_bit_guest_is_in_a_shim_that_needs_svm_and_more_memory() -> None:
    narrow = replace(SPEC, source=BootSource(xen=XenBoot(APPLIANCE, "xvda1", bits=32)))
    assert options(xen_argv(narrow, WIRING), "-cpu") == ["EPYC,-monitor,-smap,+svm,+npt"]
    assert options(xen_argv(narrow, WIRING), "-smp") == ["1"]
    assert narrow.memory_mib > SPEC.memory_mib
