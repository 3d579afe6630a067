"""`imgforge preflight`: what EC2 would refuse, and what would not boot there, before any call."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.cli.progress import shown_progress
from imgforge.cli.registration_options import (
    ArchitectureOption,
    BootModeOption,
    DescriptionOption,
    EnaOption,
    ImageTagOption,
    ImdsOption,
    KernelOption,
    MappingsOption,
    NameOption,
    RamdiskOption,
    RootDeviceOption,
    SriovOption,
    TpmOption,
    UefiDataOption,
    VirtualizationOption,
    given_parameters,
    parse_mappings,
    tag_parameter,
)
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from imgforge.preflight import PreflightFinding


def preflight(
    disk: Annotated[
        Path, typer.Argument(metavar="DISK|MANIFEST", help="A raw disk, or a bundle's manifest.")
    ],
    *,
    name: NameOption = None,
    description: DescriptionOption = None,
    virtualization_type: VirtualizationOption = None,
    architecture: ArchitectureOption = None,
    kernel_id: KernelOption = None,
    ramdisk_id: RamdiskOption = None,
    root_device_name: RootDeviceOption = None,
    block_device_mappings: MappingsOption = None,
    boot_mode: BootModeOption = None,
    ena_support: EnaOption = None,
    sriov_net_support: SriovOption = None,
    tpm_support: TpmOption = None,
    imds_support: ImdsOption = None,
    uefi_data: UefiDataOption = None,
    tag: ImageTagOption = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="REGION", help="Where it goes: its AKIs.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="ID", help="Who registers a bundle; else whose it is."),
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

    asked = given_parameters(
        Description=description,
        VirtualizationType=virtualization_type,
        Architecture=architecture,
        KernelId=kernel_id,
        RamdiskId=ramdisk_id,
        RootDeviceName=root_device_name,
        BlockDeviceMappings=parse_mappings(block_device_mappings),
        BootMode=boot_mode,
        EnaSupport=ena_support,
        SriovNetSupport=sriov_net_support,
        TpmSupport=tpm_support,
        ImdsSupport=imds_support,
        UefiData=uefi_data,
        TagSpecifications=tag_parameter(tag),
    )
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
