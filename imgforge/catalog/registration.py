"""What is asked of RegisterImage."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

from imgforge.catalog.bundle_facts import BundleFacts
from imgforge.catalog.image import (
    BlockDeviceMapping,
    EbsDevice,
    RootDeviceType,
)
from imgforge.catalog.refusal import RefusedError, combination, invalid_value
from imgforge.image_choice import (
    Architecture,
    BootMode,
    SriovSupport,
    SupportVersion,
    VirtualizationType,
    VolumeType,
)
from imgforge.recipe import BlockDevice, ImagePart, Layout

_NOT_OF_IMAGES = ("OutpostArn", "AvailabilityZone", "AvailabilityZoneId", "EbsCardIndex")
_BUNDLE_ROOT = "/dev/sda1"
_LATER = {
    "ramdisk_id",
    "sriov_net_support",
    "tpm_support",
    "imds_support",
    "uefi_data",
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
    uefi_data: str | None = None
    root_device_type: RootDeviceType = RootDeviceType.EBS
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

    def asked(self, parameters: Mapping[str, Any]) -> "ImageRegistration":
        """Return it with what a request of RegisterImage gives, by the names of EC2's model.

        Raises RefusedError for a value that EC2 does not know.
        """
        root = parameters.get("RootDeviceName", self.root_device_name)
        devices = self.block_devices
        if "BlockDeviceMappings" in parameters:
            listed = parameters["BlockDeviceMappings"]
            devices = tuple(_asked_device(one, root=root) for one in listed)
        return replace(
            self,
            architecture=_chosen(Architecture, parameters, "Architecture", self.architecture),
            virtualization_type=_chosen(
                VirtualizationType, parameters, "VirtualizationType", self.virtualization_type
            ),
            root_device_name=root,
            block_devices=devices,
            description=parameters.get("Description", self.description),
            boot_mode=_chosen(BootMode, parameters, "BootMode", self.boot_mode),
            ena_support=parameters.get("EnaSupport", self.ena_support),
            kernel_id=parameters.get("KernelId", self.kernel_id) or None,
            ramdisk_id=parameters.get("RamdiskId", self.ramdisk_id) or None,
            sriov_net_support=_chosen(
                SriovSupport, parameters, "SriovNetSupport", self.sriov_net_support
            ),
            tpm_support=_chosen(SupportVersion, parameters, "TpmSupport", self.tpm_support),
            imds_support=_chosen(SupportVersion, parameters, "ImdsSupport", self.imds_support),
            uefi_data=parameters.get("UefiData", self.uefi_data),
            tags={**self.tags, **_asked_tags(parameters)},
        )

    def of_bundle(self, bundle: BundleFacts, parameters: Mapping[str, Any]) -> "ImageRegistration":
        """Return it for an image whose root is a bundle: its manifest says the rest.

        `parameters` are RegisterImage's. Raises RefusedError for an architecture that is another
        than the manifest's, or none of EC2's.
        """
        if parameters.get("Architecture", bundle.architecture) != bundle.architecture:
            raise combination(
                f"The manifest says {bundle.architecture}, not {parameters['Architecture']}."
            )
        if bundle.architecture not in {*Architecture}:
            raise RefusedError(
                "InvalidManifest", f"The manifest has the architecture {bundle.architecture!r}."
            )
        kind = parameters.get("VirtualizationType", self.virtualization_type)
        is_hvm = kind == VirtualizationType.HVM
        given = tuple(
            BlockDeviceMapping(f"/dev/{device.removeprefix('/dev/')}", virtual_name=virtual)
            for virtual, device in bundle.devices
            if virtual.startswith("ephemeral")
        )
        return replace(
            self,
            architecture=Architecture(bundle.architecture),
            root_device_name=_BUNDLE_ROOT,
            root_device_type=RootDeviceType.INSTANCE_STORE,
            block_devices=given,
            # What a PV-GRUB's machine was bundled with, an hvm image has no use for.
            kernel_id=None if is_hvm else bundle.kernel_id or None,
            ramdisk_id=None if is_hvm else bundle.ramdisk_id or None,
        ).asked(parameters)

    def request(self, *, root_snapshot_id: str = "") -> dict[str, Any]:
        """Return it as a request of RegisterImage, by the names of EC2's model, without the name.

        Architecture and virtualization type are always said: EC2's defaults are i386 and
        paravirtual. The root is made from `root_snapshot_id`, or is a bundle where that is "".
        """
        asked: dict[str, Any] = {
            "Description": self.description,
            "Architecture": str(self.architecture),
            "VirtualizationType": str(self.virtualization_type),
            "RootDeviceName": self.root_device_name if root_snapshot_id else "",
            "BlockDeviceMappings": [
                _requested_device(
                    device,
                    snapshot_id=root_snapshot_id
                    if device.device_name == self.root_device_name
                    else "",
                )
                for device in self.block_devices
            ],
            "BootMode": str(self.boot_mode or ""),
            "EnaSupport": self.ena_support,
            "KernelId": self.kernel_id,
            "RamdiskId": self.ramdisk_id,
            "SriovNetSupport": self.sriov_net_support,
            "TpmSupport": self.tpm_support,
            "ImdsSupport": self.imds_support,
            "UefiData": self.uefi_data,
        }
        return {name: value for name, value in asked.items() if value}

    def digest(self, disk_sha256: str) -> str:
        """Return the SHA-256 of all that is asked, with the disk's: equal requests have one."""
        asked = asdict(self)
        del asked["root_device_type"]  # of a disk it is always EBS
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


def _requested_device(device: BlockDeviceMapping, *, snapshot_id: str) -> dict[str, Any]:
    """Return a device as EC2 takes it: a volume of a snapshot is encrypted as that is."""
    named: dict[str, Any] = {"DeviceName": device.device_name}
    if device.no_device:
        return {**named, "NoDevice": ""}
    if device.ebs is None:
        return {**named, "VirtualName": device.virtual_name or ""}
    ebs = device.ebs
    asked = {
        "SnapshotId": snapshot_id or ebs.snapshot_id,
        "VolumeSize": ebs.volume_size_gib,
        "VolumeType": str(ebs.volume_type),
        "Iops": ebs.iops,
        "Throughput": ebs.throughput,
        "KmsKeyId": ebs.kms_key_id,
        "DeleteOnTermination": ebs.delete_on_termination,
        "Encrypted": ebs.encrypted,
    }
    return {**named, "Ebs": {name: value for name, value in asked.items() if value is not None}}


Choice = TypeVar("Choice", bound=StrEnum)
Kept = TypeVar("Kept")


def _chosen(
    kind: type[Choice], parameters: Mapping[str, Any], name: str, otherwise: Kept
) -> Choice | Kept:
    given = parameters.get(name)
    if given is None:
        return otherwise
    try:
        return kind(given)
    except ValueError:
        raise invalid_value(given, f"{name[0].lower()}{name[1:]}") from None


def _asked_tags(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what TagSpecifications say of the image."""
    return {
        tag["Key"]: tag.get("Value", "")
        for one in parameters.get("TagSpecifications", ())
        if one.get("ResourceType") == "image"
        for tag in one.get("Tags", ())
    }


def _asked_device(given: Mapping[str, Any], *, root: str) -> BlockDeviceMapping:
    name = given.get("DeviceName", "")
    ebs = None
    if "Ebs" in given:
        asked = given["Ebs"]
        for unknown in _NOT_OF_IMAGES:
            if unknown in asked:
                raise combination(f"The parameter {unknown} is not allowed in RegisterImage")
        ebs = EbsDevice(
            snapshot_id=asked.get("SnapshotId") or None,
            volume_size_gib=asked.get("VolumeSize"),
            volume_type=_chosen(VolumeType, asked, "VolumeType", VolumeType.STANDARD),
            iops=asked.get("Iops"),
            delete_on_termination=asked.get("DeleteOnTermination", name == root),
            encrypted=asked.get("Encrypted"),
            throughput=asked.get("Throughput"),
            kms_key_id=asked.get("KmsKeyId"),
        )
    return BlockDeviceMapping(
        name, ebs=ebs, virtual_name=given.get("VirtualName"), no_device="NoDevice" in given
    )
