"""The hardware profiles a machine may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class DiskBus(StrEnum):
    """How the root disk reaches the guest."""

    NVME = "nvme"
    VIRTIO = "virtio"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A hardware profile: EC2's name for it, processors, memory and the root disk's bus."""

    name: str
    vcpus: int
    memory_mib: int
    disk_bus: DiskBus = DiskBus.NVME


# https://aws.amazon.com/ec2/instance-types/t3/: Nitro machines, whose EBS volumes are NVMe disks.
T3_NANO = InstanceType(name="t3.nano", vcpus=2, memory_mib=512)
T3_MICRO = InstanceType(name="t3.micro", vcpus=2, memory_mib=1024)

INSTANCE_TYPES: Mapping[str, InstanceType] = MappingProxyType(
    {profile.name: profile for profile in (T3_NANO, T3_MICRO)}
)
