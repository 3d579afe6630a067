"""`imgforge launch`: what is registered, on AWS or in the local catalog, boots here."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli import show
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption, MachineOptions
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.cli.user_data import told_user_data


@with_groups
def launch(
    image_id: Annotated[str, typer.Argument(metavar="ID", help="An ami- id.")],
    *,
    machine: MachineOptions,
    user_data: Annotated[
        Path | None, typer.Option("--user-data", metavar="FILE", help="Its user data, 16 KiB.")
    ] = None,
    nocloud: Annotated[
        bool, typer.Option("--nocloud", help="A NoCloud seed in place of the metadata service.")
    ] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Boot a registered image here and print the ssh line that gets in.

    Its disk is downloaded into the cache once, from AWS or the local catalog. It runs until it
    powers itself off or is interrupted; what it wrote is thrown away.
    """
    from imgforge import pipeline
    from imgforge.launch import Launched

    def announce(launched: Launched) -> None:
        if as_json:
            print_json(show.launched_values(launched))
        else:
            show.launched(stdout_console(), launched)

    told = told_user_data(user_data)
    with shown_progress(stderr_console()):
        pipeline.launch_image(
            image_id,
            surroundings=machine.surroundings(),
            announce=announce,
            cloud_wish=where.wish(),
            user_data=told,
            is_seeded=nocloud,
        )
