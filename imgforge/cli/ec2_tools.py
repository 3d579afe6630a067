"""The AMI tools by the names and with the flags that people know.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-tools-commands.html
They end with 0, 1 for every failure, or 130, as the original's do. Those that reach S3 are in
ec2_s3_tools.py, ec2-bundle-vol is in ec2_bundle_vol.py.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from imgforge.cli.bundle_input import (
    bundle_wish,
    ec2_certificate,
    existing,
    read_pair,
    require_no_folder,
    signers,
)
from imgforge.cli.command_line import run_command_line
from imgforge.cli.ec2_s3_tools import delete_bundle, download_bundle, upload_bundle
from imgforge.cli.ec2_tool_options import (
    PATH,
    CertOption,
    Ec2CertOption,
    ForceOption,
    KernelOption,
    KeyOption,
    RamdiskOption,
    ToolOptions,
    VersionOption,
    say,
    version_line,
)
from imgforge.cli.option_group import with_groups
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import stderr_console
from imgforge.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from imgforge.bundle import BundleWish, Signers

_FAILED = 1
_CONTEXT = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class NewBundleOptions:
    """By whom and for whom a bundle is made and where it goes, by the flags of these tools."""

    privatekey: KeyOption
    cert: CertOption
    user: Annotated[
        str, typer.Option("-u", "--user", metavar="ID", help="Your AWS account's 12 digits.")
    ]
    destination: Annotated[
        Path, typer.Option("-d", "--destination", metavar=PATH, help="Where the bundle goes.")
    ] = Path("/tmp")  # noqa: S108 (the original's; nothing of another user's there is followed)
    mapping: Annotated[
        list[str] | None,
        typer.Option("-B", "--block-device-mapping", metavar="V=D,…", help="Devices."),
    ] = None
    kernel: KernelOption = ""
    ramdisk: RamdiskOption = ""
    productcodes: Annotated[
        str, typer.Option("--productcodes", metavar="A,B", help="Product codes.")
    ] = ""
    ec2cert: Ec2CertOption = None
    force: ForceOption = False

    def wish(self, name: str, *, arch: str) -> "BundleWish":
        """Return what the bundle is to be called, and what EC2 is to know of it."""
        return bundle_wish(
            name,
            account=self.user,
            arch=arch,
            mappings=self.mapping,
            kernel=self.kernel,
            ramdisk=self.ramdisk,
            product_codes=[code for code in self.productcodes.split(",") if code],
        )

    def signers(self) -> "Signers":
        """Read the keys."""
        return signers(self.privatekey, self.cert, self.ec2cert)


@with_groups
def bundle_image(
    *,
    new: NewBundleOptions,
    image: Annotated[
        Path, typer.Option("-i", "--image", metavar=PATH, help="The image to bundle.")
    ],
    arch: Annotated[str, typer.Option("-r", "--arch", help="i386 or x86_64.")],
    prefix: Annotated[
        str, typer.Option("-p", "--prefix", help="The bundle's name; else the image's.")
    ] = "",
    every: ToolOptions,
) -> None:
    """Bundle an image into encrypted parts and a signed manifest."""
    from imgforge.bundle import create_bundle

    require_no_folder(image)
    wish = new.wish(prefix or image.name, arch=arch)
    with shown_progress(stderr_console()):
        made = create_bundle(
            image,
            wish=wish,
            signers=new.signers(),
            destination=new.destination,
            existing=existing(force=new.force),
        )
    say(f"Bundle manifest is {made.manifest_path}")


@with_groups
def unbundle(
    *,
    privatekey: KeyOption,
    manifest: Annotated[
        Path, typer.Option("-m", "--manifest", metavar=PATH, help="The bundle's manifest.")
    ],
    source: Annotated[
        Path | None,
        typer.Option("-s", "--source", metavar=PATH, help="Its parts; else beside the manifest."),
    ] = None,
    destination: Annotated[
        Path, typer.Option("-d", "--destination", metavar=PATH, help="Where the image goes.")
    ] = Path(),
    force: ForceOption = False,
    every: ToolOptions,
) -> None:
    """Take the image out of a bundle, once its signature and all digests were checked."""
    from imgforge.bundle import Opener, Reader, extract_bundle, load_manifest, read_private_key

    key = read_private_key(privatekey)
    loaded = load_manifest(manifest)
    if not destination.is_dir():
        raise BadInputError(f"Destination {destination}: is no folder.")
    with shown_progress(stderr_console()):
        extracted = extract_bundle(
            loaded,
            folder=source or manifest.parent,
            opener=Opener(key, Reader.USER, key.public_key),
            destination=destination / loaded.manifest.image.name,
            existing=existing(force=force),
        )
    say(f"Unbundle complete: {extracted.path}")


@with_groups
def migrate_manifest(
    *,
    privatekey: KeyOption,
    cert: CertOption,
    manifest: Annotated[
        Path, typer.Option("-m", "--manifest", metavar=PATH, help="The manifest to change.")
    ],
    ec2cert: Ec2CertOption = None,
    kernel: KernelOption = "",
    ramdisk: RamdiskOption = "",
    no_mapping: Annotated[
        bool, typer.Option("--no-mapping", help="Leave kernel and RAM disk as they are.")
    ] = False,
    region: Annotated[str, typer.Option("--region", help="The region it goes to.")] = "",
    access_key: Annotated[
        str, typer.Option("-a", "--access-key", help="Not needed: EC2 is not asked.")
    ] = "",
    secret_key: Annotated[
        str, typer.Option("-s", "--secret-key", help="Not needed: EC2 is not asked.")
    ] = "",
    every: ToolOptions,
) -> None:
    """Make a manifest one of another region: EC2's certificate, kernel and RAM disk.

    A PV-GRUB's equal there is looked up in the guide's list. The old manifest is kept beside it as
    MANIFEST.bak.
    """
    from imgforge.bundle import Migration, OldIds
    from imgforge.bundle import migrate_manifest as migrate

    migration = Migration(
        ec2=ec2_certificate(ec2cert),
        region=region,
        kernel_id=kernel,
        ramdisk_id=ramdisk,
        old_ids=OldIds.KEEP if no_mapping else OldIds.LOOK_UP,
    )
    with shown_progress(stderr_console()):
        migrate(manifest, migration, pair=read_pair(privatekey, cert))
    suitable = f" It is now suitable for use in {region}." if region else ""
    say(f"Successfully migrated {manifest}.{suitable}")


def ami_tools_version(*, version: VersionOption = False) -> None:
    """Print the version of these tools."""
    say(version_line())


_TOOLS: dict[str, Callable[..., None]] = {
    "ec2-bundle-image": bundle_image,
    "ec2-upload-bundle": upload_bundle,
    "ec2-download-bundle": download_bundle,
    "ec2-delete-bundle": delete_bundle,
    "ec2-unbundle": unbundle,
    "ec2-migrate-manifest": migrate_manifest,
    "ec2-ami-tools-version": ami_tools_version,
}


def _tool(name: str) -> Callable[..., None]:
    if name == "ec2-bundle-vol":  # of a module of its own, which imports this one
        from imgforge.cli.ec2_bundle_vol import bundle_vol

        return bundle_vol
    return _TOOLS[name]


class _Tool(TyperCommand):
    """A tool that tells an option which lost its value, as `-a $KEY -s …` with an empty $KEY."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {one: param for param in self.params for one in param.opts}
        for word, following in itertools.pairwise(args):
            takes_value = word in options and not getattr(options[word], "is_flag", True)
            if takes_value and following in options:
                raise BadInputError(
                    f"Option {word}: has no value; {following} follows it.",
                    hint="Was a variable empty that stands there, such as $AWS_ACCESS_KEY? Set it, "
                    "or leave the option out where it has a default.",
                )
        return super().parse_args(ctx, args)


def run_tool(name: str, arguments: list[str]) -> int:
    """Run one of the tools; return its exit code."""
    tool = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=_CONTEXT,
    )
    tool.command(cls=_Tool)(_tool(name))
    code = run_command_line(arguments, command=tool, name=name)
    return code if code in {ExitCode.DONE, ExitCode.INTERRUPTED} else _FAILED
