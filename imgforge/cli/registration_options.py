"""What is asked of an image, in the words of `aws ec2 register-image`: options of two commands."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def _option(name: str, metavar: str, words: str) -> Any:
    return typer.Option(name, metavar=metavar, help=words, show_default=False)


TextOption = str | None
NameOption = Annotated[TextOption, _option("--name", "NAME", "Else the recipe's.")]
DescriptionOption = Annotated[TextOption, _option("--description", "TEXT", "Else the recipe's.")]
VirtualizationOption = Annotated[
    TextOption, _option("--virtualization-type", "hvm|paravirtual", "Else the layout's.")
]
ArchitectureOption = Annotated[
    TextOption, _option("--architecture", "ARCH", "i386, x86_64 or arm64; else the recipe's.")
]
KernelOption = Annotated[TextOption, _option("--kernel-id", "AKI", "A paravirtual image's.")]
RamdiskOption = Annotated[TextOption, _option("--ramdisk-id", "ARI", "A ramdisk's id.")]
RootDeviceOption = Annotated[
    TextOption, _option("--root-device-name", "NAME", "Else the layout's.")
]
MappingsOption = Annotated[
    TextOption,
    _option("--block-device-mappings", "JSON", "As the AWS CLI takes it; else the recipe's."),
]
BootModeOption = Annotated[
    TextOption, _option("--boot-mode", "MODE", "legacy-bios, uefi or uefi-preferred.")
]
EnaOption = Annotated[
    bool | None, typer.Option("--ena-support/--no-ena-support", help="Else yes for hvm.")
]
SriovOption = Annotated[
    TextOption, _option("--sriov-net-support", "simple", "Enhanced networking.")
]

TpmOption = Annotated[TextOption, _option("--tpm-support", "v2.0", "NitroTPM; needs uefi.")]
ImdsOption = Annotated[
    TextOption, _option("--imds-support", "v2.0", "Instances ask IMDSv2 unless told otherwise.")
]
UefiDataOption = Annotated[
    TextOption, _option("--uefi-data", "BASE64", "The UEFI variable store; needs uefi.")
]
ImageTagOption = Annotated[
    list[str] | None,
    _option("--tag", "KEY=VALUE", "The image's, beside the recipe's. May be given several times."),
]

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


def given_parameters(**parameters: Any) -> dict[str, Any]:
    """Return those parameters of RegisterImage that were given."""
    return {name: value for name, value in parameters.items() if value is not None}


def tag_parameter(texts: list[str] | None) -> list[dict[str, Any]] | None:
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
    return value


def _fits(value: object, types: "Mapping[str, type]") -> bool:
    """Tell whether a JSON object has these members alone, each of its type."""
    return isinstance(value, dict) and all(
        type(one) is types.get(name) and (name != "Ebs" or _fits(one, _EBS))
        for name, one in value.items()
    )
