"""`imgforge launch`: what is registered, on AWS or in the local catalog, boots here."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.accelerator import AcceleratorWish
from imgforge.cli import show
from imgforge.cli.cloud import ProfileOption, RegionOption, UrlOption, cloud_wish
from imgforge.cli.options import (
    AccelOption,
    AkiOption,
    JsonOption,
    NetworkOption,
    PvBootOption,
    pv_wish,
    told_user_data,
)
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.pv_way import PvWay


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
    region: RegionOption = "",
    profile: ProfileOption = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Boot a registered image here and print the ssh line that gets in.

    Its disk is downloaded into the cache once, from AWS or the local catalog. It runs until it
    powers itself off or is interrupted; what it wrote is thrown away.
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
            cloud_wish=cloud_wish(region=region, profile=profile, url=url),
            user_data=told,
            is_seeded=nocloud,
        )
