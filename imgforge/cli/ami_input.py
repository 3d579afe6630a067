"""Arguments and options of the commands about registered images and snapshots."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from imgforge.catalog import Permission
    from imgforge.copy_plan import Destination, Ending
    from imgforge.image_sharing import Reach
    from imgforge.removal import Missing

ImageArgument = Annotated[str, typer.Argument(metavar="ID", help="An ami- id.")]
SnapshotArgument = Annotated[str, typer.Argument(metavar="ID", help="A snap- id.")]
IfExistsOption = Annotated[
    bool, typer.Option("--if-exists", help="What is not there is no error, whatever the id.")
]
_ID = re.compile(r"ami-[0-9a-f]+")


ToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="REGION[=KEY]",
        help="A region, and the KMS key that encrypts there. May be given several times.",
    ),
]


def missing(*, if_exists: bool) -> "Missing":
    """Return what --if-exists makes of a thing that is not there."""
    from imgforge.removal import Missing

    return Missing.GONE if if_exists else Missing.REFUSED


@dataclass(frozen=True, slots=True)
class DestinationOptions:
    """Where copies go, and whether they are encrypted."""

    to: ToOption = None
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Encrypt; without a key by the account's own for EBS.")
    ] = False

    def destinations(self) -> "tuple[Destination, ...]":
        """Return the regions, each with its key. Raises BadInputError."""
        from imgforge.copy_plan import parse_destinations

        return parse_destinations(self.to or ())


@dataclass(frozen=True, slots=True)
class CopyOptions(DestinationOptions):
    """How something is copied, to at least one region."""

    to: ToOption
    description: Annotated[
        str | None, typer.Option("--description", help="Else that of what is copied.")
    ] = None
    wait: Annotated[bool, typer.Option("--wait", help="Until the copies can be used.")] = False

    @property
    def ending(self) -> "Ending":
        """When copying is over."""
        from imgforge.copy_plan import Ending

        return Ending.AVAILABLE if self.wait else Ending.ASKED


@dataclass(frozen=True, slots=True)
class AudienceOptions:
    """With whom a snapshot is shared."""

    account: Annotated[
        list[str] | None,
        typer.Option("--account", metavar="ID", help="12 digits; may be given several times."),
    ] = None
    public: Annotated[bool, typer.Option("--public", help="Everybody.")] = False

    def audience(self) -> "tuple[Permission, ...]":
        """Return whom that means. Raises BadInputError for nobody."""
        from imgforge.image_sharing import read_audience

        return read_audience(accounts=self.account or (), everybody=self.public)


@dataclass(frozen=True, slots=True)
class ImageAudienceOptions(AudienceOptions):
    """With whom an image is shared, and whether its snapshots are, too."""

    org: Annotated[
        list[str] | None,
        typer.Option("--org", metavar="ARN", help="An organization, or a unit of one."),
    ] = None
    with_snapshots: Annotated[
        bool,
        typer.Option(
            "--with-snapshots", help="Its snapshots, too: for volumes, not for launching."
        ),
    ] = False

    @property
    def is_given(self) -> bool:
        """Whether anybody is named."""
        return bool(self.account or self.org or self.public)

    @property
    def reach(self) -> "Reach":
        """Whether the image alone is shared."""
        from imgforge.image_sharing import Reach

        return Reach.SNAPSHOTS if self.with_snapshots else Reach.IMAGE

    def audience(self) -> "tuple[Permission, ...]":
        """Return whom that means. Raises BadInputError for nobody."""
        from imgforge.image_sharing import read_audience

        return read_audience(
            accounts=self.account or (), organizations=self.org or (), everybody=self.public
        )


@dataclass(frozen=True, slots=True)
class TagOptions:
    """Which tags are given, and which are taken."""

    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Tags to give.")
    ] = None
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="KEY", help="A tag to take.")
    ] = None

    def put(self) -> dict[str, str]:
        """Return the tags to give. Raises BadInputError."""
        from imgforge.made_tags import parse_tags

        return parse_tags(self.tags or ())


class ImagesGroup(TyperGroup):
    """`imgforge images ami-…` is `imgforge images show ami-…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where an image's id stands in its place."""
        if any(map(_ID.fullmatch, args)) and not any(one in self.commands for one in args):
            args = ["show", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest
