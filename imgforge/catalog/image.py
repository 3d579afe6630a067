"""What the catalog holds, in EC2's terms: images, their block devices, and snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from imgforge.recipe import Layout

LOCAL_OWNER_ID = "123456789012"
"""The account that owns what is registered here; the metadata service tells the same one."""
LOCAL_REGION = "us-east-1"
"""The region of what is registered here without saying one."""


class Architecture(StrEnum):
    """EC2's ArchitectureValues."""

    I386 = "i386"
    X86_64 = "x86_64"
    ARM64 = "arm64"
    X86_64_MAC = "x86_64_mac"
    ARM64_MAC = "arm64_mac"


class VirtualizationType(StrEnum):
    """Whether a BIOS or PV-GRUB starts the disk."""

    HVM = "hvm"
    PARAVIRTUAL = "paravirtual"

    @classmethod
    def of_layout(cls, layout: Layout) -> "VirtualizationType":
        """Return what a disk of this layout is made for."""
        return cls.PARAVIRTUAL if layout.is_pv else cls.HVM


class BootMode(StrEnum):
    """EC2's BootModeValues."""

    LEGACY_BIOS = "legacy-bios"
    UEFI = "uefi"
    UEFI_PREFERRED = "uefi-preferred"


class VolumeType(StrEnum):
    """EC2's VolumeType."""

    GP2 = "gp2"
    GP3 = "gp3"
    IO1 = "io1"
    IO2 = "io2"
    ST1 = "st1"
    SC1 = "sc1"
    STANDARD = "standard"


class RootDeviceType(StrEnum):
    """EC2's DeviceType: where the root is."""

    EBS = "ebs"
    INSTANCE_STORE = "instance-store"


class ImageState(StrEnum):
    """EC2's ImageState, as far as images here can be in it."""

    AVAILABLE = "available"
    DISABLED = "disabled"
    DEREGISTERED = "deregistered"


@dataclass(frozen=True, slots=True)
class EbsDevice:
    """EC2's EbsBlockDevice. Without a snapshot the volume is blank, and its size is needed."""

    snapshot_id: str | None = None
    volume_size_gib: int | None = None
    volume_type: VolumeType = VolumeType.GP3
    iops: int | None = None
    delete_on_termination: bool = True
    encrypted: bool | None = None
    throughput: int | None = None
    kms_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class BlockDeviceMapping:
    """One device of an instance: exactly one of `ebs`, `virtual_name` and `no_device`."""

    device_name: str
    ebs: EbsDevice | None = None
    virtual_name: str | None = None
    no_device: bool = False

    def to_ec2(self) -> dict[str, Any]:
        """Return it as DescribeImages shows it."""
        if self.ebs is None:
            rest = {"VirtualName": self.virtual_name} if self.virtual_name else {"NoDevice": ""}
            return {"DeviceName": self.device_name, **rest}
        shown = {
            "SnapshotId": self.ebs.snapshot_id,
            "VolumeSize": self.ebs.volume_size_gib,
            "VolumeType": str(self.ebs.volume_type),
            "Iops": self.ebs.iops,
            "Throughput": self.ebs.throughput,
            "KmsKeyId": self.ebs.kms_key_id,
            "DeleteOnTermination": self.ebs.delete_on_termination,
            "Encrypted": bool(self.ebs.encrypted),
        }
        ebs = {key: value for key, value in shown.items() if value is not None}
        return {"DeviceName": self.device_name, "Ebs": ebs}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The data of a volume: its blob is the raw disk, known by its SHA-256.

    `start_time` is ISO 8601 with milliseconds and Z.
    """

    snapshot_id: str
    owner_id: str
    volume_size_gib: int
    state: str
    start_time: str
    description: str
    encrypted: bool
    blob_sha256: str
    blob_size_bytes: int


@dataclass(frozen=True, slots=True)
class Image:
    """A registered image (an AMI).

    `verified` tells whether an accepted verdict names its disk; `verdict_json` is the verdict it
    was registered with, if any, which for an image that is not verified may be a rejection.
    Dates are ISO 8601 with milliseconds and Z. `superseded_by` is the image that took its name.
    """

    image_id: str
    owner_id: str
    name: str
    description: str
    architecture: Architecture
    virtualization_type: VirtualizationType
    boot_mode: BootMode | None
    root_device_name: str
    kernel_id: str | None
    ena_support: bool
    public: bool
    state: ImageState
    creation_date: str
    layout: Layout | None
    disk_sha256: str
    recipe_sha256: str
    lock_sha256: str
    verified: bool
    verdict_json: str | None
    deregistration_date: str | None
    superseded_by: str | None
    block_devices: tuple[BlockDeviceMapping, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def root_snapshot_id(self) -> str:
        """The snapshot its root volume is made from."""
        for device in self.block_devices:
            if device.device_name == self.root_device_name and device.ebs is not None:
                return device.ebs.snapshot_id or ""
        return ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever launches it should know, in sentences."""
        found = []
        if not self.verified:
            found.append("no accepted verdict names its disk: it was registered unverified.")
        if self.virtualization_type is VirtualizationType.PARAVIRTUAL and not self.kernel_id:
            found.append("it is paravirtual without a kernel id: one is needed at every launch.")
        return tuple(found)

    def to_ec2(self) -> dict[str, Any]:
        """Return it as one of DescribeImages' Images (EC2 API, data type Image)."""
        shown = {
            "Architecture": str(self.architecture),
            "BlockDeviceMappings": [device.to_ec2() for device in self.block_devices],
            "BootMode": None if self.boot_mode is None else str(self.boot_mode),
            "CreationDate": self.creation_date,
            "Description": self.description or None,
            "EnaSupport": self.ena_support,
            "Hypervisor": "xen",
            "ImageId": self.image_id,
            "ImageLocation": f"{self.owner_id}/{self.name}",
            "ImageType": "machine",
            "KernelId": self.kernel_id,
            "Name": self.name,
            "OwnerId": self.owner_id,
            "PlatformDetails": "Linux/UNIX",
            "Public": self.public,
            "RootDeviceName": self.root_device_name,
            "RootDeviceType": "ebs",
            "State": str(self.state),
            "Tags": [{"Key": key, "Value": self.tags[key]} for key in sorted(self.tags)] or None,
            "UsageOperation": "RunInstances",
            "VirtualizationType": str(self.virtualization_type),
        }
        return {key: value for key, value in shown.items() if value is not None}
