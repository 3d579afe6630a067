"""`imgforge bundle`: instance-store bundles; what reaches S3 is in bundle_s3.py."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from imgforge.bundle import Certificate, Existing, Mapping, Opener, SigningPair

bundle_app = typer.Typer(
    help="Instance-store bundles: make, look at, verify, change one, and take its image out.",
    no_args_is_help=True,
)

_FILE = "FILE"
ManifestArgument = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="NAME.manifest.xml; its parts stand beside it.")
]
KeyOption = Annotated[
    Path, typer.Option("--key", "-k", metavar=_FILE, help="Your private key (RSA, PEM).")
]
CertOption = Annotated[
    Path, typer.Option("--cert", "-c", metavar=_FILE, help="Your certificate (X.509, PEM).")
]
MaybeKeyOption = Annotated[
    Path | None, typer.Option("--key", "-k", metavar=_FILE, help="Your private key (RSA, PEM).")
]
MaybeCertOption = Annotated[
    Path | None, typer.Option("--cert", "-c", metavar=_FILE, help="The signer's certificate.")
]
Ec2KeyOption = Annotated[
    Path | None, typer.Option("--ec2-key", metavar=_FILE, help="EC2's private key; of your own.")
]
Ec2CertOption = Annotated[
    Path | None,
    typer.Option("--ec2cert", metavar=_FILE, help="EC2's certificate; else this installation's."),
]
MappingOption = Annotated[
    list[str] | None,
    typer.Option("--mapping", "-B", metavar="V=D,…", help="Such as ephemeral1=sdc; several."),
]
KernelOption = Annotated[str | None, typer.Option("--kernel", metavar="AKI", help="A kernel's id.")]
RamdiskOption = Annotated[
    str | None, typer.Option("--ramdisk", metavar="ARI", help="A RAM disk's id.")
]
CodeOption = Annotated[
    list[str] | None, typer.Option("--product-code", metavar="CODE", help="Several, if need be.")
]
PartsOption = Annotated[
    Path | None, typer.Option("--parts", metavar="DIR", help="Where the parts are, if elsewhere.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what stands there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@bundle_app.command("create")
def create(
    disk: Annotated[Path, typer.Argument(metavar="DISK", help="A raw disk or file system.")],
    *,
    key: KeyOption,
    cert: CertOption,
    account: Annotated[
        str, typer.Option("--account", "-u", metavar="ID", help="Your AWS account's 12 digits.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-d", metavar="DIR", help="Else DISK.bundle.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", "-p", metavar="NAME", help="Else the disk's file name.")
    ] = "",
    arch: Annotated[str, typer.Option("--arch", "-r", help="i386 or x86_64.")] = "x86_64",
    mapping: MappingOption = None,
    kernel: KernelOption = None,
    ramdisk: RamdiskOption = None,
    product_code: CodeOption = None,
    ec2cert: Ec2CertOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle of a disk: encrypted parts of 10 MiB and a signed manifest.

    In one pass; holes are not read. Without --ec2cert it is made for imgforge's own EC2: for AWS
    give the certificate of the region, from AWS's AMI tools (etc/ec2/amitools/cert-ec2*.pem).
    """
    from imgforge.bundle import BundleWish, MachineConfiguration, Signers, create_bundle
    from imgforge.cli.bundle_show import bundle_values

    machine = MachineConfiguration(
        architecture=arch,
        mappings=parse_mappings(mapping or []),
        kernel_id=kernel or "",
        ramdisk_id=ramdisk or "",
        product_codes=tuple(product_code or ()),
    )
    with shown_progress(stderr_console()):
        made = create_bundle(
            disk,
            wish=BundleWish(name or disk.name, plain_account(account), machine),
            signers=Signers(read_pair(key, cert), ec2_certificate(ec2cert)),
            destination=out or disk.with_name(f"{disk.name}.bundle"),
            existing=existing(force=force),
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

    The manifest's form, order, names and counts, each part's size and digest; with --cert or --key
    the signature, with --key the digest of the whole. Exit code 1 where something fails.
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
        typer.Option("--out", "-o", metavar=_FILE, help="Else its name, beside MANIFEST."),
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


@bundle_app.command("edit")
def edit(
    manifest: ManifestArgument,
    *,
    key: KeyOption,
    cert: CertOption,
    arch: Annotated[
        str | None, typer.Option("--arch", "-r", help="i386 or x86_64, in its place.")
    ] = None,
    mapping: MappingOption = None,
    drop_mapping: Annotated[
        list[str] | None,
        typer.Option("--drop-mapping", metavar="V", help="Take a virtual device out; several."),
    ] = None,
    kernel: KernelOption = None,
    no_kernel: Annotated[bool, typer.Option("--no-kernel", help="Take the kernel out.")] = False,
    ramdisk: RamdiskOption = None,
    no_ramdisk: Annotated[bool, typer.Option("--no-ramdisk", help="Take it out.")] = False,
    product_code: CodeOption = None,
    drop_product_code: Annotated[
        list[str] | None,
        typer.Option("--drop-product-code", metavar="CODE", help="Take one out; several."),
    ] = None,
    ec2cert: Annotated[
        Path | None,
        typer.Option("--ec2cert", metavar=_FILE, help="Make it for the EC2 of this certificate."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar=_FILE, help="Else in its place.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Sign it though its signature is not yours, or bad.")
    ] = False,
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
            pair=read_pair(key, cert),
            old_signature=OldSignature.ANY if force else OldSignature.GOOD,
            destination=out,
        )
    if as_json:
        print_json(manifest_values(edited))
    else:
        stdout_console().print(str(out or manifest), markup=False, soft_wrap=True)


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


def _new_text(option: str, text: str | None, *, dropped: bool) -> str | None:
    if dropped and text is not None:
        raise BadInputError(f"Manifest: give {option} or --no-{option[2:]}, not both.")
    return "" if dropped else text


def existing(*, force: bool) -> "Existing":
    """Return what --force makes of files that stand there."""
    from imgforge.bundle import Existing

    return Existing.REPLACE if force else Existing.REFUSE


def plain_account(text: str) -> str:
    """Return an account's number without the dashes that AWS shows it with."""
    return text.replace("-", "")


def parse_mappings(texts: list[str]) -> "tuple[Mapping, ...]":
    """Return mappings out of V=D,…. Raises BadInputError."""
    from imgforge.bundle import Mapping

    found = []
    for text in ",".join(texts).split(",") if texts else ():
        virtual, equals, device = text.strip().partition("=")
        if not equals:
            raise BadInputError(
                f"Mapping {text!r}: has no =; VIRTUAL=DEVICE is needed, such as ephemeral1=sdc."
            )
        found.append(Mapping(virtual, device))
    return tuple(found)


def read_pair(key: Path, cert: Path) -> "SigningPair":
    """Read a key and its certificate."""
    from imgforge.bundle import read_certificate, read_private_key, signing_pair

    return signing_pair(read_private_key(key), read_certificate(cert))


def ec2_certificate(path: Path | None) -> "Certificate":
    """Return EC2's certificate: a file's, or that of this installation's own EC2, which is told."""
    from imgforge.bundle import read_certificate
    from imgforge.ec2_key import installation_ec2_certificate
    from imgforge.progress import report

    if path is not None:
        return read_certificate(path)
    report("bundle: for imgforge's own EC2; AWS's needs --ec2cert")
    return installation_ec2_certificate()
