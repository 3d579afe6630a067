"""A bundle in S3 is shown, asked about, and deleted."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from imgforge.cli.cloud import reached_cloud
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import stderr_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.ec2 import Cloud, CloudWish
    from imgforge.transfer import Deletion


class Asking(StrEnum):
    """Whether somebody is asked first, and whether anything is deleted at all."""

    ALWAYS = "always"
    AT_A_TERMINAL = "at-a-terminal"
    """As the original: where nobody can be asked, it goes on."""
    NEVER = "never"
    DRY_RUN = "dry-run"


@dataclass(frozen=True, slots=True)
class Removed:
    """What was deleted, or would be."""

    deletion: "Deletion"
    is_bucket_gone: bool


def remove_bundle(
    wish: "CloudWish", plan: "Callable[[Cloud], Deletion]", *, asking: Asking, clear: bool
) -> Removed:
    """Delete what is planned. Raises BadInputError where nobody says yes, and as both steps do."""
    from imgforge.transfer import Clearing, delete_bundle

    console = stderr_console()
    with ExitStack() as stack:
        with shown_progress(console):
            cloud = stack.enter_context(reached_cloud(wish))
            deletion = plan(cloud)
        if asking is Asking.DRY_RUN:
            return Removed(deletion, is_bucket_gone=False)
        if deletion.keys:
            _ask(deletion, asking)
        else:
            console.print(f"{deletion.place}: nothing of this bundle is there.", markup=False)
        with shown_progress(console):
            clearing = Clearing.REMOVE_EMPTY if clear else Clearing.KEEP
            return Removed(deletion, delete_bundle(cloud, deletion, clearing=clearing))


def _ask(deletion: "Deletion", asking: Asking) -> None:
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    if asking is Asking.NEVER or (asking is Asking.AT_A_TERMINAL and not is_terminal):
        return
    if not is_terminal:
        raise BadInputError(
            f"Bundle {deletion.place}: nobody is there to be asked whether its "
            f"{len(deletion.keys)} objects are to be deleted.",
            hint="Give --yes to delete them, or --dry-run to see them.",
        )
    console = stderr_console()
    for key in deletion.keys:
        console.print(f"s3://{deletion.place.bucket}/{key}", markup=False, soft_wrap=True)
    if not typer.confirm(f"Delete these {len(deletion.keys)} objects for good?", err=True):
        raise BadInputError(f"Bundle {deletion.place}: was not deleted.")
