"""`imgforge register`: a disk, a snapshot or a bundle becomes an AMI."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.registration_options import RegistrationOptions, VerdictOptions
from imgforge.cli.terminal import print_json, stdout_console
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.acceptance import Verdict
    from imgforge.catalog import NameConflict
    from imgforge.ec2 import Cloud, Image


@with_groups
def register(
    disk: Annotated[Path | None, typer.Argument(metavar="[DISK]", help="A raw disk.")] = None,
    *,
    snapshot: Annotated[
        str, typer.Option("--snapshot", metavar="SNAP", help="A snapshot in place of a disk.")
    ] = "",
    manifest: Annotated[
        str,
        typer.Option(
            "--manifest",
            metavar="BUCKET/…/NAME.manifest.xml",
            help="A bundle in S3 in place of a disk.",
        ),
    ] = "",
    verdict: VerdictOptions,
    replace: Annotated[
        bool, typer.Option("--replace", help="Deregister an image that has this name.")
    ] = False,
    skip_holes: Annotated[
        bool, typer.Option("--skip-holes", help="Leave the disk's holes out of the snapshot.")
    ] = False,
    registration: RegistrationOptions,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> None:
    """Register an accepted disk as an AMI; or a snapshot, or a bundle that is in S3.

    What EC2 would refuse is told before it is asked. Run it again after a failure or a kill: it
    goes on, and makes nothing twice. With nothing configured as for boto3 it goes into the local
    catalog.
    """
    from imgforge.catalog import NameConflict

    given = registration.given()
    _refuse_what_is_here(disk, manifest)
    _check(disk, snapshot, manifest, name=registration.name)
    asked = _Asked(
        registration.name,
        given,
        verdict.read(f"Registering {disk or snapshot or manifest}"),
        NameConflict.SUPERSEDE if replace else NameConflict.REFUSE,
    )
    with where.reached() as cloud:
        if disk is not None:
            image = _register_disk(cloud, disk, asked, skips_holes=skip_holes)
        elif snapshot:
            image = _register_snapshot(cloud, snapshot, asked)
        else:
            image = _register_bundle(cloud, manifest, asked)
    if as_json:
        print_json(image.told)
    else:
        stdout_console().print(image.image_id)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says of an image, whatever it is made from."""

    name: str | None
    given: dict[str, Any]
    verdict: "Verdict | None"
    conflict: "NameConflict"


def _refuse_what_is_here(disk: Path | None, manifest: str) -> None:
    """Raise BadInputError for a bundle that is a file here: EC2 registers what is in S3."""
    from imgforge.bundle import MANIFEST_SUFFIX

    here = disk if disk is not None else Path(manifest)
    if here.name.endswith(MANIFEST_SUFFIX) and here.is_file():
        path = shlex.quote(str(here))
        raise BadInputError(
            f"Bundle {here}: is on this host; EC2 registers bundles that are in S3.",
            hint=f"imgforge bundle upload {path} BUCKET/FOLDER sends it there; then imgforge "
            f"register --manifest BUCKET/FOLDER/{shlex.quote(here.name)}. Or imgforge convert "
            f"{path} --to ebs makes an EBS image of it, with a test.",
        )


def _check(disk: Path | None, snapshot: str, manifest: str, *, name: str | None) -> None:
    if [disk is not None, bool(snapshot), bool(manifest)].count(True) != 1:
        raise BadInputError("Registering: give a disk, --snapshot or --manifest; one of them.")
    if disk is None and not name:
        raise BadInputError(
            f"Registering {snapshot or manifest}: nothing names the image.",
            hint="Give a name with --name.",
        )


def _register_disk(cloud: "Cloud", disk: Path, asked: _Asked, *, skips_holes: bool) -> "Image":
    from imgforge.disk import open_disk
    from imgforge.pipeline import registration_of
    from imgforge.registering import DiskWish, register_disk

    opened = open_disk(disk)
    registration = registration_of(opened, name=asked.name).asked(asked.given)
    wish = DiskWish(opened, registration, asked.verdict, asked.conflict, skips_holes=skips_holes)
    return register_disk(cloud, wish)


def _register_snapshot(cloud: "Cloud", snapshot: str, asked: _Asked) -> "Image":
    from imgforge.registering import SnapshotImageWish, register_snapshot

    wish = SnapshotImageWish(snapshot, asked.name or "", asked.verdict, asked.given, asked.conflict)
    return register_snapshot(cloud, wish)


def _register_bundle(cloud: "Cloud", manifest: str, asked: _Asked) -> "Image":
    from imgforge.registering import BundleWish, register_bundle

    if asked.verdict is not None:
        raise BadInputError(
            f"Bundle {manifest}: a verdict is of a disk, and no bundle tells its disk's SHA-256.",
            hint="imgforge convert --to ebs tests what is in it; --unverified registers it as it "
            "is, and the image keeps saying so.",
        )
    return register_bundle(
        cloud, BundleWish(manifest, asked.name or "", asked.given, asked.conflict)
    )
