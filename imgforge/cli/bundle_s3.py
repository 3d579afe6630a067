"""`imgforge bundle upload|download|delete`: bundles in S3."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.bundle import bundle_app
from imgforge.cli.bundle_input import (
    ForceOption,
    ManifestArgument,
    PartsOption,
    existing,
)
from imgforge.cli.bundle_removal import Asking, Removed, remove_bundle
from imgforge.cli.cloud import CloudOptions, reached_cloud
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.ec2 import CannedAcl, Cloud
    from imgforge.transfer import Deletion

__all__ = ["bundle_app", "canned_acl", "say"]

_MANIFEST_SUFFIX = ".manifest.xml"
PlaceArgument = Annotated[
    str, typer.Argument(metavar="BUCKET/FOLDER", help="Or s3://BUCKET/FOLDER.")
]
BundleArgument = Annotated[
    str,
    typer.Argument(
        metavar="BUCKET/FOLDER", help="Or s3://BUCKET/FOLDER/NAME.manifest.xml, one of several."
    ),
]


@bundle_app.command("upload")
@with_groups
def upload(
    manifest: ManifestArgument,
    place: PlaceArgument,
    *,
    acl: Annotated[
        str, typer.Option("--acl", help="EC2 reads bundles by aws-exec-read.")
    ] = "aws-exec-read",
    parts: PartsOption = None,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Upload a bundle: its parts in parallel, its manifest last.

    Each part is compared with the manifest before it is sent and when it is there. Run it again
    after a failure: what is there and right is not sent again. A missing bucket is made. With
    nothing configured as for boto3, imgforge's own S3 answers, in ~/.local/share/imgforge.
    """
    from imgforge.transfer import BundlePlace, UploadWish, upload_bundle

    wish = UploadWish(acl=canned_acl(acl))
    to = BundlePlace.parse(place)
    with (
        shown_progress(stderr_console()),
        reached_cloud(where.wish()) as cloud,
    ):
        done = upload_bundle(cloud, manifest, to, folder=parts or manifest.parent, wish=wish)
    if as_json:
        print_json(
            {
                "manifest": f"s3://{to.bucket}/{done.manifest_key}",
                "image_location": f"{to.bucket}/{done.manifest_key}",
                "region": cloud.region,
                "parts_sent": done.sent,
                "parts_kept": done.kept,
                "bytes_sent": done.bytes_sent,
            }
        )
    else:
        say(f"s3://{to.bucket}/{done.manifest_key}")


@bundle_app.command("download")
@with_groups
def download(
    place: BundleArgument,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-d", metavar="DIR", help="Where the bundle goes.")
    ] = Path(),
    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", metavar="FILE", help="Your key: the signature must be by it."),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option("--cert", "-c", metavar="FILE", help="Or the certificate that signed it."),
    ] = None,
    force: ForceOption = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Download a bundle: its manifest is checked first, each part before it has its name.

    Run it again after a failure: parts that are here and right are kept. The manifest appears
    last: where it is, all is.
    """
    from imgforge.bundle import read_certificate, read_private_key
    from imgforge.transfer import download_bundle, split_manifest_url

    if key and cert:
        raise BadInputError("Bundle: give --key or --cert, not both.")
    signer = read_private_key(key).public_key if key else None
    signer = read_certificate(cert).public_key if cert else signer
    source, name = split_manifest_url(place)
    with (
        shown_progress(stderr_console()),
        reached_cloud(where.wish()) as cloud,
    ):
        done = download_bundle(
            cloud, source, name, destination=out, existing=existing(force=force), signer=signer
        )
    if as_json:
        counts = {"parts_fetched": done.fetched, "parts_kept": done.kept}
        print_json({"manifest": str(done.manifest_path), **counts})
    else:
        say(str(done.manifest_path))


@bundle_app.command("delete")
@with_groups
def delete(
    place: BundleArgument,
    *,
    name: Annotated[
        str, typer.Option("--name", "-p", metavar="NAME", help="NAME.manifest.xml and its parts.")
    ] = "",
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete the bucket, too, if it is empty then.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Delete a bundle in S3: its parts, and last its manifest, so that it can be run again.

    What is already gone is no error. Deregister its image first: EC2 launches it no more.
    """
    from imgforge.transfer import find_manifest, plan_deletion, split_manifest_url

    source, named = split_manifest_url(place)
    if named and name and named != name + _MANIFEST_SUFFIX:
        raise BadInputError(f"Bundle {place}: and --name {name} are not the same; give one.")

    def plan(cloud: "Cloud") -> "Deletion":
        manifest = named or (name + _MANIFEST_SUFFIX if name else find_manifest(cloud, source))
        return plan_deletion(cloud, source, name=manifest.removesuffix(_MANIFEST_SUFFIX))

    asking = Asking.NEVER if yes else Asking.ALWAYS
    removed = remove_bundle(
        where.wish(),
        plan,
        asking=Asking.DRY_RUN if dry_run else asking,
        clear=clear,
    )
    if as_json:
        print_json({**_removed_values(removed), "dry_run": dry_run})
    else:
        for one in removed.deletion.keys:
            say(f"s3://{source.bucket}/{one}")


def _removed_values(removed: Removed) -> dict[str, object]:
    return {
        "bucket": removed.deletion.place.bucket,
        "keys": removed.deletion.keys,
        "bucket_deleted": removed.is_bucket_gone,
    }


def canned_acl(text: str) -> "CannedAcl":
    """Return a canned ACL by its name. Raises BadInputError."""
    from imgforge.ec2 import CannedAcl

    try:
        return CannedAcl(text)
    except ValueError:
        raise BadInputError(f"ACL {text!r}: there are {', '.join(CannedAcl)}.") from None


def say(text: str) -> None:
    """Print a line of the result."""
    stdout_console().print(text, markup=False, soft_wrap=True)
