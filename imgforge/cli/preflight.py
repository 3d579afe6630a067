"""`imgforge preflight`: what EC2 would refuse, and what would not boot there, before any call."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from imgforge.preflight import PreflightFinding


def _option(name: str, metavar: str, words: str) -> Any:
    return typer.Option(name, metavar=metavar, help=words, show_default=False)


TextOption = str | None
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


def preflight(
    disk: Annotated[
        Path, typer.Argument(metavar="DISK|MANIFEST", help="A raw disk, or a bundle's manifest.")
    ],
    *,
    name: Annotated[TextOption, _option("--name", "NAME", "Else the recipe's.")] = None,
    description: Annotated[
        TextOption, _option("--description", "TEXT", "Else the recipe's.")
    ] = None,
    virtualization_type: Annotated[
        TextOption, _option("--virtualization-type", "hvm|paravirtual", "Else the layout's.")
    ] = None,
    architecture: Annotated[
        TextOption, _option("--architecture", "ARCH", "i386, x86_64 or arm64; else the recipe's.")
    ] = None,
    kernel_id: Annotated[
        TextOption, _option("--kernel-id", "AKI", "A paravirtual image's.")
    ] = None,
    ramdisk_id: Annotated[TextOption, _option("--ramdisk-id", "ARI", "A ramdisk's id.")] = None,
    root_device_name: Annotated[
        TextOption, _option("--root-device-name", "NAME", "Else the layout's.")
    ] = None,
    block_device_mappings: Annotated[
        TextOption,
        _option("--block-device-mappings", "JSON", "As the AWS CLI takes it; else the recipe's."),
    ] = None,
    boot_mode: Annotated[
        TextOption, _option("--boot-mode", "MODE", "legacy-bios, uefi or uefi-preferred.")
    ] = None,
    ena_support: Annotated[
        bool | None, typer.Option("--ena-support/--no-ena-support", help="Else yes for hvm.")
    ] = None,
    sriov_net_support: Annotated[
        TextOption, _option("--sriov-net-support", "simple", "Enhanced networking.")
    ] = None,
    region: Annotated[TextOption, _option("--region", "REGION", "Where it goes: its AKIs.")] = None,
    account: Annotated[
        TextOption, _option("--account", "ID", "Who registers a bundle; else whose it is.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> int:
    """Tell all that EC2 would refuse of an image, and why its disk would not boot there.

    The options are those of `aws ec2 register-image`; what is not given is as `imgforge register`
    has it. Nothing is registered, and nobody is asked. Of a bundle each part is read and compared.
    Each finding has its rule, what was found, what is needed and where that is written. Exit code 1
    where EC2 would refuse or nothing boots.
    """
    from imgforge.bundle import MANIFEST_SUFFIX
    from imgforge.preflight import preflight_bundle

    given = {
        "Description": description,
        "VirtualizationType": virtualization_type,
        "Architecture": architecture,
        "KernelId": kernel_id,
        "RamdiskId": ramdisk_id,
        "RootDeviceName": root_device_name,
        "BlockDeviceMappings": _mappings(block_device_mappings),
        "BootMode": boot_mode,
        "EnaSupport": ena_support,
        "SriovNetSupport": sriov_net_support,
    }
    asked = {key: one for key, one in given.items() if one is not None}
    with shown_progress(stderr_console()):
        if disk.name.endswith(MANIFEST_SUFFIX):
            findings = preflight_bundle(
                disk, name=name, asked=asked, account_id=account, region=region
            )
        else:
            findings = _of_disk(disk, name=name, asked=asked, region=region)
    if as_json:
        print_json({"disk": str(disk), "findings": [asdict(one) for one in findings]})
    else:
        _show(stdout_console(), findings, disk)
    keeps_out = any(one.keeps_out for one in findings)
    return ExitCode.IMAGE_REJECTED if keeps_out else ExitCode.DONE


def _of_disk(
    disk: Path, *, name: str | None, asked: "Mapping[str, Any]", region: str | None
) -> "tuple[PreflightFinding, ...]":
    from imgforge.disk import open_disk
    from imgforge.pipeline import registration_of
    from imgforge.preflight import preflight as look

    opened = open_disk(disk)
    registration = registration_of(opened, name=name)
    return look(registration.asked(asked), disk=opened, region=region)


def _mappings(text: str | None) -> list[dict[str, Any]] | None:
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


def _show(console: "Console", findings: "Sequence[PreflightFinding]", disk: Path) -> None:
    if not findings:
        console.print(f"{disk}: no rule is broken", markup=False, highlight=False)
    for one in findings:
        code = f", {one.code}" if one.code else ""
        lines = [
            f"{one.severity}: {one.rule}: found {one.found}",
            f"    needed: {one.needed} ({one.source}{code})",
            *([f"    {one.hint}"] if one.hint else []),
        ]
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
