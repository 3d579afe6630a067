"""`imgforge bundle edit`: a manifest is changed and signed again."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.bundle_input import (
    CodeOption,
    KernelOption,
    ManifestArgument,
    MappingOption,
    RamdiskOption,
    SigningOptions,
    parse_mappings,
)
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError

ArchOption = Annotated[
    str | None, typer.Option("--arch", "-r", help="i386 or x86_64, in its place.")
]
DropMappingOption = Annotated[
    list[str] | None,
    typer.Option("--drop-mapping", metavar="V", help="Take a virtual device out; several."),
]
NoKernelOption = Annotated[bool, typer.Option("--no-kernel", help="Take the kernel out.")]
NoRamdiskOption = Annotated[bool, typer.Option("--no-ramdisk", help="Take it out.")]
DropCodeOption = Annotated[
    list[str] | None,
    typer.Option("--drop-product-code", metavar="CODE", help="Take one out; several."),
]
NewEc2CertOption = Annotated[
    Path | None,
    typer.Option("--ec2cert", metavar="FILE", help="Make it for the EC2 of this certificate."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Else in its place.")
]
UnseenOption = Annotated[
    bool, typer.Option("--force", help="Sign it though its signature is not yours, or bad.")
]


@with_groups
def edit(
    manifest: ManifestArgument,
    *,
    signing: SigningOptions,
    arch: ArchOption = None,
    mapping: MappingOption = None,
    drop_mapping: DropMappingOption = None,
    kernel: KernelOption = None,
    no_kernel: NoKernelOption = False,
    ramdisk: RamdiskOption = None,
    no_ramdisk: NoRamdiskOption = False,
    product_code: CodeOption = None,
    drop_product_code: DropCodeOption = None,
    ec2cert: NewEc2CertOption = None,
    out: OutOption = None,
    force: UnseenOption = False,
    as_json: JsonOption = False,
) -> None:
    """Change what a manifest says of the machine, and sign it again.

    More instance-store volumes: --mapping ephemeral1=sdc. What is not named stays as it is.
    """
    from imgforge.bundle import Edit, OldSignature, edit_manifest, read_certificate
    from imgforge.cli.bundle_show import manifest_values

    changes = Edit(
        architecture=arch,
        mappings=parse_mappings(mapping or []),
        dropped_mappings=tuple(drop_mapping or ()),
        kernel_id=_new_text("--kernel", kernel, dropped=no_kernel),
        ramdisk_id=_new_text("--ramdisk", ramdisk, dropped=no_ramdisk),
        product_codes=tuple(product_code or ()),
        dropped_product_codes=tuple(drop_product_code or ()),
        ec2=read_certificate(ec2cert) if ec2cert else None,
    )
    with shown_progress(stderr_console()):
        edited = edit_manifest(
            manifest,
            changes,
            pair=signing.pair(),
            old_signature=OldSignature.ANY if force else OldSignature.GOOD,
            destination=out,
        )
    if as_json:
        print_json(manifest_values(edited))
    else:
        stdout_console().print(str(out or manifest), markup=False, soft_wrap=True)


def _new_text(option: str, text: str | None, *, dropped: bool) -> str | None:
    if dropped and text is not None:
        raise BadInputError(f"Manifest: give {option} or --no-{option[2:]}, not both.")
    return "" if dropped else text
