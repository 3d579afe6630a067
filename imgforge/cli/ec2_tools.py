"""The AMI tools by the names and with the flags that people know.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-tools-commands.html
They end with 0, 1 for every failure, or 130, as the original's do. Those that reach S3 are in
ec2_s3_tools.py, ec2-bundle-vol is in ec2_bundle_vol.py.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from imgforge import __version__
from imgforge.cli.bundle_input import (
    bundle_wish,
    ec2_certificate,
    existing,
    read_pair,
    require_no_folder,
)
from imgforge.cli.command_line import run_command_line
from imgforge.cli.ec2_s3_tools import delete_bundle, download_bundle, upload_bundle
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode

_PATH = "PATH"
_FAILED = 1
_CONTEXT = {"help_option_names": ["-h", "--help"]}


def _print_version(*, wanted: bool) -> None:
    if wanted:
        stdout_console().print(_version_line())
        raise typer.Exit


def _version_line() -> str:
    return f"imgforge {__version__}, with the AMI tools' command lines"


KeyOption = Annotated[
    Path, typer.Option("-k", "--privatekey", metavar=_PATH, help="Your private key (RSA, PEM).")
]
CertOption = Annotated[
    Path, typer.Option("-c", "--cert", metavar=_PATH, help="Your certificate (X.509, PEM).")
]
Ec2CertOption = Annotated[
    Path | None,
    typer.Option("--ec2cert", metavar=_PATH, help="EC2's certificate; else this installation's."),
]
KernelOption = Annotated[str, typer.Option("--kernel", metavar="AKI", help="A kernel's id.")]
RamdiskOption = Annotated[str, typer.Option("--ramdisk", metavar="ARI", help="A RAM disk's id.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what stands there (ours).")]
BatchOption = Annotated[bool, typer.Option("--batch", help="Ask nothing; ours never asks.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
]


def bundle_image(
    *,
    privatekey: KeyOption,
    cert: CertOption,
    user: Annotated[
        str, typer.Option("-u", "--user", metavar="ID", help="Your AWS account's 12 digits.")
    ],
    image: Annotated[
        Path, typer.Option("-i", "--image", metavar=_PATH, help="The image to bundle.")
    ],
    arch: Annotated[str, typer.Option("-r", "--arch", help="i386 or x86_64.")],
    destination: Annotated[
        Path, typer.Option("-d", "--destination", metavar=_PATH, help="Where the bundle goes.")
    ] = Path("/tmp"),  # noqa: S108 (the original's; nothing of another user's there is followed)
    prefix: Annotated[
        str, typer.Option("-p", "--prefix", help="The bundle's name; else the image's.")
    ] = "",
    ec2cert: Ec2CertOption = None,
    kernel: KernelOption = "",
    ramdisk: RamdiskOption = "",
    productcodes: Annotated[
        str, typer.Option("--productcodes", metavar="A,B", help="Product codes.")
    ] = "",
    mapping: Annotated[
        list[str] | None,
        typer.Option("-B", "--block-device-mapping", metavar="V=D,…", help="Devices."),
    ] = None,
    force: ForceOption = False,
    batch: BatchOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
) -> None:
    """Bundle an image into encrypted parts and a signed manifest."""
    from imgforge.bundle import Signers, create_bundle

    require_no_folder(image)
    wish = bundle_wish(
        name=prefix or image.name,
        account=user,
        arch=arch,
        mappings=mapping,
        kernel=kernel,
        ramdisk=ramdisk,
        product_codes=tuple(code for code in productcodes.split(",") if code),
    )
    with shown_progress(stderr_console()):
        made = create_bundle(
            image,
            wish=wish,
            signers=Signers(read_pair(privatekey, cert), ec2_certificate(ec2cert)),
            destination=destination,
            existing=existing(force=force),
        )
    _say(f"Bundle manifest is {made.manifest_path}")


def unbundle(
    *,
    privatekey: KeyOption,
    manifest: Annotated[
        Path, typer.Option("-m", "--manifest", metavar=_PATH, help="The bundle's manifest.")
    ],
    source: Annotated[
        Path | None,
        typer.Option("-s", "--source", metavar=_PATH, help="Its parts; else beside the manifest."),
    ] = None,
    destination: Annotated[
        Path, typer.Option("-d", "--destination", metavar=_PATH, help="Where the image goes.")
    ] = Path(),
    force: ForceOption = False,
    batch: BatchOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
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
    _say(f"Unbundle complete: {extracted.path}")


def migrate_manifest(
    *,
    privatekey: KeyOption,
    cert: CertOption,
    manifest: Annotated[
        Path, typer.Option("-m", "--manifest", metavar=_PATH, help="The manifest to change.")
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
    batch: BatchOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
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
    _say(f"Successfully migrated {manifest}.{suitable}")


def ami_tools_version(*, version: VersionOption = False) -> None:
    """Print the version of these tools."""
    _say(_version_line())


def _say(text: str) -> None:
    stdout_console().print(text, markup=False, soft_wrap=True)


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
