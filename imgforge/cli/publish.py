"""`imgforge publish`: one image, in regions, with whom it is for."""

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
from imgforge.cli.cloud import ProfileOption, RegionOption, UrlOption, worked_cloud
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stdout_console


def publish(
    image_id: Annotated[
        str, typer.Argument(metavar="ID", help="An ami- id of yours, of an accepted disk.")
    ],
    *,
    to: ToOption = [],  # noqa: B006 (typer copies it)
    name: Annotated[str, typer.Option("--name", help="The copies' name; else the image's.")] = "",
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
    region: RegionOption = "",
    profile: ProfileOption = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Publish an image: copy it to regions, tag it with its verdict and SHA-256, share it, wait.

    All rules are looked at before anything is made. Run it again after a kill: it goes on, and
    makes nothing twice. Where a step fails, the copies are taken back.
    """
    from imgforge.catalog import Gate
    from imgforge.image_copy import parse_destinations
    from imgforge.image_sharing import Reach, read_audience
    from imgforge.made_tags import parse_tags
    from imgforge.publication import PublicationWish
    from imgforge.publication import publish as do

    is_shared = account or org or public
    wish = PublicationWish(
        image_id,
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
    with worked_cloud(region=region, profile=profile, url=url) as cloud:
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
        print_json({"source": image_id, "images": values})
    else:
        rows = [(one.region, one.image_id, "new" if one.is_new else "") for one in done]
        print_rows(stdout_console(), ("region", "image", ""), rows)
