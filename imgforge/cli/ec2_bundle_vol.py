"""ec2-bundle-vol, with the flags that people know.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-tools-commands.html#ami-bundle-vol
"""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.bundle_input import existing
from imgforge.cli.bundle_volume import VolumeOptions, whole_mebibytes
from imgforge.cli.ec2_tool_options import PATH, ToolOptions, say
from imgforge.cli.ec2_tools import NewBundleOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import stderr_console

_MIB = 2**20


@with_groups
def bundle_vol(
    *,
    new: NewBundleOptions,
    volume: Annotated[
        Path,
        typer.Option(
            "-v", "--volume", metavar=PATH, help="The tree; ours: a recipe or a raw disk, too."
        ),
    ] = Path("/"),
    arch: Annotated[str, typer.Option("-r", "--arch", help="i386 or x86_64.")] = "x86_64",
    prefix: Annotated[str, typer.Option("-p", "--prefix", help="The bundle's name.")] = "image",
    size: Annotated[
        int | None,
        typer.Option("-s", "--size", metavar="MB", help="The image's MiB; else 10240 for a tree."),
    ] = None,
    options: VolumeOptions,
    every: ToolOptions,
) -> None:
    """Bundle this machine's root volume, or another tree: encrypted parts and a signed manifest."""
    from imgforge.bundle_volume import bundle_volume
    from imgforge.volume_source import open_source

    wish = options.wish(size_bytes=whole_mebibytes(size * _MIB) if size is not None else None)
    with shown_progress(stderr_console()):
        signers = new.signers()
        made = bundle_volume(
            open_source(volume, all_mounts=options.all_mounts),
            wish,
            bundle=new.wish(prefix, arch=arch),
            signers=signers,
            destination=new.destination,
            existing=existing(force=new.force),
        )
    say(f"Bundle manifest is {made.bundle.manifest_path}")
