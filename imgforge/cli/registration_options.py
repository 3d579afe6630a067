"""What is asked of an image, in the words of `aws ec2 register-image`: options of two commands."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.errors import BadInputError
from imgforge.image_choice import (
    Architecture,
    BootMode,
    SriovSupport,
    SupportVersion,
    VirtualizationType,
    VolumeType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgforge.acceptance import Verdict


def _option(name: str, metavar: str | None, words: str) -> Any:
    return typer.Option(name, metavar=metavar, help=words, show_default=False)


_MAPPING = {"DeviceName": str, "VirtualName": str, "NoDevice": str, "Ebs": dict}
# EC2 API, EbsBlockDevice: what images have of it.
_EBS = {
    "DeleteOnTermination": bool,
    "Encrypted": bool,
    "Iops": int,
    "KmsKeyId": str,
    "SnapshotId": str,
    "Throughput": int,
    "VolumeSize": int,
    "VolumeType": str,
}


@dataclass(frozen=True, slots=True)
class VerdictOptions:
    """What says that a disk may be registered."""

    verdict: Annotated[
        Path | None, typer.Option("--verdict", help="verdict.json that accepted the disk.")
    ] = None
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Without an accepted verdict; the tags say so.")
    ] = False

    def read(self, doing: str) -> "Verdict | None":
        """Return the verdict; None where it was said to go without. Raises BadInputError."""
        from imgforge.acceptance import read_verdict

        if (self.verdict is None) is not self.unverified:
            raise BadInputError(
                f"{doing}: give --verdict with the verdict.json that accepted it, "
                "or --unverified; not both."
            )
        return read_verdict(self.verdict) if self.verdict else None


@dataclass(frozen=True, slots=True)
class RegistrationOptions:
    """What is asked of an image; what is None is as the recipe or the disk has it."""

    name: Annotated[str | None, _option("--name", "NAME", "Else the recipe's.")] = None
    description: Annotated[str | None, _option("--description", "TEXT", "Else the recipe's.")] = (
        None
    )
    virtualization_type: Annotated[
        VirtualizationType | None, _option("--virtualization-type", None, "Else the layout's.")
    ] = None
    architecture: Annotated[
        Architecture | None, _option("--architecture", None, "Else the recipe's.")
    ] = None
    kernel_id: Annotated[str | None, _option("--kernel-id", "AKI", "A paravirtual image's.")] = None
    ramdisk_id: Annotated[str | None, _option("--ramdisk-id", "ARI", "A ramdisk's id.")] = None
    root_device_name: Annotated[
        str | None, _option("--root-device-name", "NAME", "Else the layout's.")
    ] = None
    block_device_mappings: Annotated[
        str | None,
        _option("--block-device-mappings", "JSON", "As the AWS CLI takes it; else the recipe's."),
    ] = None
    boot_mode: Annotated[
        BootMode | None, _option("--boot-mode", None, "Else as the instance type has it.")
    ] = None
    ena_support: Annotated[
        bool | None, typer.Option("--ena-support/--no-ena-support", help="Else yes for hvm.")
    ] = None
    sriov_net_support: Annotated[
        SriovSupport | None, _option("--sriov-net-support", None, "Enhanced networking.")
    ] = None
    tpm_support: Annotated[
        SupportVersion | None, _option("--tpm-support", None, "NitroTPM; needs uefi.")
    ] = None
    imds_support: Annotated[
        SupportVersion | None,
        _option("--imds-support", None, "Instances ask IMDSv2 unless told otherwise."),
    ] = None
    uefi_data: Annotated[
        str | None,
        _option("--uefi-data", "BASE64", "The UEFI variable store; needs uefi."),
    ] = None
    tag: Annotated[
        list[str] | None,
        _option(
            "--tag", "KEY=VALUE", "The image's, beside the recipe's. May be given several times."
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """Return the parameters of RegisterImage that were given, but its name."""
        asked = {
            "Description": self.description,
            "VirtualizationType": self.virtualization_type,
            "Architecture": self.architecture,
            "KernelId": self.kernel_id,
            "RamdiskId": self.ramdisk_id,
            "RootDeviceName": self.root_device_name,
            "BlockDeviceMappings": parse_mappings(self.block_device_mappings),
            "BootMode": self.boot_mode,
            "EnaSupport": self.ena_support,
            "SriovNetSupport": self.sriov_net_support,
            "TpmSupport": self.tpm_support,
            "ImdsSupport": self.imds_support,
            "UefiData": self.uefi_data,
            "TagSpecifications": _tag_parameter(self.tag),
        }
        return {
            name: str(value) if isinstance(value, str) else value
            for name, value in asked.items()
            if value is not None
        }


def _tag_parameter(texts: list[str] | None) -> list[dict[str, Any]] | None:
    """Return TagSpecifications of an option's texts; None without one. Raises BadInputError."""
    if not texts:
        return None
    from imgforge.ec2 import tag_specifications
    from imgforge.made_tags import parse_tags

    return tag_specifications(image=parse_tags(texts))


def parse_mappings(text: str | None) -> list[dict[str, Any]] | None:
    """Return the mappings of an option's JSON; None without one. Raises BadInputError."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(_fits(one, _MAPPING) for one in value):
        raise BadInputError(
            "Option --block-device-mappings: is no JSON list of EC2's BlockDeviceMappings.",
            hint='As in [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}].',
        )
    kinds = [one["Ebs"].get("VolumeType", VolumeType.GP3) for one in value if "Ebs" in one]
    if wrong := [one for one in kinds if one not in set(VolumeType)]:
        raise BadInputError(
            f"Option --block-device-mappings: {wrong[0]!r} is no VolumeType; EC2 knows "
            f"{', '.join(VolumeType)}."
        )
    return value


def _fits(value: object, types: "Mapping[str, type]") -> bool:
    """Tell whether a JSON object has these members alone, each of its type."""
    return isinstance(value, dict) and all(
        type(one) is types.get(name) and (name != "Ebs" or _fits(one, _EBS))
        for name, one in value.items()
    )
