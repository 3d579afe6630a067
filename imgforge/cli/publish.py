"""`imgforge publish`: one image, in regions, with whom it is for."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.ami_input import (
    AccountOption,
    EncryptOption,
    OrganizationOption,
    PublicOption,
    ToOption,
    WithSnapshotsOption,
)
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stdout_console
from imgforge.errors import BadInputError


@with_groups
def publish(
    image: Annotated[
        str, typer.Argument(metavar="ID|DISK", help="An ami- id of yours, or a raw disk.")
    ],
    *,
    to: ToOption = [],  # noqa: B006 (typer copies it)
    verdict: Annotated[
        Path | None, typer.Option("--verdict", help="verdict.json that accepted the disk.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Of what is made; else the image's, or the recipe's.")
    ] = "",
    encrypt: EncryptOption = False,
    account: AccountOption = None,
    org: OrganizationOption = None,
    public: PublicOption = False,
    with_snapshots: WithSnapshotsOption = False,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="Given to all, beside the image's own."),
    ] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Without an accepted verdict; the tags say so.")
    ] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Publish an image: copy it to regions, tag it with its verdict and SHA-256, share it, wait.

    A raw disk is registered first, by the verdict that accepted it.
    All rules are looked at before anything is made. Run it again after a kill: it goes on, and
    makes nothing twice. Where a step fails, the copies are taken back.
    """
    from imgforge.acceptance import read_verdict
    from imgforge.catalog import Gate
    from imgforge.disk import open_disk
    from imgforge.image_copy import parse_destinations
    from imgforge.image_sharing import Reach, read_audience
    from imgforge.made_tags import parse_tags
    from imgforge.publication import PublicationWish, publish_disk
    from imgforge.publication import publish as do

    is_disk = not image.startswith("ami-")
    if is_disk and (verdict is None) is not unverified:
        raise BadInputError(
            f"Publishing {image}: give --verdict with the verdict.json that accepted it, or "
            "--unverified; not both.",
        )
    if verdict is not None and not is_disk:
        raise BadInputError(
            f"Publishing {image}: a verdict is of a disk; the image's tags have its own.",
            hint="imgforge register DISK --verdict FILE puts one to an image that has none.",
        )
    is_shared = account or org or public
    wish = PublicationWish(
        "" if is_disk else image,
        parse_destinations(to),
        audience=read_audience(accounts=account or (), organizations=org or (), everybody=public)
        if is_shared
        else (),
        reach=Reach.SNAPSHOTS if with_snapshots else Reach.IMAGE,
        tags=parse_tags(tag or ()),
        name=name,
        encrypted=encrypt,
        gate=Gate.UNVERIFIED if unverified else Gate.VERDICT,
    )
    with where.reached() as cloud:
        if is_disk:
            accepted = read_verdict(verdict) if verdict else None
            done = publish_disk(cloud, open_disk(Path(image)), wish, verdict=accepted)
        else:
            done = do(cloud, wish)
    if as_json:
        values = [
            {
                "region": one.region,
                "image_id": one.image_id,
                "new": one.is_new,
                "bookmark": one.bookmark or None,
            }
            for one in done
        ]
        print_json({"source": image, "images": values})
    else:
        rows = [(one.region, one.image_id, "new" if one.is_new else "") for one in done]
        print_rows(stdout_console(), ("region", "image", ""), rows)
