"""`imgforge register`, `images` and `launch`: what the local catalog holds."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.accelerator import AcceleratorWish
from imgforge.cli import show
from imgforge.cli.options import (
    AccelOption,
    AkiOption,
    DiskArgument,
    JsonOption,
    NetworkOption,
    PvBootOption,
    pv_wish,
    told_user_data,
)
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError
from imgforge.pv_way import PvWay


def register(
    disk: DiskArgument,
    *,
    verdict: Annotated[
        Path | None, typer.Option("--verdict", help="verdict.json that accepted this disk.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Else the recipe's.")] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Register without a verdict; it is recorded.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Deregister an image that has this name.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Register an accepted disk as an AMI (local catalog)."""
    from imgforge import pipeline
    from imgforge.acceptance import read_verdict
    from imgforge.catalog import NameConflict
    from imgforge.disk import open_disk

    if (verdict is None) is not unverified:
        raise BadInputError(
            f"Registering {disk}: give --verdict with the verdict.json that accepted it, "
            "or --unverified; not both."
        )
    with shown_progress(stderr_console()):
        image = pipeline.register(
            open_disk(disk),
            verdict=read_verdict(verdict) if verdict else None,
            name=name,
            conflict=NameConflict.SUPERSEDE if replace else NameConflict.REFUSE,
        )
    if as_json:
        print_json(image.to_ec2())
    else:
        stdout_console().print(image.image_id)


def launch(
    image_id: Annotated[str, typer.Argument(metavar="ID", help="An ami- id.")],
    *,
    accel: AccelOption = AcceleratorWish.AUTO,
    network: NetworkOption = False,
    pv_boot: PvBootOption = PvWay.DIRECT,
    aki: AkiOption = None,
    user_data: Annotated[
        Path | None, typer.Option("--user-data", metavar="FILE", help="Its user data, 16 KiB.")
    ] = None,
    nocloud: Annotated[
        bool, typer.Option("--nocloud", help="A NoCloud seed in place of the metadata service.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Boot an image and print the ssh line that gets in.

    It runs until it powers itself off or is interrupted; what it wrote is thrown away.
    """
    from imgforge import pipeline
    from imgforge.launch import Launched
    from imgforge.start import Surroundings

    def announce(launched: Launched) -> None:
        if as_json:
            print_json(show.launched_values(launched))
        else:
            show.launched(stdout_console(), launched)

    told = told_user_data(user_data)
    with shown_progress(stderr_console()):
        pipeline.launch_image(
            image_id,
            surroundings=Surroundings(accelerator=accel, network=network, pv=pv_wish(pv_boot, aki)),
            announce=announce,
            user_data=told,
            is_seeded=nocloud,
        )
