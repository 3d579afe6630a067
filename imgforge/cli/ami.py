"""`imgforge images`: registered images are found and looked at."""

from typing import Annotated

import typer

from imgforge.cli.ami_input import ImageArgument, ImagesGroup
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.terminal import print_json, stdout_console

images_app = typer.Typer(
    cls=ImagesGroup,
    help="List your images (AMIs); or find, show, copy, share, tag, deregister some.",
    invoke_without_command=True,
)


@images_app.callback()
@with_groups
def own(
    context: typer.Context,
    *,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """List your images (AMIs); or find, show, copy, share, tag, deregister some.

    Without a command it lists your own; `imgforge images ID` is `imgforge images show ID`. With
    nothing configured as for boto3, the local catalog answers.
    """
    if context.invoked_subcommand is not None:
        return
    from imgforge.cli.ami_show import show_images
    from imgforge.image_lookup import own_images

    with where.reached() as cloud:
        found = own_images(cloud)
    if as_json:
        print_json([one.told for one in found])
    else:
        nothing = f"no images yet in {cloud.region}: imgforge run RECIPE makes some"
        show_images(stdout_console(), found, nothing=nothing)


@images_app.command("find")
@with_groups
def find(
    *,
    owner: Annotated[
        list[str] | None,
        typer.Option(
            "--owner",
            metavar="OWNER",
            help="self, amazon, aws-marketplace or an account; else all you may see.",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="GLOB", help="* and ? stand for any letters.")
    ] = "",
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="EC2's, such as tag:team=web."),
    ] = None,
    executable_by: Annotated[
        list[str] | None,
        typer.Option("--executable-by", metavar="WHO", help="self, all, or an account."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="What everybody may launch (--executable-by all).")
    ] = False,
    deprecated: Annotated[
        bool, typer.Option("--deprecated", help="What is deprecated or disabled, too.")
    ] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Find images: your own, Amazon's, those shared with you, and public ones.

    Options of one kind widen the search, those of different kinds narrow it. On AWS you may see
    very many images: name an owner.
    """
    from imgforge.cli.ami_show import show_images
    from imgforge.image_lookup import EVERYBODY, SearchWish, find_images, parse_filters

    wish = SearchWish(
        owners=owner or (),
        name=name,
        filters=parse_filters(filters or ()),
        executable_by=[*(executable_by or ()), *([EVERYBODY] if public else [])],
        with_hidden=deprecated,
    )
    with where.reached() as cloud:
        found = find_images(cloud, wish)
    if as_json:
        print_json([one.told for one in found])
    else:
        show_images(stdout_console(), found, nothing=f"no such image in {cloud.region}")


@images_app.command("show")
@with_groups
def show(
    image_id: ImageArgument,
    *,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Show all of an image: attributes, snapshots, whom it is shared with, tags, verdict."""
    from imgforge.cli.ami_show import show_image
    from imgforge.image_lookup import image_values, look_at_image
    from imgforge.image_sharing import shared_snapshots

    with where.reached() as cloud:
        view = look_at_image(cloud, image_id)
        shared = shared_snapshots(cloud, view)
    if as_json:
        told = {
            snapshot_id: [{kind: value} for kind, value in audience]
            for snapshot_id, audience in shared.items()
        }
        print_json({**image_values(view), "CreateVolumePermissions": told})
    else:
        show_image(stdout_console(), view, shared)


@images_app.command("bookmark")
@with_groups
def bookmark(
    image_id: ImageArgument,
    *,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Print the URL that opens the launch wizard with an image chosen.

    Whom you send it to has to be allowed to launch the image.
    """
    from imgforge.bookmark import launch_bookmark
    from imgforge.image_lookup import look_at_image
    from imgforge.progress import warn

    with where.reached() as cloud:
        found = launch_bookmark(image_id, region=cloud.region)
        view = look_at_image(cloud, image_id)
        if view.permissions == ():
            warn(f"Image {image_id}: is shared with nobody; the link is of use to yourself alone.")
    if as_json:
        print_json({"image_id": image_id, "region": cloud.region, "bookmark": found})
    else:
        stdout_console().print(found, markup=False, soft_wrap=True)
