"""The hardware profiles a machine may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class DiskBus(StrEnum):
    """How the disks reach the guest.

    QEMU 7.2 cannot carry the state of an NVMe disk over (hw/nvme/ctrl.c: `unmigratable`): only a
    machine with virtio disks can be frozen and forked.
    """

    NVME = "nvme"
    VIRTIO = "virtio"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A hardware profile: EC2's name for it, processors, memory, disks.

    `instance_store_gib` has the size of each instance store volume.
    """

    name: str
    vcpus: int
    memory_mib: int
    disk_bus: DiskBus = DiskBus.NVME
    instance_store_gib: tuple[int, ...] = ()


# https://aws.amazon.com/ec2/instance-types/: t3 and later are Nitro machines, whose volumes are
# NVMe disks. The older ones are Xen's on EC2, with /dev/xvda; here their disks are virtio's.
T3_NANO = InstanceType(name="t3.nano", vcpus=2, memory_mib=512)
T3_MICRO = InstanceType(name="t3.micro", vcpus=2, memory_mib=1024)
T2_NANO = InstanceType(name="t2.nano", vcpus=1, memory_mib=512, disk_bus=DiskBus.VIRTIO)
T2_MICRO = InstanceType(name="t2.micro", vcpus=1, memory_mib=1024, disk_bus=DiskBus.VIRTIO)

_OTHERS = (
    InstanceType(name="t2.small", vcpus=1, memory_mib=2048, disk_bus=DiskBus.VIRTIO),
    InstanceType(name="t2.medium", vcpus=2, memory_mib=4096, disk_bus=DiskBus.VIRTIO),
    InstanceType("m3.medium", 1, 3840, DiskBus.VIRTIO, instance_store_gib=(4,)),
    InstanceType("m3.large", 2, 7680, DiskBus.VIRTIO, instance_store_gib=(32,)),
    InstanceType("c3.large", 2, 3840, DiskBus.VIRTIO, instance_store_gib=(16, 16)),
    InstanceType(name="t3.small", vcpus=2, memory_mib=2048),
    InstanceType(name="t3.medium", vcpus=2, memory_mib=4096),
    InstanceType(name="c5.large", vcpus=2, memory_mib=4096),
    InstanceType("c5d.large", 2, 4096, instance_store_gib=(46,)),
    InstanceType(name="m5.large", vcpus=2, memory_mib=8192),
    InstanceType("m5d.large", 2, 8192, instance_store_gib=(69,)),
)

INSTANCE_TYPES: Mapping[str, InstanceType] = MappingProxyType(
    {profile.name: profile for profile in (T2_NANO, T2_MICRO, T3_NANO, T3_MICRO, *_OTHERS)}
)
