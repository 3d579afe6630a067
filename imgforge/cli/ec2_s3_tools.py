"""ec2-upload-bundle, ec2-download-bundle and ec2-delete-bundle, with the flags that people know.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-tools-commands.html
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge import __version__
from imgforge.cli.bundle_input import existing
from imgforge.cli.bundle_removal import Asking, remove_bundle
from imgforge.cli.bundle_s3 import canned_acl, say
from imgforge.cli.cloud import RegionOption, UrlOption, cloud_wish, reached_cloud
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import stderr_console, stdout_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.ec2 import Cloud
    from imgforge.transfer import Deletion

_PATH = "PATH"
_MANIFEST_SUFFIX = ".manifest.xml"
_DEFAULT_NAME = "image"
_ATTEMPTS = 5
_MORE_ATTEMPTS = 10
# Names that the AMI tools knew regions by.
_LOCATIONS = {"US": "us-east-1", "EU": "eu-west-1"}


def _print_version(*, wanted: bool) -> None:
    if wanted:
        stdout_console().print(f"imgforge {__version__}, with the AMI tools' command lines")
        raise typer.Exit


BucketOption = Annotated[
    str, typer.Option("-b", "--bucket", metavar="BUCKET/FOLDER", help="Where in S3.")
]
AccessOption = Annotated[
    str,
    typer.Option("-a", "--access-key", metavar="ID", help="Else AWS_ACCESS_KEY_ID, or a profile."),
]
SecretOption = Annotated[
    str,
    typer.Option(
        "-s",
        "--secret-key",
        metavar="KEY",
        help="Every user of this host sees it in the list of processes: better leave it to "
        "AWS_SECRET_ACCESS_KEY or a profile.",
    ),
]
TokenOption = Annotated[
    str, typer.Option("-t", "--delegation-token", metavar="TOKEN", help="A session's token.")
]
SigvOption = Annotated[
    str, typer.Option("--sigv", metavar="VERSION", help="4, the only one there is.")
]
RetryOption = Annotated[
    bool, typer.Option("--retry", help="Try what fails 10 times, and not 5, with growing pauses.")
]
BatchOption = Annotated[bool, typer.Option("--batch", help="Ask nothing.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
]


def upload_bundle(
    *,
    bucket: BucketOption,
    manifest: Annotated[
        Path, typer.Option("-m", "--manifest", metavar=_PATH, help="The bundle's manifest.")
    ],
    access_key: AccessOption = "",
    secret_key: SecretOption = "",
    token: TokenOption = "",
    acl: Annotated[
        str, typer.Option("--acl", help="aws-exec-read lets EC2 read it.")
    ] = "aws-exec-read",
    directory: Annotated[
        Path | None,
        typer.Option("-d", "--directory", metavar=_PATH, help="Its parts; else by the manifest."),
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
    region: RegionOption = "",
    url: UrlOption = "",
    sigv: SigvOption = "4",
    retry: RetryOption = False,
    batch: BatchOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
) -> None:
    """Upload a bundle to S3: its parts in parallel, its manifest last.

    Run it again after a failure: what is there and right is not sent again.
    """
    from imgforge.transfer import BundlePlace, ManifestWish, UploadWish
    from imgforge.transfer import upload_bundle as upload

    _check_sigv(sigv)
    where = _LOCATIONS.get(location, location)
    wish = UploadWish(
        acl=canned_acl(acl),
        manifest=ManifestWish.SKIP if skipmanifest else ManifestWish.LAST,
        first_part=part,
        region=where,
    )
    to = BundlePlace.parse(bucket)
    cloud = cloud_wish(
        region=region or where, url=url, access=access_key, secret=secret_key, token=token
    )
    with (
        shown_progress(stderr_console()),
        reached_cloud(cloud, attempts=_MORE_ATTEMPTS if retry else _ATTEMPTS) as reached,
    ):
        done = upload(reached, manifest, to, folder=directory or manifest.parent, wish=wish)
    if not skipmanifest:
        say(f"Uploaded manifest: {to.bucket}/{done.manifest_key}")
    say("Bundle upload completed.")


def download_bundle(
    *,
    bucket: BucketOption,
    access_key: AccessOption = "",
    secret_key: SecretOption = "",
    token: TokenOption = "",
    privatekey: Annotated[
        Path | None,
        typer.Option("-k", "--privatekey", metavar=_PATH, help="The signature must be by it."),
    ] = None,
    manifest: Annotated[
        str, typer.Option("-m", "--manifest", metavar="NAME", help="The manifest's name there.")
    ] = "",
    prefix: Annotated[
        str, typer.Option("-p", "--prefix", metavar="NAME", help="The bundle's name; else image.")
    ] = "",
    directory: Annotated[
        Path, typer.Option("-d", "--directory", metavar=_PATH, help="Where it goes; else here.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace what stands there (ours).")] = (
        False
    ),
    region: RegionOption = "",
    url: UrlOption = "",
    sigv: SigvOption = "4",
    retry: RetryOption = False,
    batch: BatchOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
) -> None:
    """Download a bundle from S3; each part is compared with the manifest.

    Run it again after a failure: parts that are here and right are kept.
    """
    from imgforge.bundle import read_private_key
    from imgforge.transfer import BundlePlace
    from imgforge.transfer import download_bundle as download

    _check_sigv(sigv)
    signer = read_private_key(privatekey).public_key if privatekey else None
    source = BundlePlace.parse(bucket)
    cloud = cloud_wish(region=region, url=url, access=access_key, secret=secret_key, token=token)
    with (
        shown_progress(stderr_console()),
        reached_cloud(cloud, attempts=_MORE_ATTEMPTS if retry else _ATTEMPTS) as reached,
    ):
        done = download(
            reached,
            source,
            manifest or f"{prefix or _DEFAULT_NAME}{_MANIFEST_SUFFIX}",
            destination=directory,
            existing=existing(force=force),
            signer=signer,
        )
    say(f"Bundle download completed: {done.manifest_path}")


def delete_bundle(
    *,
    bucket: BucketOption,
    access_key: AccessOption = "",
    secret_key: SecretOption = "",
    token: TokenOption = "",
    manifest: Annotated[
        Path | None,
        typer.Option("-m", "--manifest", metavar=_PATH, help="The bundle's manifest, a file here."),
    ] = None,
    prefix: Annotated[
        str, typer.Option("-p", "--prefix", metavar="NAME", help="Or the bundle's name.")
    ] = "",
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete the bucket, too, if it is empty then.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Ask nothing.")] = False,
    region: RegionOption = "",
    url: UrlOption = "",
    sigv: SigvOption = "4",
    retry: RetryOption = False,
    batch: BatchOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
) -> None:
    """Delete a bundle in S3: its parts, and last its manifest, so that it can be run again.

    It asks first where somebody is at a terminal.
    """
    from imgforge.bundle import load_manifest
    from imgforge.transfer import BundlePlace, plan_deletion

    _check_sigv(sigv)
    if (manifest is None) is not bool(prefix):
        raise BadInputError("Bundle: give -m with its manifest, or -p with its name.")
    source = BundlePlace.parse(bucket)
    loaded = load_manifest(manifest).manifest if manifest else None
    name = manifest.name.removesuffix(_MANIFEST_SUFFIX) if manifest else prefix

    def plan(cloud: "Cloud") -> "Deletion":
        return plan_deletion(cloud, source, name=name, manifest=loaded)

    removed = remove_bundle(
        cloud_wish(region=region, url=url, access=access_key, secret=secret_key, token=token),
        plan,
        asking=Asking.NEVER if yes or batch else Asking.AT_A_TERMINAL,
        clear=clear,
    )
    for key in removed.deletion.keys:
        say(f"Deleted {source.bucket}/{key}")
    say("ec2-delete-bundle complete.")


def _check_sigv(version: str) -> None:
    if version != "4":
        raise BadInputError(f"Signature version {version!r}: S3 takes version 4 alone.")
