"""`imgforge snapshots`: snapshots, on AWS or in the local catalog."""

import typer

from imgforge.cli.snapshot_changes import add_commands
from imgforge.cli.snapshot_transfer import download, upload

snapshots_app = typer.Typer(
    help="Snapshots: disks go in and come out, block by block; list, copy, share, delete them.",
    no_args_is_help=True,
)
snapshots_app.command("upload")(upload)
snapshots_app.command("download")(download)
add_commands(snapshots_app)
