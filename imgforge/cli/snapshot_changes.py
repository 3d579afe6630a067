"""`imgforge snapshots list|show|copy|share|unshare|tag|delete`."""

from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.ami_input import (
    AudienceOptions,
    CopyOptions,
    IfExistsOption,
    SnapshotArgument,
    TagOptions,
    missing,
)
from imgforge.cli.ami_results import Copy, in_words, show_copies, show_tags
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stdout_console

if TYPE_CHECKING:
    from imgforge.catalog import Permission
    from imgforge.ec2 import Cloud
    from imgforge.image_sharing import Change


@with_groups
def list_snapshots(
    *,
    owner: Annotated[
        list[str] | None, typer.Option("--owner", metavar="OWNER", help="Else self.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="EC2's, such as status=completed."),
    ] = None,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """List snapshots: your own, or an owner's that you may use."""
    from imgforge.cli.ami_show import show_snapshots
    from imgforge.image_lookup import parse_filters

    wanted = parse_filters(filters or ())
    with where.reached() as cloud:
        found = cloud.compute.snapshots(owners=owner or ["self"], filters=wanted)
    if as_json:
        print_json([one.told for one in found])
    else:
        show_snapshots(stdout_console(), found)


@with_groups
def show(
    snapshot_id: SnapshotArgument,
    *,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Show all of a snapshot: whom it is shared with, and which of your images have it."""
    from imgforge.cli.ami_show import show_snapshot

    with where.reached() as cloud:
        snapshot = cloud.compute.snapshot(snapshot_id)
        permissions = _permissions(cloud, snapshot_id)
        filters = {"block-device-mapping.snapshot-id": [snapshot_id]}
        having = cloud.compute.images(owners=["self"], filters=filters, with_hidden=True)
    users = [one.image_id for one in having]
    if as_json:
        shared = None if permissions is None else [{kind: value} for kind, value in permissions]
        print_json({**snapshot.told, "CreateVolumePermissions": shared, "Images": users})
    else:
        show_snapshot(stdout_console(), snapshot, permissions, users)


@with_groups
def copy(
    snapshot_id: SnapshotArgument,
    *,
    options: CopyOptions,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Copy a snapshot into regions; a copy that is there is not made twice."""
    from imgforge.snapshot_copy import SnapshotCopyWish, copy_snapshot

    wish = SnapshotCopyWish(
        snapshot_id,
        options.destinations(),
        description=options.description,
        encrypted=options.encrypt,
        ending=options.ending,
    )
    with where.reached() as cloud:
        done = copy_snapshot(cloud, wish)
    copies = [
        Copy(one.region, one.snapshot.snapshot_id, one.snapshot.state, one.is_new) for one in done
    ]
    show_copies(snapshot_id, copies, what="snapshot", as_json=as_json)


@with_groups
def share(
    snapshot_id: SnapshotArgument,
    *,
    whom: AudienceOptions,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Let accounts or everybody make volumes of a snapshot."""
    from imgforge.image_sharing import Change

    _change_sharing(snapshot_id, whom, where, change=Change.ADD, as_json=as_json)


@with_groups
def unshare(
    snapshot_id: SnapshotArgument,
    *,
    whom: AudienceOptions,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Take back who may make volumes of a snapshot."""
    from imgforge.image_sharing import Change

    _change_sharing(snapshot_id, whom, where, change=Change.REMOVE, as_json=as_json)


@with_groups
def tag(
    snapshot_id: SnapshotArgument,
    *,
    wanted: TagOptions,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Give a snapshot tags, or take some."""
    from imgforge.image_protection import change_tags

    put = wanted.put()
    with where.reached() as cloud:
        change_tags(cloud, snapshot_id, put=put, remove=wanted.remove or ())
        found = cloud.compute.snapshot(snapshot_id).tags
    show_tags(snapshot_id, found, as_json=as_json)


@with_groups
def delete(
    snapshot_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="snap- ids.")],
    *,
    if_exists: IfExistsOption = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Delete snapshots that no image of yours has.

    Run it again after a kill: what imgforge deleted before is told as gone, and is no error. An id
    that it never deleted and that is not there is one, unless you give --if-exists.
    """
    from imgforge.deregistration import delete_snapshots

    with where.reached() as cloud:
        done = delete_snapshots(cloud, snapshot_ids, missing=missing(if_exists=if_exists))
    if as_json:
        deleted = [one.snapshot_id for one in done if not one.was_gone]
        print_json({"deleted": deleted, "gone": [one.snapshot_id for one in done if one.was_gone]})
    else:
        rows = [(one.snapshot_id, "was gone" if one.was_gone else "deleted") for one in done]
        print_rows(stdout_console(), ("snapshot", "now"), rows)


def add_commands(app: typer.Typer) -> None:
    """Put these commands to `imgforge snapshots`."""
    app.command("list")(list_snapshots)
    for command in (show, copy, share, unshare, tag, delete):
        app.command()(command)


def _permissions(cloud: "Cloud", snapshot_id: str) -> "tuple[Permission, ...] | None":
    from imgforge.errors import CloudError
    from imgforge.image_sharing import snapshot_permissions

    try:
        return snapshot_permissions(cloud, snapshot_id)
    except CloudError as error:
        if error.code not in {"UnauthorizedOperation", "AuthFailure"}:
            raise
        return None  # another account's


def _change_sharing(
    snapshot_id: str,
    whom: AudienceOptions,
    where: CloudOptions,
    *,
    change: "Change",
    as_json: bool,
) -> None:
    from imgforge.image_sharing import change_snapshot_sharing

    audience = whom.audience()
    with where.reached() as cloud:
        permissions = change_snapshot_sharing(cloud, snapshot_id, audience, change=change)
    if as_json:
        shared = [{kind: value} for kind, value in permissions]
        print_json({"snapshot_id": snapshot_id, "create_volume_permissions": shared})
    else:
        rows = [(snapshot_id, in_words(permissions))]
        print_rows(stdout_console(), ("snapshot", "shared with"), rows)
