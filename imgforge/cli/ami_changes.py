"""`imgforge images copy|share|unshare|tag|protect|unprotect|deprecate|deregister`."""

from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.ami import images_app
from imgforge.cli.ami_input import (
    CopyOptions,
    IfExistsOption,
    ImageArgument,
    ImageAudienceOptions,
    TagOptions,
    missing,
)
from imgforge.cli.ami_results import Copy, in_words, show_copies, show_tags
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_fields, print_rows
from imgforge.cli.terminal import print_json, stdout_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.image_sharing import Shared

__all__ = ["images_app"]


@images_app.command("copy")
@with_groups
def copy(
    image_id: ImageArgument,
    *,
    options: CopyOptions,
    name: Annotated[str, typer.Option("--name", help="Else the image's own.")] = "",
    kms_key: Annotated[
        str,
        typer.Option("--kms-key", metavar="KEY", help="With --encrypt, for regions without one."),
    ] = "",
    copy_tags: Annotated[
        bool, typer.Option("--copy-tags", help="Give the copies the image's tags.")
    ] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Copy an image into regions, each with a key of its own if you like.

    EC2 copies neither launch permissions nor tags. Run it again after a failure: a copy that is
    there is not made twice. Where one region refuses, what this run made in others is taken back.
    """
    from imgforge.copy_plan import Destination, ImageCopyWish
    from imgforge.image_copy import copy_image

    if kms_key and not options.encrypt:
        raise BadInputError(
            f"Key {kms_key}: EC2 takes a key only where it is to encrypt.",
            hint="Give --encrypt, too; or --to REGION=KEY, which says both.",
        )
    wish = ImageCopyWish(
        image_id,
        [Destination(one.region, one.key or kms_key) for one in options.destinations()],
        name=name,
        description=options.description,
        encrypted=options.encrypt,
        copies_tags=copy_tags,
        ending=options.ending,
    )
    with where.reached() as cloud:
        done = copy_image(cloud, wish)
    copies = [Copy(one.region, one.image.image_id, one.image.state, one.is_new) for one in done]
    show_copies(image_id, copies, what="image", as_json=as_json)


@images_app.command("share")
@with_groups
def share(
    image_id: ImageArgument,
    *,
    whom: ImageAudienceOptions,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Let accounts, organizations or everybody launch an image.

    Its snapshots need not be shared for that; with --with-snapshots accounts may also make volumes
    of them. What is encrypted cannot be public, and with EBS's own key not be shared.
    """
    from imgforge.image_sharing import share_image

    audience = whom.audience()
    with where.reached() as cloud:
        done = share_image(cloud, image_id, audience, reach=whom.reach)
    _show_shared(done, as_json=as_json)


@images_app.command("unshare")
@with_groups
def unshare(
    image_id: ImageArgument,
    *,
    whom: ImageAudienceOptions,
    everybody: Annotated[bool, typer.Option("--all", help="Whoever it is shared with.")] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Take launch permissions back; the owner always keeps its own."""
    from imgforge.image_sharing import Change, share_image, unshare_all

    if everybody and whom.is_given:
        raise BadInputError(
            "Options --all and --account, --org or --public: name some or all, not both."
        )
    audience = () if everybody else whom.audience()
    with where.reached() as cloud:
        if everybody:
            done = unshare_all(cloud, image_id, reach=whom.reach)
        else:
            done = share_image(cloud, image_id, audience, change=Change.REMOVE, reach=whom.reach)
    _show_shared(done, as_json=as_json)


@images_app.command("tag")
@with_groups
def tag(
    image_id: ImageArgument,
    *,
    wanted: TagOptions,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Give an image tags, or take some."""
    from imgforge.image_lookup import look_at_own_image
    from imgforge.image_protection import change_tags

    put = wanted.put()
    with where.reached() as cloud:
        look_at_own_image(cloud, image_id)
        change_tags(cloud, image_id, put=put, remove=wanted.remove or ())
        found = cloud.compute.image(image_id).tags
    show_tags(image_id, found, as_json=as_json)


@images_app.command("protect")
@with_groups
def protect(
    image_id: ImageArgument,
    *,
    cooldown: Annotated[
        bool, typer.Option("--cooldown", help="For a day longer than it is taken off.")
    ] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Protect an image from being deregistered."""
    from imgforge.image_protection import protect as do

    with where.reached() as cloud:
        done = do(cloud, image_id, with_cooldown=cooldown)
    _show_state(image_id, "protection", done.state, as_json=as_json)


@images_app.command("unprotect")
@with_groups
def unprotect(
    image_id: ImageArgument,
    *,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Take an image's protection off; with a cooldown it still holds for a day."""
    from imgforge.image_protection import unprotect as do

    with where.reached() as cloud:
        done = do(cloud, image_id)
    _show_state(image_id, "protection", done.state, as_json=as_json)


@images_app.command("deprecate")
@with_groups
def deprecate(
    image_id: ImageArgument,
    *,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="As 2027-01-31 or 2027-01-31T12:00Z.")
    ] = "",
    never: Annotated[bool, typer.Option("--never", help="It is not to be deprecated.")] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Let an image be deprecated from a time on: others then find it only by its id."""
    from imgforge.image_protection import deprecate as do
    from imgforge.image_protection import read_moment

    if bool(at) is never:
        raise BadInputError(f"Deprecating {image_id}: give --at TIME or --never.")
    moment = read_moment(at) if at else None
    with where.reached() as cloud:
        done = do(cloud, image_id, moment)
    _show_state(image_id, "deprecated", done or "never", as_json=as_json)


@images_app.command("deregister")
@with_groups
def deregister(
    image_id: ImageArgument,
    *,
    with_snapshots: Annotated[
        bool, typer.Option("--with-snapshots", help="Then delete its snapshots no image needs.")
    ] = False,
    with_bundle: Annotated[
        bool, typer.Option("--with-bundle", help="Then delete its bundle in S3.")
    ] = False,
    if_exists: IfExistsOption = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Deregister an image; what it leaves stays and costs, unless it is to go after it.

    Run it again after a kill: it goes on with what the image left, and one that imgforge
    deregistered before is told as gone. Another that is not there is an error, unless you give
    --if-exists. Instances that run stay.
    """
    from imgforge.deregistration import DeregistrationWish
    from imgforge.deregistration import deregister as do

    wish = DeregistrationWish(
        image_id,
        with_snapshots=with_snapshots,
        with_bundle=with_bundle,
        missing=missing(if_exists=if_exists),
    )
    with where.reached() as cloud:
        done = do(cloud, wish)
    if as_json:
        print_json(
            {
                "image_id": done.image_id,
                "region": done.region,
                "was_gone": done.was_gone,
                "snapshots_deleted": done.snapshots_deleted,
                "snapshots_kept": done.snapshots_kept,
                "objects_deleted": done.objects_deleted,
            }
        )
        return
    console = stdout_console()
    rows = [("image", done.image_id, "was gone" if done.was_gone else "deregistered")]
    rows += [("snapshot", one, "deleted") for one in done.snapshots_deleted]
    rows += [("snapshot", one, f"stays: {why}") for one, why in done.snapshots_kept.items()]
    rows += [("object", f"s3://{one}", "deleted") for one in done.objects_deleted]
    print_rows(console, ("what", "which", "now"), rows)


def _show_shared(done: "Shared", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "image_id": done.image_id,
                "region": done.region,
                "launch_permissions": [{kind: value} for kind, value in done.permissions],
                "create_volume_permissions": {
                    snapshot: [{kind: value} for kind, value in permissions]
                    for snapshot, permissions in done.snapshots.items()
                },
            }
        )
        return
    rows = [(done.image_id, in_words(done.permissions))]
    rows += [(snapshot, in_words(permissions)) for snapshot, permissions in done.snapshots.items()]
    print_rows(stdout_console(), ("what", "shared with"), rows)


def _show_state(image_id: str, name: str, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"image_id": image_id, name: state})
    else:
        print_fields(stdout_console(), [("image", image_id), (name, state)])
