"""`imgforge aki`: Amazon's PV-GRUB kernel images, and how to come to the newest one."""

import re
import shlex
from dataclasses import replace
from typing import Annotated, Any

import typer

from imgforge.aki import (
    NEWEST_VERSION,
    SECTION,
    UPDATING_SECTION,
    Aki,
    AkiAdvice,
    AkiArchitecture,
    AkiPlace,
    AkiState,
    PvGrub,
    advise,
    find_akis,
    identify,
    parse_name,
    update_commands,
)
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, say, stdout_console
from imgforge.errors import BadInputError, ExitCode

aki_app = typer.Typer(
    help="PV-GRUB's kernel images (AKIs): find one, check one, update to the newest.",
    no_args_is_help=True,
)
WhatArgument = Annotated[
    str,
    typer.Argument(metavar="AKI", help="An aki- id, a name as pv-grub-hd0_1.05-…, or an ami- id."),
]
_INSTANCE = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
RegionOption = Annotated[str | None, typer.Option("--region", help="The region.")]


@aki_app.command("find")
def find(
    *,
    region: RegionOption = None,
    architecture: Annotated[
        AkiArchitecture | None, typer.Option("--architecture", help="That of the kernel.")
    ] = None,
    place: Annotated[
        AkiPlace | None,
        typer.Option("--place", help="hd0: for new images. hd00: the first partition, old ones."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """List the AKIs of the guide to Linux AMIs.

    Exit code 1 where it lists none: it has no hd00 ones, which EC2 keeps where they were.
    """
    found = find_akis(region=region, architecture=architecture, place=place)
    if as_json:
        print_json([aki_values(aki) for aki in found])
    elif found:
        rows = [(aki.aki_id, aki.region, aki.pv_grub.name) for aki in found]
        print_rows(stdout_console(), ("id", "region", "name"), rows)
    else:
        _say(f"The guide lists no such AKI ({SECTION}). Register new images with an hd0 one.")
    return ExitCode.DONE if found else ExitCode.IMAGE_REJECTED


@aki_app.command("check")
def check(what: WhatArgument, *, region: RegionOption = None, as_json: JsonOption = False) -> int:
    """Say which PV-GRUB an AKI is, or an image of the catalog has, and whether it is the newest.

    Exit code 1 where it is not, or where that cannot be told.
    """
    aki_id, advice, where = _look_up(what, region)
    if as_json:
        print_json(_advice_values(aki_id, advice, where))
    else:
        _say(_sentence(aki_id or what, advice, where))
    return ExitCode.DONE if advice.state is AkiState.NEWEST else ExitCode.IMAGE_REJECTED


@aki_app.command("update")
def update(
    what: WhatArgument,
    *,
    region: RegionOption = None,
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="i-…", help="For this instance.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Print the newest AKI of the same kind, and the commands that give it to an instance.

    Of the newest it says so, and prints no commands. Nothing is changed: an instance must be
    stopped for it, and an image be registered anew.
    """
    if instance is not None and _INSTANCE.fullmatch(instance) is None:
        raise BadInputError(
            f"Instance {instance!r}: an instance's id is i- and 8 or 17 hexadecimal digits."
        )
    aki_id, advice, where = _look_up(what, region)
    if where is None:
        raise BadInputError(
            f"Kernel {what}: which region's AKI is to take its place is not told.",
            hint="Give --region; imgforge aki find lists them.",
        )
    aki = advice.successor or advice.alternative
    is_newest = advice.state is AkiState.NEWEST
    if as_json:
        values = _advice_values(aki_id, advice, where)
        commands = update_commands(instance, aki) if instance and aki and not is_newest else ()
        print_json({**values, "commands": [list(command) for command in commands]})
    elif aki is None or is_newest:
        _say(_sentence(aki_id or what, advice, where))
    else:
        _tell_update(aki, advice, instance)
    return ExitCode.DONE if aki else ExitCode.IMAGE_REJECTED


def aki_values(aki: Aki) -> dict[str, Any]:
    """Return an AKI as `--json` shows it; the README promises these keys."""
    return {"id": aki.aki_id, "region": aki.region, **_pv_grub_values(aki.pv_grub)}


def _pv_grub_values(pv_grub: PvGrub) -> dict[str, Any]:
    return {
        "name": pv_grub.name,
        "place": str(pv_grub.place),
        "version": pv_grub.release,
        "architecture": str(pv_grub.architecture),
    }


def _advice_values(aki_id: str | None, advice: AkiAdvice, region: str | None) -> dict[str, Any]:
    return {
        "id": aki_id,
        "region": region,
        "state": str(advice.state),
        "pv_grub": _pv_grub_values(advice.pv_grub) if advice.pv_grub else None,
        "successor": aki_values(advice.successor) if advice.successor else None,
        "alternative": aki_values(advice.alternative) if advice.alternative else None,
    }


def _look_up(what: str, region: str | None) -> tuple[str | None, AkiAdvice, str | None]:
    """Return the AKI's id where it has one, what is to be said of it, and its region."""
    aki_id: str | None = what
    if what.startswith("ami-"):
        aki_id = _kernel_of_image(what)
    elif not what.startswith("aki-"):
        pv_grub = parse_name(what)
        if pv_grub is None:
            raise BadInputError(
                f"{what!r}: neither an aki- id, nor a PV-GRUB's name, nor an ami- id."
            )
        return None, advise(pv_grub, region=region), region
    aki = identify(aki_id or "")
    if aki is None:
        return aki_id, advise(None, region=region), region
    if region not in {None, aki.region}:
        raise BadInputError(
            f"Kernel {aki.aki_id}: it is {aki.region}'s, and none of region {region}.",
            hint=f"imgforge aki find --region {region} lists those there; or leave --region out.",
        )
    return aki.aki_id, advise(aki.pv_grub, region=aki.region), aki.region


def _kernel_of_image(image_id: str) -> str:
    from imgforge.cloud_access import reached_ec2

    with reached_ec2() as cloud:
        image = cloud.compute.image(image_id)
    kernel_id = image.text("KernelId")
    if not kernel_id:
        raise BadInputError(
            f"Image {image_id}: it has no kernel id ({image.text('VirtualizationType')}).",
            hint="A paravirtual image is registered with one; an hvm image has none.",
        )
    return kernel_id


def _sentence(shown: str, advice: AkiAdvice, region: str | None) -> str:
    if advice.pv_grub is None:
        return (
            f"{shown}: the guide does not list it ({SECTION}). Ask EC2 for its name, and check "
            f"that: aws ec2 describe-images --image-ids {shlex.quote(shown)}"
        )
    name = advice.pv_grub.name
    shown = name if shown in {name, name.removesuffix(".gz")} else f"{shown}: {name}"
    match advice.state:
        case AkiState.NEWEST:
            return f"{shown}, the newest{f' in {region}' if region else ''}."
        case AkiState.OUTDATED:
            aki = advice.successor or advice.alternative
            release = replace(advice.pv_grub, version=NEWEST_VERSION).release
            newest = f" The newest in {region} is {aki.aki_id} ({aki.pv_grub.name})." if aki else ""
            newest = newest or (
                f" The newest is {release}; imgforge aki update --region REGION names its id."
            )
            return f"{shown}, which is outdated.{newest} [{UPDATING_SECTION}]"
        case _:
            return f"{shown}, a kind that the guide does not list. [{SECTION}]"


def _tell_update(aki: Aki, advice: AkiAdvice, instance: str | None) -> None:
    _say(f"{aki.aki_id}  {aki.pv_grub.name}  {aki.region}")
    if advice.successor is None:
        _say("The guide lists no hd00 AKI; this hd0 one looks at the first partition, too.")
    for command in update_commands(instance or "i-…", aki):
        _say(shlex.join(command) if instance else " ".join(command))


def _say(line: str) -> None:
    say(stdout_console(), line)
