"""What is asked of RegisterImage."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from imgforge.catalog.image import (
    Architecture,
    BlockDeviceMapping,
    BootMode,
    EbsDevice,
    VirtualizationType,
    VolumeType,
)
from imgforge.recipe import BlockDevice, ImagePart, Layout

_LATER = {
    "ramdisk_id",
    "sriov_net_support",
    "tpm_support",
    "imds_support",
    "throughput",
    "kms_key_id",
}


class NameConflict(StrEnum):
    """What happens where the name belongs to another image: refuse, or deregister that one."""

    REFUSE = "refuse"
    SUPERSEDE = "supersede"


class Gate(StrEnum):
    """What lets a disk be registered: an accepted verdict of it, or nothing, on record."""

    VERDICT = "verdict"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class ImageRegistration:
    """An image to register, in EC2's terms.

    The mapping names the root device; its snapshot is made of the disk, so it names none.
    """

    name: str
    architecture: Architecture
    virtualization_type: VirtualizationType
    root_device_name: str
    block_devices: tuple[BlockDeviceMapping, ...]
    description: str = ""
    boot_mode: BootMode | None = None
    ena_support: bool = False
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    sriov_net_support: str | None = None
    tpm_support: str | None = None
    imds_support: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_recipe(cls, image: ImagePart, *, layout: Layout) -> "ImageRegistration":
        """Return what a recipe declares, for one of its layouts.

        The root device is added where the recipe maps none: /dev/sda1 (pv) or /dev/xvda (hvm, of
        which a recipe may also map /dev/sda1). An hvm image says that it has the ENA driver, which
        every instance type since 2017 needs and Debian's kernels have.
        """
        hvm = not layout.is_pv
        given = tuple(_mapping(device) for device in image.block_devices)
        names = {device.device_name for device in given}
        root = "/dev/xvda" if hvm and "/dev/sda1" not in names else "/dev/sda1"
        added = () if root in names else (BlockDeviceMapping(root, ebs=EbsDevice()),)
        return cls(
            name=image.name.replace("{layout}", layout).replace("{version}", image.version),
            architecture=Architecture(image.architecture),
            virtualization_type=VirtualizationType.of_layout(layout),
            root_device_name=root,
            block_devices=added + given,
            description=image.description,
            boot_mode=BootMode.LEGACY_BIOS if hvm else None,
            ena_support=hvm,
            tags=dict(image.tags),
        )

    def digest(self, disk_sha256: str) -> str:
        """Return the SHA-256 of all that is asked, with the disk's: equal requests have one."""
        asked = asdict(self)
        for device in (asked, *(device["ebs"] or {} for device in asked["block_devices"])):
            # Not of the first version, whose digests stay those of equal requests.
            for name in _LATER & device.keys():
                if device[name] is None:
                    del device[name]
        canonical = json.dumps([asked, disk_sha256], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def _mapping(device: BlockDevice) -> BlockDeviceMapping:
    ebs = None
    if device.ebs is not None:
        ebs = EbsDevice(
            volume_size_gib=device.ebs.volume_size,
            volume_type=VolumeType(device.ebs.volume_type),
            iops=device.ebs.iops,
            delete_on_termination=device.ebs.delete_on_termination,
            encrypted=device.ebs.encrypted,
        )
    return BlockDeviceMapping(
        device.device_name,
        ebs=ebs,
        virtual_name=device.virtual_name,
        no_device=device.no_device,
    )
