"""`imgforge images gc`: what imgforge made and nothing refers to."""

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.ami_changes import images_app
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.metadata_wish import parse_duration
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from rich.console import Console

    from imgforge.leftovers import Leftover

__all__ = ["images_app"]


@images_app.command("gc")
@with_groups
def collect(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name what is left.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            parser=parse_duration,
            help="What is younger may be in the making.",
        ),
    ] = "1h",  # type: ignore[assignment]  # parsed by parse_duration
    bucket: Annotated[
        list[str] | None,
        typer.Option(
            "--bucket",
            metavar="BUCKET[/FOLDER]",
            help="Where bundles are looked for; else in buckets of your images.",
        ),
    ] = None,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Remove what imgforge made and nothing refers to, in one region.

    Images that a command never finished, snapshots that no image has, bundles that no image is
    registered from. Tags tell what imgforge made: nothing else is touched. It is named first, and
    asked about.
    """
    from imgforge.leftovers import find_leftovers, remove_leftovers, take_inventory
    from imgforge.transfer import BundlePlace

    places = [BundlePlace.parse(one) for one in bucket or ()]
    before = datetime.now(UTC) - timedelta(seconds=older_than)
    with where.reached() as cloud:
        found = find_leftovers(take_inventory(cloud, places), before=before)
    console = stdout_console()
    if dry_run or not found:
        _show(console, found, gone=[], as_json=as_json)
        return
    _ask(found, yes=yes)
    with where.reached() as cloud:
        gone = remove_leftovers(cloud, found)
    _show(console, found, gone=gone, as_json=as_json)


def _ask(found: "list[Leftover]", *, yes: bool) -> None:
    """Name what is to go. Raises BadInputError where nobody says yes."""
    console = stderr_console()
    for one in found:
        console.print(f"{one.kind} {one.thing}: {one.why}", markup=False, soft_wrap=True)
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise BadInputError(
            f"Leftovers: nobody is there to be asked whether these {len(found)} are to go.",
            hint="Give --yes to remove them, or --dry-run to see them.",
        )
    if not typer.confirm(f"Remove these {len(found)} for good?", err=True):
        raise BadInputError("Leftovers: nothing was removed.")


def _show(
    console: "Console", found: "list[Leftover]", *, gone: "list[Leftover]", as_json: bool
) -> None:
    if as_json:
        values = [
            {
                "kind": one.kind,
                "id": one.thing,
                "name": one.name,
                "made": one.made or None,
                "size_gib": one.size_gib,
                "why": one.why,
                "removed": one in gone,
            }
            for one in found
        ]
        print_json({"leftovers": values, "removed": len(gone)})
    elif not found:
        console.print("nothing is left over", markup=False)
    else:
        rows = [
            (one.kind, one.thing, one.made[:10], "removed" if one in gone else one.why)
            for one in found
        ]
        print_rows(console, ("what", "which", "made", "now" if gone else "why"), rows)
