"""`imgforge preflight`: what EC2 would refuse, and what would not boot there, before any call."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.registration_options import RegistrationOptions
from imgforge.cli.terminal import print_json, say, stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from imgforge.preflight import PreflightFinding


@with_groups
def preflight(
    disk: Annotated[
        Path, typer.Argument(metavar="DISK|MANIFEST", help="A raw disk, or a bundle's manifest.")
    ],
    *,
    registration: RegistrationOptions,
    region: Annotated[
        str | None, typer.Option("--region", metavar="REGION", help="Where it goes: its AKIs.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="ID", help="Who registers a bundle; else whose it is."),
    ] = None,
    convert: Annotated[
        bool, typer.Option("--convert", help="What convert --to ebs would refuse or change.")
    ] = False,
    size: Annotated[
        int | None, typer.Option("--size", metavar="GIB", help="With --convert: the volume's.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Tell all that EC2 would refuse of an image, and why its disk would not boot there.

    The options are those of `aws ec2 register-image`; what is not given is as `imgforge register`
    has it. Nothing is registered, and nobody is asked. Of a bundle each part is read and compared.
    Each finding has its rule, what was found, what is needed and where that is written. Exit code 1
    where EC2 would refuse or nothing boots. With --convert a bundle, or the disk out of it, is
    looked at by the rules of converting it, in place of those of registering.
    """
    from imgforge.bundle import MANIFEST_SUFFIX
    from imgforge.preflight import preflight_bundle

    if size is not None and not convert:
        raise BadInputError("Option --size: is of a conversion's volume; give --convert with it.")
    asked = registration.given()
    with shown_progress(stderr_console()):
        if convert:
            findings = _of_conversion(disk, size_gib=size, account=account)
        elif disk.name.endswith(MANIFEST_SUFFIX):
            findings = preflight_bundle(
                disk, name=registration.name, asked=asked, account_id=account, region=region
            )
        else:
            findings = _of_disk(disk, name=registration.name, asked=asked, region=region)
    if as_json:
        print_json({"disk": str(disk), "findings": [asdict(one) for one in findings]})
    else:
        _show(stdout_console(), findings, disk)
    keeps_out = any(one.keeps_out for one in findings)
    return ExitCode.IMAGE_REJECTED if keeps_out else ExitCode.DONE


def _of_conversion(
    path: Path, *, size_gib: int | None, account: str | None
) -> "tuple[PreflightFinding, ...]":
    from imgforge.bundle import MANIFEST_SUFFIX
    from imgforge.conversion_preflight import (
        ConversionTarget,
        preflight_conversion_of_bundle,
        preflight_conversion_of_disk,
    )

    target = ConversionTarget(size_gib, account)
    if path.name.endswith(MANIFEST_SUFFIX):
        return preflight_conversion_of_bundle(path, target)
    return preflight_conversion_of_disk(path, target)


def _of_disk(
    disk: Path, *, name: str | None, asked: "Mapping[str, Any]", region: str | None
) -> "tuple[PreflightFinding, ...]":
    from imgforge.disk import open_disk
    from imgforge.pipeline import registration_of
    from imgforge.preflight import preflight as look
    from imgforge.preflight import told_nameless

    opened = open_disk(disk)
    is_nameless = name is None and opened.recipe is None
    registration = registration_of(opened, name="" if is_nameless else name)
    findings = look(registration.asked(asked), disk=opened, region=region)
    return told_nameless(findings) if is_nameless else findings


def _show(console: "Console", findings: "Sequence[PreflightFinding]", disk: Path) -> None:
    if not findings:
        say(console, f"{disk}: no rule is broken")
    for one in findings:
        code = f", {one.code}" if one.code else ""
        lines = [
            f"{one.severity}: {one.rule}: found {one.found}",
            f"    needed: {one.needed} ({one.source}{code})",
            *([f"    {one.hint}"] if one.hint else []),
        ]
        for line in lines:
            say(console, line)
