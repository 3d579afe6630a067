"""`imgforge images gc`: what imgforge made and nothing refers to."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.ami_changes import images_app
from imgforge.cli.cloud import RegionsOptions
from imgforge.cli.metadata_wish import parse_duration
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, say, stderr_console, stdout_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from rich.console import Console

    from imgforge.ec2 import Cloud
    from imgforge.leftovers import Leftover
    from imgforge.transfer import BundlePlace

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
    where: RegionsOptions,
    as_json: JsonOption = False,
) -> None:
    """Remove what imgforge made and nothing refers to, in one region, several or all.

    Images that a command never finished, snapshots that no image has, bundles that no image is
    registered from. Tags tell what imgforge made: nothing else is touched. It is named first, and
    asked about.
    """
    from imgforge.leftovers import remove_leftovers
    from imgforge.progress import about
    from imgforge.transfer import BundlePlace

    places = [BundlePlace.parse(one) for one in bucket or ()]
    before = datetime.now(UTC) - timedelta(seconds=older_than)
    with where.reached() as clouds:
        found = [_find(cloud, places, before) for cloud in clouds]
        console = stdout_console()
        if dry_run or not any(one.leftovers for one in found):
            _show(console, found, gone=[], as_json=as_json)
            return
    _ask(found, yes=yes)
    gone: list[Leftover] = []
    with where.reached() as clouds:
        for cloud, there in zip(clouds, found, strict=True):
            with about(cloud.region):
                gone += remove_leftovers(cloud, there.leftovers)
    _show(console, found, gone=gone, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is left in a region."""

    region: str
    leftovers: "list[Leftover]"


def _find(cloud: "Cloud", places: "list[BundlePlace]", before: datetime) -> _Found:
    from imgforge.leftovers import find_leftovers, take_inventory
    from imgforge.progress import about

    with about(cloud.region):
        return _Found(cloud.region, find_leftovers(take_inventory(cloud, places), before=before))


def _ask(found: "list[_Found]", *, yes: bool) -> None:
    """Name what is to go. Raises BadInputError where nobody says yes."""
    console = stderr_console()
    for there in found:
        for one in there.leftovers:
            line = f"{there.region}: {one.kind} {one.thing}: {one.why}"
            say(console, line)
    count = sum(len(there.leftovers) for there in found)
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise BadInputError(
            f"Leftovers: nobody is there to be asked whether these {count} are to go.",
            hint="Give --yes to remove them, or --dry-run to see them.",
        )
    if not typer.confirm(f"Remove these {count} for good?", err=True):
        raise BadInputError("Leftovers: nothing was removed.")


def _show(
    console: "Console", found: "list[_Found]", *, gone: "list[Leftover]", as_json: bool
) -> None:
    pairs = [(there.region, one) for there in found for one in there.leftovers]
    if as_json:
        values = [
            {
                "region": region,
                "kind": one.kind,
                "id": one.thing,
                "name": one.name,
                "made": one.made or None,
                "size_gib": one.size_gib,
                "why": one.why,
                "removed": one in gone,
            }
            for region, one in pairs
        ]
        regions = [there.region for there in found]
        print_json({"leftovers": values, "removed": len(gone), "regions": regions})
    elif not pairs:
        where = "" if len(found) == 1 else f" in any of {len(found)} regions"
        say(console, f"nothing is left over{where}")
    else:
        rows = [
            (region, one.kind, one.thing, one.made[:10], "removed" if one in gone else one.why)
            for region, one in pairs
        ]
        headings = ("region", "what", "which", "made", "now" if gone else "why")
        print_rows(console, headings, rows)
