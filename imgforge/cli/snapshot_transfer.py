"""`imgforge snapshots upload|download`: raw disks into snapshots and back."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.bundle_input import ForceOption
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console

RawDiskArgument = Annotated[Path, typer.Argument(metavar="DISK", help="A raw disk.")]
SnapshotArgument = Annotated[str, typer.Argument(metavar="SNAP", help="A snap- id.")]


@with_groups
def upload(
    disk: RawDiskArgument,
    *,
    description: Annotated[str, typer.Option("--description", help="At most 255 characters.")] = "",
    parent: Annotated[
        str,
        typer.Option(
            "--parent", metavar="SNAP", help="Send only the blocks that this snapshot has not."
        ),
    ] = "",
    skip_holes: Annotated[
        bool,
        typer.Option("--skip-holes", help="Leave holes out; not of an encrypted snapshot."),
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every block back.")] = False,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="With the account's key.")] = False,
    kms_key: Annotated[
        str, typer.Option("--kms-key", metavar="ARN", help="With --encrypt: another key.")
    ] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="May be given several times."),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="A new snapshot, even if this disk was uploaded before.")
    ] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Upload a raw disk as a snapshot (EBS direct API), and wait until it is completed.

    Run it again after a failure, a kill or an interruption: it goes on with the same snapshot, if
    that is still pending and the disk is the same. Every block is sent, holes as zeros.
    """
    from imgforge.cloud_access import reached_ec2
    from imgforge.made_tags import MADE, parse_tags
    from imgforge.snapshot_transfer import Again, Holes, SnapshotWish, Verifying, upload_snapshot

    wish = SnapshotWish(
        description=description,
        parent_id=parent,
        holes=Holes.SKIP if skip_holes else Holes.SEND,
        verifying=Verifying.READ_BACK if verify else Verifying.NONE,
        again=Again.NEW if new else Again.SAME,
        is_encrypted=encrypt,
        kms_key_arn=kms_key,
        tags={**parse_tags(tag or ()), MADE: "upload"},
    )
    with (
        shown_progress(stderr_console()),
        reached_ec2(where.wish()) as cloud,
    ):
        done = upload_snapshot(cloud, disk, wish)
    if as_json:
        print_json(asdict(done))
    else:
        stdout_console().print(done.snapshot_id)


@with_groups
def download(
    snapshot: SnapshotArgument,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DISK", help="The raw disk that is made.")
    ],
    force: ForceOption = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Download a snapshot as a sparse raw disk; each block is compared with its checksum.

    The disk appears whole, or not at all. Run it again after a failure: what is here is kept.
    """
    from imgforge.cloud_access import reached_ec2
    from imgforge.snapshot_transfer import DownloadWish, Existing, download_snapshot

    wish = DownloadWish(existing=Existing.REPLACE if force else Existing.REFUSE)
    with (
        shown_progress(stderr_console()),
        reached_ec2(where.wish()) as cloud,
    ):
        done = download_snapshot(cloud, snapshot, out, wish)
    if as_json:
        print_json({**asdict(done), "path": str(done.path)})
    else:
        stdout_console().print(str(done.path), markup=False, soft_wrap=True)
