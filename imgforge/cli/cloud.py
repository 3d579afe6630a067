"""Which cloud a command means: options that all of them have, and who answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge import host
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.ec2 import Cloud, CloudWish

_ATTEMPTS = 5

RegionOption = Annotated[
    str, typer.Option("--region", metavar="REGION", help="Else your profile's, or us-east-1.")
]
ProfileOption = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="A profile of ~/.aws/config.")
]
UrlOption = Annotated[
    str,
    typer.Option(
        "--url",
        metavar="URL",
        help="Another endpoint; `local` is imgforge's own, `aws` is AWS by an instance's role.",
    ),
]


@dataclass(frozen=True, slots=True)
class CloudOptions:
    """Who is asked, and in which region."""

    region: RegionOption = ""
    profile: ProfileOption = ""
    url: UrlOption = ""

    def wish(self) -> "CloudWish":
        """Return what was said of the cloud."""
        return cloud_wish(region=self.region, profile=self.profile, url=self.url)

    @contextmanager
    def reached(self) -> Iterator["Cloud"]:
        """Give EC2, EBS direct and S3, and show what is done there while the block runs."""
        from imgforge.cli.progress import shown_progress
        from imgforge.cli.terminal import stderr_console
        from imgforge.cloud_access import reached_ec2

        with shown_progress(stderr_console()), reached_ec2(self.wish()) as cloud:
            yield cloud


@dataclass(frozen=True, slots=True)
class RegionsOptions:
    """Who is asked, and in which regions."""

    region: Annotated[
        list[str] | None,
        typer.Option(
            "--region",
            metavar="REGION",
            help="May be given several times; else your profile's, or us-east-1.",
        ),
    ] = None
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="All that your account may use.")
    ] = False
    profile: ProfileOption = ""
    url: UrlOption = ""

    @contextmanager
    def reached(self) -> "Iterator[list[Cloud]]":
        """Give the cloud in each region, and show what is done there while the block runs.

        Raises BadInputError for a region that is none of the account's, and for both options.
        """
        from imgforge.copy_plan import Destination, check_regions

        names = list(dict.fromkeys(self.region or ()))
        if names and self.all_regions:
            raise BadInputError("Regions: give --region or --all-regions, not both.")
        first = CloudOptions(names[0] if names else "", self.profile, self.url)
        with first.reached() as cloud:
            if self.all_regions:
                names = list(cloud.compute.regions())
            elif len(names) > 1:
                check_regions(cloud, [Destination(name) for name in names])
            yield [cloud.in_region(name) for name in names or [cloud.region]]


def cloud_wish(
    *, region: str, url: str, profile: str = "", access: str = "", secret: str = "", token: str = ""
) -> "CloudWish":
    """Return what a command line says of the cloud. Raises BadInputError for half a key."""
    from imgforge.ec2 import CloudWish, Credentials

    if bool(access) is not bool(secret):
        raise BadInputError(
            "Credentials: an access key needs its secret key, and the other way round.",
            hint="Give both, or leave both to AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    keys = Credentials(access, secret, token) if access else None
    return CloudWish(region=region, profile=profile, url=url, credentials=keys)


@contextmanager
def reached_cloud(wish: "CloudWish", *, attempts: int = _ATTEMPTS) -> Iterator["Cloud"]:
    """Give the cloud that a command means; the embedded one keeps its things in the catalog."""
    from imgforge.ec2 import open_cloud

    with open_cloud(wish, folder=host.s3_dir(), attempts=attempts) as cloud:
        yield cloud
