"""`imgforge publish`: one image, in regions, with whom it is for."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.ami_input import DestinationOptions, ImageAudienceOptions
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.registration_options import VerdictOptions
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stdout_console


@with_groups
def publish(
    image: Annotated[
        str, typer.Argument(metavar="ID|DISK", help="An ami- id of yours, or a raw disk.")
    ],
    *,
    destinations: DestinationOptions,
    verdict: VerdictOptions,
    name: Annotated[
        str, typer.Option("--name", help="Of what is made; else the image's, or the recipe's.")
    ] = "",
    whom: ImageAudienceOptions,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="Given to all, beside the image's own."),
    ] = None,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Publish an image: copy it to regions, tag it with its verdict and SHA-256, share it, wait.

    A raw disk is registered first, by the verdict that accepted it. Of an image its tags are
    believed; with --verdict its disk is read back and compared.
    All rules are looked at before anything is made. Run it again after a kill: it goes on, and
    makes nothing twice. Where a step fails, the copies are taken back.
    """
    from imgforge.catalog import Gate
    from imgforge.disk import open_disk
    from imgforge.made_tags import parse_tags
    from imgforge.publication import PublicationWish, publish_disk
    from imgforge.publication import publish as do

    is_disk = not image.startswith("ami-")
    is_told = is_disk or verdict.verdict is not None
    accepted = verdict.read(f"Publishing {image}") if is_told else None
    wish = PublicationWish(
        "" if is_disk else image,
        destinations.destinations(),
        audience=whom.audience() if whom.is_given else (),
        reach=whom.reach,
        tags=parse_tags(tag or ()),
        name=name,
        encrypted=destinations.encrypt,
        gate=Gate.UNVERIFIED if verdict.unverified else Gate.VERDICT,
    )
    with where.reached() as cloud:
        if is_disk:
            done = publish_disk(cloud, open_disk(Path(image)), wish, verdict=accepted)
        else:
            done = do(cloud, wish, verdict=accepted)
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
        rows = [(one.region, one.image_id, "new" if one.is_new else "was there") for one in done]
        print_rows(stdout_console(), ("region", "image", "this run"), rows)
