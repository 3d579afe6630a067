"""QEMU's command line for the Xen appliance, decided without touching anything.

Xen is started as a multiboot kernel (QEMU's -kernel), dom0's kernel and initramfs are its modules.
"""

import json
from pathlib import Path

from imgforge.accelerator import Accelerator, AcceleratorKind
from imgforge.machine.argv import (
    Wiring,
    accelerator_argv,
    blockdev_argv,
    escape_option,
    machine_uuid,
    memory_argv,
    monitor_argv,
    network_argv,
    volume_name,
)
from imgforge.machine.spec import MachineSpec
from imgforge.machine.storage import Drive
from imgforge.machine.xen.config import XenGuest
from imgforge.machine.xen.parts import DOM0_MIB, XenBoot

CONSOLE_NAME = "org.imgforge.console"
"""The virtio-serial port of dom0's through which the guest's console comes."""
SESSION_NAME = "org.imgforge.session"
"""The port through which commands come, to a session that dom0 has in the guest."""
HYPERVISOR, KERNEL, INITRAMFS, CONFIG = "xen", "dom0", "dom0.cpio", "config"
GUEST_KERNEL = "kernel"
"""What the appliance is started with, by name, in the machine's folder of such files."""
# dom0's own card is no instance's: the guest behind its bridge has the instance's address.
_DOM0_MAC = "52:54:00:78:65:6e"
_XEN_OPTIONS = (
    "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning "
    f"dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus=1 "
    # Nobody else is on this Xen; on TCG each switch of page tables costs a great deal. The FPU's
    # state is switched with the rest all the same: when it followed later, programs of a guest that
    # had dom0 for a neighbour on its processor crashed (QEMU 7.2, in one boot of two).
    "xpti=no pv-l1tf=no spec-ctrl=no,eager-fpu ucode=no"
)
_DOM0_OPTIONS = (
    "console=hvc0 quiet loglevel=4 panic=-1 no_timer_check mitigations=off cryptomgr.notests "
    "ipv6.disable=1"
)


def xen_argv(spec: MachineSpec, wiring: Wiring) -> list[str]:
    """Return QEMU's arguments, without the program, for an appliance that waits for `cont`."""
    return [
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "pc,memory-backend=memory"),
        *accelerator_argv(_processor(spec)),
        *("-smp", str(_processors(spec)), *memory_argv(spec)),
        *("-S", "-action", "reboot=shutdown,shutdown=pause"),
        *("-rtc", "base=utc,clock=host"),
        *_wires(wiring),
        *_disks(spec, wiring),
        *network_argv(spec, wiring.relay, mac_address=_DOM0_MAC),
        *(("-device", "VGA,vgamem_mb=4") if spec.has_screen else ()),
        # What goes on has all of it in its memory.
        *(("-incoming", "defer") if spec.resume else _boot(wiring)),
    ]


def _boot(wiring: Wiring) -> list[str]:
    files = wiring.files
    modules = f"{escape_option(str(files[KERNEL]))} {_DOM0_OPTIONS},"
    modules += escape_option(str(files[INITRAMFS]))
    return ["-kernel", str(files[HYPERVISOR]), "-append", _XEN_OPTIONS, "-initrd", modules]


def describe_guest(spec: MachineSpec, boot: XenBoot, wiring: Wiring) -> XenGuest:
    """Return the PV guest that a machine's spec stands for."""
    source = spec.source
    return XenGuest(
        root=boot.root,
        uuid=machine_uuid(spec),
        mac_address=spec.instance.mac_address,
        memory_mib=spec.profile.memory_mib,
        vcpus=_processors(spec),
        volumes=len(wiring.storage.volumes),
        has_seed=spec.seed is not None,
        command_line=source.command_line,
        has_initrd=source.initrd is not None,
        bits=boot.bits,
        has_loader=source.kernel is None,
    )


def _processors(spec: MachineSpec) -> int:
    """One where a guest has 32 bits: nothing more was tried with the shim."""
    return 1 if spec.source.xen is not None and spec.source.xen.bits == 32 else spec.profile.vcpus


def _processor(spec: MachineSpec) -> Accelerator:
    """QEMU 7.2's SMAP on TCG ends a PV dom0 (`Unhandled: vec 14 #PF`); the shim needs AMD's SVM.

    Xen's idle loop would use MWAIT in a way that TCG answers with #GP, and panic.
    """
    accelerator, boot = spec.accelerator, spec.source.xen
    if accelerator.kind is not AcceleratorKind.TCG:
        return accelerator
    is_shimmed = boot is not None and boot.bits == 32
    model = "EPYC,-monitor,-smap,+svm,+npt" if is_shimmed else f"{accelerator.cpu_model},-smap"
    return Accelerator(accelerator.kind, model, accelerator.reason)


def _wires(wiring: Wiring) -> list[str]:
    return [
        *("-chardev", f"socket,id=appliance,fd={wiring.appliance_fd}"),
        *("-serial", "chardev:appliance"),
        *monitor_argv(wiring),
        *("-device", "virtio-serial-pci,id=ports"),
        *("-chardev", f"socket,id=console,fd={wiring.console_fd}"),
        *("-device", f"virtserialport,bus=ports.0,chardev=console,name={CONSOLE_NAME}"),
        *_session(wiring),
    ]


def _session(wiring: Wiring) -> list[str]:
    if wiring.channel_fd is None:
        return []
    return [
        *("-chardev", f"socket,id=channel,fd={wiring.channel_fd}"),
        *("-device", f"virtserialport,bus=ports.0,chardev=channel,name={SESSION_NAME}"),
    ]


def _disks(spec: MachineSpec, wiring: Wiring) -> list[str]:
    drives: dict[str, Drive] = {"root": wiring.storage.root}
    drives |= {volume_name(number): drive for number, drive in enumerate(wiring.storage.volumes)}
    arguments = []
    for name, drive in drives.items():
        arguments += [*blockdev_argv(drive, name), *_device(name)]
    given = {
        "kernel": wiring.files[GUEST_KERNEL],
        "initrd": spec.source.initrd,
        "seed": spec.seed,
        "config": wiring.files[CONFIG],
    }
    for name, path in given.items():
        if path is not None:
            arguments += [*_read_only(path, name), *_device(name)]
    return arguments


def disk_device(name: str) -> dict[str, str]:
    """Return what `device_add` takes for a disk of dom0's: its node and serial have one name."""
    return {"driver": "virtio-blk-pci", "drive": name, "serial": name, "id": name}


def _device(name: str) -> list[str]:
    driver, *options = disk_device(name).items()
    return ["-device", ",".join([driver[1], *(f"{key}={value}" for key, value in options)])]


def _read_only(path: Path, name: str) -> list[str]:
    file = {"driver": "file", "filename": str(path.absolute()), "read-only": True}
    node = {"driver": "raw", "file": file, "node-name": name, "read-only": True}
    return ["-blockdev", json.dumps(node, sort_keys=True)]
