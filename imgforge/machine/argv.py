"""QEMU's command line, decided without touching anything (QEMU 7.2, qemu-system-x86_64(1))."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from imgforge.accelerator import Accelerator, AcceleratorKind
from imgforge.machine.instance_type import DiskBus
from imgforge.machine.spec import BootSource, MachineSpec

_NETWORK = "169.0.0.0/8"
_HOST_ADDRESS = "169.254.169.1"
_DNS_ADDRESS = "169.254.169.253"
_METADATA_ADDRESS = "169.254.169.254"
# A namespace of our own for the DMI uuid, so that an instance keeps its uuid from boot to boot.
_UUID_NAMESPACE = uuid.UUID("b7d8f1c0-7a44-5d0c-9d0e-0d1f6a9f3c11")


@dataclass(frozen=True, slots=True)
class Wiring:
    """What connects QEMU to us: descriptors it inherits, its overlay, and the relay's launcher.

    `relay` is a shell script; its path has no spaces, commas or quotes, since slirp splits the
    command on spaces (QEMU's `guestfwd=…-cmd:`) and knows no quoting.
    """

    overlay: Path
    relay: Path
    console_fd: int
    monitor_fd: int


def qemu_argv(spec: MachineSpec, wiring: Wiring) -> list[str]:
    """Return QEMU's arguments, without the program, for a machine that waits for `cont`."""
    return [
        *("-nodefaults", "-no-user-config", "-display", "none"),
        # graphics=off makes SeaBIOS speak on the serial line: its own messages, and whatever a
        # boot loader prints through the BIOS before it knows of a serial console.
        *("-machine", "pc,graphics=off"),
        *accelerator_argv(spec.accelerator),
        *("-smp", str(spec.profile.vcpus), "-m", f"{spec.profile.memory_mib}M"),
        *("-S", "-action", "reboot=shutdown,shutdown=pause"),
        *("-rtc", "base=utc,clock=host"),
        *_identity(spec),
        *_wires(wiring),
        *_disk(spec, wiring.overlay),
        *_network(spec, wiring.relay),
        *("-object", "rng-random,id=entropy,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=entropy"),
        *_boot_source(spec.source),
    ]


def accelerator_argv(accelerator: Accelerator) -> list[str]:
    """Return the arguments that choose who runs the guest's instructions."""
    name = "tcg,thread=multi" if accelerator.kind is AcceleratorKind.TCG else "kvm"
    return ["-accel", name, "-cpu", accelerator.cpu_model]


def instance_uuid(instance_id: str) -> str:
    """Return the DMI product uuid of an instance: on EC2 it starts with `ec2`.

    cloud-init's ds-identify goes by it
    (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html).
    """
    return "ec2" + str(uuid.uuid5(_UUID_NAMESPACE, instance_id))[3:]


def _identity(spec: MachineSpec) -> list[str]:
    product_uuid = instance_uuid(spec.instance.instance_id)
    product = _escape(spec.instance.instance_type)
    return [
        *("-uuid", product_uuid),
        *("-smbios", "type=0,vendor=Amazon EC2,version=1.0"),
        "-smbios",
        f"type=1,manufacturer=Amazon EC2,product={product},serial={product_uuid},"
        f"uuid={product_uuid}",
        "-smbios",
        f"type=2,manufacturer=Amazon EC2,asset={_escape(spec.instance.instance_id)}",
        *("-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2"),
    ]


def _wires(wiring: Wiring) -> list[str]:
    return [
        *("-chardev", f"socket,id=console,fd={wiring.console_fd}"),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={wiring.monitor_fd}"),
        *("-mon", "chardev=monitor,mode=control"),
    ]


def _disk(spec: MachineSpec, overlay: Path) -> list[str]:
    node = {
        "driver": "qcow2",
        "node-name": "root",
        # The overlay is thrown away: nobody needs its writes to survive a power cut.
        "cache": {"direct": False, "no-flush": True},
        "discard": "unmap",
        "file": {
            "driver": "file",
            "filename": str(overlay),
            "cache": {"direct": False, "no-flush": True},
            "discard": "unmap",
        },
    }
    if spec.profile.disk_bus is DiskBus.NVME:
        # The serial an EBS volume shows on Nitro; NVMe allows 20 characters.
        serial = "vol" + uuid.uuid5(_UUID_NAMESPACE, spec.instance.instance_id).hex[:17]
        device = f"nvme,drive=root,serial={serial},bootindex=1"
    else:
        device = "virtio-blk-pci,drive=root,bootindex=1"
    return ["-blockdev", json.dumps(node, sort_keys=True), "-device", device]


def _network(spec: MachineSpec, relay: Path) -> list[str]:
    options = [
        "user",
        "id=net",
        f"net={_NETWORK}",
        f"host={_HOST_ADDRESS}",
        f"dns={_DNS_ADDRESS}",
        f"dhcpstart={spec.instance.local_ipv4}",
        *([] if spec.network else ["restrict=on"]),
        "ipv6=off",
        f"guestfwd=tcp:{_METADATA_ADDRESS}:80-cmd:/bin/sh {relay}",
        "hostfwd=tcp:127.0.0.1:0-:22",
    ]
    # Without romfile= SeaBIOS also runs the card's PXE firmware.
    device = f"virtio-net-pci,netdev=net,mac={spec.instance.mac_address},romfile="
    return ["-netdev", ",".join(options), "-device", device]


def _boot_source(source: BootSource) -> list[str]:
    if source.kernel is None:
        return []
    initrd = [] if source.initrd is None else ["-initrd", str(source.initrd)]
    return ["-kernel", str(source.kernel), *initrd, "-append", source.command_line]


def _escape(value: str) -> str:
    """Escape a value inside one of QEMU's comma-separated options."""
    return value.replace(",", ",,")
