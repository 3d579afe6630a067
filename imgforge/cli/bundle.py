"""`imgforge bundle`: instance-store bundles.

`edit` is in bundle_edit.py, `volume` in bundle_volume.py, what reaches S3 in bundle_s3.py.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.bundle_input import (
    Ec2KeyOption,
    ForceOption,
    ManifestArgument,
    MaybeCertOption,
    MaybeKeyOption,
    NewBundleOptions,
    PartsOption,
    existing,
    plain_account,
    require_no_folder,
)
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from imgforge.bundle import Opener

bundle_app = typer.Typer(
    help="Instance-store bundles: make, look at, verify, change one, and take its image out.",
    no_args_is_help=True,
)


@bundle_app.command("create")
@with_groups
def create(
    disk: Annotated[Path, typer.Argument(metavar="DISK", help="A raw disk or file system.")],
    *,
    new: NewBundleOptions,
    out: Annotated[
        Path | None, typer.Option("--out", "-d", metavar="DIR", help="Else DISK.bundle.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", "-p", metavar="NAME", help="Else the disk's file name.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a bundle of a disk: encrypted parts of 10 MiB and a signed manifest.

    In one pass; holes are not read. Without --ec2cert it is made for imgforge's own EC2: for AWS
    give the certificate of the region, from AWS's AMI tools (etc/ec2/amitools/cert-ec2*.pem).
    """
    from imgforge.bundle import create_bundle
    from imgforge.cli.bundle_show import bundle_values

    require_no_folder(disk)
    wish = new.wish(name or disk.name)
    with shown_progress(stderr_console()):
        made = create_bundle(
            disk,
            wish=wish,
            signers=new.signers(),
            destination=out or disk.with_name(f"{disk.name}.bundle"),
            existing=existing(force=new.force),
        )
    if as_json:
        print_json(bundle_values(made))
    else:
        stdout_console().print(str(made.manifest_path), markup=False, soft_wrap=True)


@bundle_app.command("inspect")
def inspect(manifest: ManifestArgument, *, as_json: JsonOption = False) -> None:
    """Show what a manifest says; nothing of it is verified."""
    from imgforge.bundle import load_manifest
    from imgforge.cli.bundle_show import manifest_values, show_manifest

    loaded = load_manifest(manifest).manifest
    if as_json:
        print_json(manifest_values(loaded))
    else:
        show_manifest(stdout_console(), loaded)


@bundle_app.command("verify")
def verify(
    manifest: ManifestArgument,
    *,
    key: MaybeKeyOption = None,
    cert: MaybeCertOption = None,
    ec2_key: Ec2KeyOption = None,
    account: Annotated[
        str, typer.Option("--account", "-u", metavar="ID", help="Whose it has to be.")
    ] = "",
    parts: PartsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check everything of a bundle, and say which of it fails.

    The manifest's form, order, names and counts, its architecture, ids and mappings as EC2 takes
    them, each part's size and digest; with --cert or --key the signature, with --key the digest of
    the whole. What was not checked is said. Exit code 1 where something fails.
    """
    from imgforge.bundle import KeyRing, read_certificate, read_private_key, verify_bundle
    from imgforge.cli.bundle_show import show_verification, verification_values

    keys = KeyRing(
        certificate=read_certificate(cert) if cert else None,
        key=read_private_key(key) if key else None,
        ec2_key=read_private_key(ec2_key) if ec2_key else None,
        account=plain_account(account),
    )
    with shown_progress(stderr_console()):
        found = verify_bundle(manifest, folder=parts or manifest.parent, keys=keys)
    if as_json:
        print_json(verification_values(found))
    else:
        show_verification(stdout_console(), found)
    return ExitCode.DONE if found.is_good else ExitCode.IMAGE_REJECTED


@bundle_app.command("extract")
def extract(
    manifest: ManifestArgument,
    *,
    key: MaybeKeyOption = None,
    cert: MaybeCertOption = None,
    ec2_key: Ec2KeyOption = None,
    parts: PartsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Else its name, beside MANIFEST."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take the image out of a bundle: with your key, or with EC2's and the signer's --cert.

    The signature and all digests are checked before the file appears, and holes stay holes.
    """
    from imgforge.bundle import extract_bundle, load_manifest

    opener = _opener(key, cert, ec2_key)
    loaded = load_manifest(manifest)
    with shown_progress(stderr_console()):
        extracted = extract_bundle(
            loaded,
            folder=parts or manifest.parent,
            opener=opener,
            destination=out or manifest.parent / loaded.manifest.image.name,
            existing=existing(force=force),
        )
    if as_json:
        values = {"image": str(extracted.path), "size_bytes": extracted.size_bytes}
        print_json({**values, "sha1": extracted.sha1})
    else:
        stdout_console().print(str(extracted.path), markup=False, soft_wrap=True)


def _opener(key: Path | None, cert: Path | None, ec2_key: Path | None) -> "Opener":
    from imgforge.bundle import Opener, Reader, read_certificate, read_private_key

    if (key is None) is (ec2_key is None):
        raise BadInputError("Bundle: give --key, or --ec2-key with the signer's --cert.")
    signer = read_certificate(cert).public_key if cert else None
    if key is not None:
        own = read_private_key(key)
        return Opener(own, Reader.USER, signer or own.public_key)
    if signer is None or ec2_key is None:
        raise BadInputError("Bundle: with --ec2-key its signature needs the signer's --cert.")
    return Opener(read_private_key(ec2_key), Reader.EC2, signer)
