"""ec2-upload-bundle, ec2-download-bundle and ec2-delete-bundle, with the flags that people know.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-tools-commands.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.bundle_input import existing
from imgforge.cli.bundle_removal import Asking, remove_bundle
from imgforge.cli.bundle_s3 import canned_acl
from imgforge.cli.cloud import RegionOption, UrlOption, cloud_wish, reached_cloud
from imgforge.cli.ec2_tool_options import PATH, ForceOption, ToolOptions, say
from imgforge.cli.option_group import with_groups
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import stderr_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.ec2 import Cloud, CloudWish
    from imgforge.transfer import BundlePlace, Deletion

_MANIFEST_SUFFIX = ".manifest.xml"
_DEFAULT_NAME = "image"
_ATTEMPTS = 5
_MORE_ATTEMPTS = 10
# Names that the AMI tools knew regions by.
_LOCATIONS = {"US": "us-east-1", "EU": "eu-west-1"}


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """Where in which S3, and as whom."""

    bucket: Annotated[
        str, typer.Option("-b", "--bucket", metavar="BUCKET/FOLDER", help="Where in S3.")
    ]
    access_key: Annotated[
        str,
        typer.Option(
            "-a", "--access-key", metavar="ID", help="Else AWS_ACCESS_KEY_ID, or a profile."
        ),
    ] = ""
    secret_key: Annotated[
        str,
        typer.Option(
            "-s",
            "--secret-key",
            metavar="KEY",
            help="Every user of this host sees it in the list of processes: better leave it to "
            "AWS_SECRET_ACCESS_KEY or a profile.",
        ),
    ] = field(default="", repr=False)
    token: Annotated[
        str,
        typer.Option("-t", "--delegation-token", metavar="TOKEN", help="A session's token."),
    ] = field(default="", repr=False)
    region: RegionOption = ""
    url: UrlOption = ""
    sigv: Annotated[
        str, typer.Option("--sigv", metavar="VERSION", help="4, the only one there is.")
    ] = "4"
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Try what fails 10 times, and not 5, with growing pauses."),
    ] = False

    @property
    def place(self) -> "BundlePlace":
        """The bucket and the folder. Raises BadInputError."""
        from imgforge.transfer import BundlePlace

        return BundlePlace.parse(self.bucket)

    def wish(self, *, location: str = "") -> "CloudWish":
        """Return what was said of S3. Raises BadInputError."""
        if self.sigv != "4":
            raise BadInputError(f"Signature version {self.sigv!r}: S3 takes version 4 alone.")
        return cloud_wish(
            region=self.region or location,
            url=self.url,
            access=self.access_key,
            secret=self.secret_key,
            token=self.token,
        )

    @contextmanager
    def reached(self, *, location: str = "") -> "Iterator[Cloud]":
        """Give S3, and show what is done there while the block runs."""
        wish = self.wish(location=location)
        attempts = _MORE_ATTEMPTS if self.retry else _ATTEMPTS
        with shown_progress(stderr_console()), reached_cloud(wish, attempts=attempts) as cloud:
            yield cloud


@with_groups
def upload_bundle(
    *,
    there: StorageOptions,
    manifest: Annotated[
        Path, typer.Option("-m", "--manifest", metavar=PATH, help="The bundle's manifest.")
    ],
    acl: Annotated[
        str, typer.Option("--acl", help="aws-exec-read lets EC2 read it.")
    ] = "aws-exec-read",
    directory: Annotated[
        Path | None,
        typer.Option("-d", "--directory", metavar=PATH, help="Its parts; else by the manifest."),
    ] = None,
    part: Annotated[
        int,
        typer.Option("--part", metavar="N", min=0, help="Parts before this one are there already."),
    ] = 0,
    skipmanifest: Annotated[
        bool, typer.Option("--skipmanifest", help="Upload the parts alone.")
    ] = False,
    location: Annotated[
        str, typer.Option("--location", metavar="REGION", help="Where a missing bucket is made.")
    ] = "",
    every: ToolOptions,
) -> None:
    """Upload a bundle to S3: its parts in parallel, its manifest last.

    Run it again after a failure: what is there and right is not sent again.
    """
    from imgforge.transfer import ManifestWish, UploadWish
    from imgforge.transfer import upload_bundle as upload

    where = _LOCATIONS.get(location, location)
    wish = UploadWish(
        acl=canned_acl(acl),
        manifest=ManifestWish.SKIP if skipmanifest else ManifestWish.LAST,
        first_part=part,
        region=where,
    )
    to = there.place
    with there.reached(location=where) as reached:
        done = upload(reached, manifest, to, folder=directory or manifest.parent, wish=wish)
    if not skipmanifest:
        say(f"Uploaded manifest: {to.bucket}/{done.manifest_key}")
    say("Bundle upload completed.")


@with_groups
def download_bundle(
    *,
    there: StorageOptions,
    privatekey: Annotated[
        Path | None,
        typer.Option("-k", "--privatekey", metavar=PATH, help="The signature must be by it."),
    ] = None,
    manifest: Annotated[
        str, typer.Option("-m", "--manifest", metavar="NAME", help="The manifest's name there.")
    ] = "",
    prefix: Annotated[
        str, typer.Option("-p", "--prefix", metavar="NAME", help="The bundle's name; else image.")
    ] = "",
    directory: Annotated[
        Path, typer.Option("-d", "--directory", metavar=PATH, help="Where it goes; else here.")
    ] = Path(),
    force: ForceOption = False,
    every: ToolOptions,
) -> None:
    """Download a bundle from S3; each part is compared with the manifest.

    Run it again after a failure: parts that are here and right are kept.
    """
    from imgforge.bundle import read_private_key
    from imgforge.transfer import download_bundle as download

    signer = read_private_key(privatekey).public_key if privatekey else None
    with there.reached() as reached:
        done = download(
            reached,
            there.place,
            manifest or f"{prefix or _DEFAULT_NAME}{_MANIFEST_SUFFIX}",
            destination=directory,
            existing=existing(force=force),
            signer=signer,
        )
    say(f"Bundle download completed: {done.manifest_path}")


@with_groups
def delete_bundle(
    *,
    there: StorageOptions,
    manifest: Annotated[
        Path | None,
        typer.Option("-m", "--manifest", metavar=PATH, help="The bundle's manifest, a file here."),
    ] = None,
    prefix: Annotated[
        str, typer.Option("-p", "--prefix", metavar="NAME", help="Or the bundle's name.")
    ] = "",
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete the bucket, too, if it is empty then.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Ask nothing.")] = False,
    every: ToolOptions,
) -> None:
    """Delete a bundle in S3: its parts, and last its manifest, so that it can be run again.

    It asks first where somebody is at a terminal.
    """
    from imgforge.bundle import load_manifest
    from imgforge.transfer import plan_deletion

    if (manifest is None) is not bool(prefix):
        raise BadInputError("Bundle: give -m with its manifest, or -p with its name.")
    source = there.place
    loaded = load_manifest(manifest).manifest if manifest else None
    name = manifest.name.removesuffix(_MANIFEST_SUFFIX) if manifest else prefix

    def plan(cloud: "Cloud") -> "Deletion":
        return plan_deletion(cloud, source, name=name, manifest=loaded)

    removed = remove_bundle(
        there.wish(),
        plan,
        asking=Asking.NEVER if yes or every.batch else Asking.AT_A_TERMINAL,
        clear=clear,
    )
    for key in removed.deletion.keys:
        say(f"Deleted {source.bucket}/{key}")
    say("ec2-delete-bundle complete.")
