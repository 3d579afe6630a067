"""QEMU's command line, decided without touching anything (QEMU 7.2, qemu-system-x86_64(1))."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgforge.accelerator import Accelerator, AcceleratorKind
from imgforge.machine.instance_type import DiskBus
from imgforge.machine.spec import BootSource, MachineSpec
from imgforge.machine.storage import Drive, Storage, drive_node
from imgforge.machine.subnet import subnet_of

_METADATA_ADDRESS = "169.254.169.254"
# A port of the metadata address that nobody asks for.
_DISCARD_PORT = 9
CHANNEL_NAME = "org.imgforge.agent"
"""The virtio-serial port on which the guest's agent takes commands."""
_FIRST_VOLUME_SLOT = 0x10
_SEED_SLOT = 0x1F  # the last: the seed must not take the name of a volume
# A namespace of our own for the DMI uuid, so that an instance keeps its uuid from boot to boot.
_UUID_NAMESPACE = uuid.UUID("b7d8f1c0-7a44-5d0c-9d0e-0d1f6a9f3c11")


@dataclass(frozen=True, slots=True)
class Wiring:
    """What connects QEMU to us: descriptors it inherits, its disks, and the relay's launcher.

    `relay` is a shell script; its path has no spaces, commas or quotes, since slirp splits the
    command on spaces (QEMU's `guestfwd=…-cmd:`) and knows no quoting. Without one QEMU runs in a
    namespace where 169.254.169.254 is. `appliance_fd` and `files` are only those of a guest under
    Xen: its appliance's console, and what the appliance is started with (xen/argv.py).
    """

    storage: Storage
    relay: Path | None
    console_fd: int
    monitor_fd: int
    channel_fd: int | None = None
    appliance_fd: int | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


def qemu_argv(spec: MachineSpec, wiring: Wiring) -> list[str]:
    """Return QEMU's arguments, without the program, for a machine that waits for `cont`."""
    return [
        *("-nodefaults", "-no-user-config", "-display", "none"),
        # graphics=off makes SeaBIOS speak on the serial line: its own messages, and whatever a
        # boot loader prints through the BIOS before it knows of a serial console.
        *("-machine", "pc,graphics=off,memory-backend=memory"),
        *accelerator_argv(spec.accelerator),
        *("-smp", str(spec.profile.vcpus), *memory_argv(spec)),
        *("-S", "-action", "reboot=shutdown,shutdown=pause"),
        *("-rtc", "base=utc,clock=host"),
        *identity_argv(spec),
        *_wires(wiring),
        *_disks(spec, wiring.storage),
        *seed_argv(spec.seed),
        *network_argv(spec, wiring.relay),
        *("-object", "rng-random,id=entropy,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=entropy"),
        *_channel(wiring),
        *(("-device", "VGA,vgamem_mb=4") if spec.has_screen else ()),
        *_boot_source(spec.source),
        *(("-incoming", "defer") if spec.resume else ()),
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


def machine_uuid(spec: MachineSpec) -> str:
    """Return a machine's uuid: EC2's, but where a seed tells it who it is.

    ds-identify would find EC2, too, and an image that cannot read seeds would wait for it.
    """
    if spec.seed is not None:
        return str(uuid.uuid5(_UUID_NAMESPACE, f"seed {spec.instance.instance_id}"))
    return instance_uuid(spec.instance.instance_id)


def identity_argv(spec: MachineSpec) -> list[str]:
    """Return the arguments of its DMI, by which a guest knows EC2."""
    product_uuid = machine_uuid(spec)
    if spec.seed is not None:
        return ["-uuid", product_uuid]
    product = escape_option(spec.instance.instance_type)
    return [
        *("-uuid", product_uuid),
        *("-smbios", "type=0,vendor=Amazon EC2,version=1.0"),
        "-smbios",
        f"type=1,manufacturer=Amazon EC2,product={product},serial={product_uuid},"
        f"uuid={product_uuid}",
        "-smbios",
        f"type=2,manufacturer=Amazon EC2,asset={escape_option(spec.instance.instance_id)}",
        *("-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2"),
    ]


def _wires(wiring: Wiring) -> list[str]:
    return [
        *("-chardev", f"socket,id=console,fd={wiring.console_fd}"),
        *("-serial", "chardev:console"),
        *monitor_argv(wiring),
    ]


def monitor_argv(wiring: Wiring) -> list[str]:
    """Return the arguments that let QEMU take our orders."""
    return [
        *("-chardev", f"socket,id=monitor,fd={wiring.monitor_fd}"),
        *("-mon", "chardev=monitor,mode=control"),
    ]


def memory_argv(spec: MachineSpec) -> list[str]:
    """Return the arguments that give it its memory, in a file where it has one."""
    size = f"{spec.memory_mib}M"
    backend = f"memory-backend-ram,id=memory,size={size}"
    path, share = spec.memory_file, "on"
    if spec.resume is not None:
        path, share = spec.resume.memory, "off"  # private: copied as it is written to
    if path is not None:
        backend = (
            f"memory-backend-file,id=memory,size={size},share={share},"
            f"mem-path={escape_option(str(path.absolute()))}"
        )
    return ["-m", size, "-object", backend]


def _channel(wiring: Wiring) -> list[str]:
    if wiring.channel_fd is None:
        return []
    return [
        *("-device", "virtio-serial-pci,id=ports"),
        *("-chardev", f"socket,id=channel,fd={wiring.channel_fd}"),
        *("-device", f"virtserialport,bus=ports.0,chardev=channel,name={CHANNEL_NAME}"),
    ]


def _disks(spec: MachineSpec, storage: Storage) -> list[str]:
    arguments = [*blockdev_argv(storage.root, "root"), "-device", _root_device(spec)]
    for number, drive in enumerate(storage.volumes):
        device = volume_device(spec, number)
        options = ",".join(f"{key}={value}" for key, value in device.items() if key != "driver")
        arguments += [*blockdev_argv(drive, volume_name(number)), "-device"]
        arguments.append(f"{device['driver']},{options}")
    return arguments


def seed_argv(seed: Path | None) -> list[str]:
    """Attach a seed as a disk: unlike a CD's, its driver is there before cloud-init looks."""
    if seed is None:
        return []
    file = {"driver": "file", "filename": str(seed.absolute()), "read-only": True}
    node = {"driver": "raw", "file": file, "node-name": "seed", "read-only": True}
    device = f"virtio-blk-pci,drive=seed,serial=seed,addr={_SEED_SLOT:#x}"
    return ["-blockdev", json.dumps(node, sort_keys=True), "-device", device]


def blockdev_argv(drive: Drive, name: str) -> list[str]:
    """Return the argument that opens a drive's files, as a node of this name."""
    return ["-blockdev", json.dumps(drive_node(drive, name), sort_keys=True)]


def _root_device(spec: MachineSpec) -> str:
    if spec.profile.disk_bus is DiskBus.NVME:
        return f"nvme,drive=root,serial={_volume_serial(spec, 'root')},bootindex=1"
    return "virtio-blk-pci,drive=root,bootindex=1"


def volume_name(number: int) -> str:
    """Return the name of a further volume's node and device."""
    return f"volume{number}"


def volume_device(spec: MachineSpec, number: int) -> dict[str, str]:
    """Return what `device_add` takes for a further volume.

    Its place on the PCI bus is its own, so that a machine which got it while running can be
    described again.
    """
    name = volume_name(number)
    is_nvme = spec.profile.disk_bus is DiskBus.NVME
    return {
        "driver": "nvme" if is_nvme else "virtio-blk-pci",
        "drive": name,
        "id": name,
        "serial": _volume_serial(spec, name),
        "addr": f"{_FIRST_VOLUME_SLOT + number:#x}",
    }


def _volume_serial(spec: MachineSpec, name: str) -> str:
    # The serial an EBS volume shows on Nitro; NVMe and virtio allow 20 characters.
    seed = spec.instance.instance_id + ("" if name == "root" else name)
    return "vol" + uuid.uuid5(_UUID_NAMESPACE, seed).hex[:17]


def network_argv(
    spec: MachineSpec, relay: Path | None, *, mac_address: str | None = None
) -> list[str]:
    """Return the arguments of its network, in which its card has the instance's MAC or this one."""
    subnet = subnet_of(spec.instance.local_ipv4)
    options = [
        "user",
        "id=net",
        f"net={subnet.network}",
        f"host={subnet.router}",
        f"dns={subnet.dns}",
        f"dhcpstart={spec.instance.local_ipv4}",
        "ipv6=off",
        *_metadata_way(spec, relay),
        "hostfwd=tcp:127.0.0.1:0-:22",
    ]
    # Without romfile= SeaBIOS also runs the card's PXE firmware.
    device = f"virtio-net-pci,netdev=net,mac={mac_address or spec.instance.mac_address},romfile="
    return ["-netdev", ",".join(options), "-device", device]


def _metadata_way(spec: MachineSpec, relay: Path | None) -> list[str]:
    if relay is None:
        # Only for slirp to answer who has the address (ARP): a guest may think it is on its link.
        return [f"guestfwd=tcp:{_METADATA_ADDRESS}:{_DISCARD_PORT}-null"]
    return [
        *([] if spec.network else ["restrict=on"]),
        f"guestfwd=tcp:{_METADATA_ADDRESS}:80-cmd:/bin/sh {relay}",
    ]


def _boot_source(source: BootSource) -> list[str]:
    if source.kernel is None:
        return []
    initrd = [] if source.initrd is None else ["-initrd", str(source.initrd)]
    return ["-kernel", str(source.kernel), *initrd, "-append", source.command_line]


def escape_option(value: str) -> str:
    """Escape a value inside one of QEMU's comma-separated options."""
    return value.replace(",", ",,")
