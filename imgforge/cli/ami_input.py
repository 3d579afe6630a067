"""Arguments and options of the commands about registered images and snapshots."""

import re
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

ImageArgument = Annotated[str, typer.Argument(metavar="ID", help="An ami- id.")]
SnapshotArgument = Annotated[str, typer.Argument(metavar="ID", help="A snap- id.")]
ToOption = Annotated[
    list[str],
    typer.Option(
        "--to",
        metavar="REGION[=KEY]",
        help="A region, and the KMS key that encrypts there. May be given several times.",
    ),
]
EncryptOption = Annotated[
    bool,
    typer.Option("--encrypt", help="Encrypt; without a key by the account's own for EBS."),
]
AccountOption = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="ID", help="12 digits; may be given several times."),
]
OrganizationOption = Annotated[
    list[str] | None,
    typer.Option("--org", metavar="ARN", help="An organization, or a unit of one."),
]
PublicOption = Annotated[bool, typer.Option("--public", help="Everybody.")]
WithSnapshotsOption = Annotated[
    bool,
    typer.Option("--with-snapshots", help="Its snapshots, too: for volumes, not for launching."),
]
TagsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Tags to give.")
]
RemoveOption = Annotated[
    list[str] | None, typer.Option("--remove", metavar="KEY", help="A tag to take.")
]
_ID = re.compile(r"ami-[0-9a-f]+")


class ImagesGroup(TyperGroup):
    """`imgforge images ami-…` is `imgforge images show ami-…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where an image's id stands in its place."""
        if any(map(_ID.fullmatch, args)) and not any(one in self.commands for one in args):
            args = ["show", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest
