"""What is typed about bundles: options that several commands have, and what is made of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgforge.bundle import (
        BundleWish,
        Certificate,
        Existing,
        Mapping,
        Signers,
        SigningPair,
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


@dataclass(frozen=True, slots=True)
class SigningOptions:
    """Who signs."""

    key: KeyOption
    cert: CertOption

    def pair(self) -> "SigningPair":
        """Read the key and its certificate."""
        return read_pair(self.key, self.cert)


@dataclass(frozen=True, slots=True)
class NewBundleOptions:
    """By whom and for whom a bundle is made, and what EC2 is to know of its machine."""

    key: KeyOption
    cert: CertOption
    account: Annotated[
        str, typer.Option("--account", "-u", metavar="ID", help="Your AWS account's 12 digits.")
    ]
    arch: Annotated[str, typer.Option("--arch", "-r", help="i386 or x86_64.")] = "x86_64"
    mapping: MappingOption = None
    kernel: KernelOption = None
    ramdisk: RamdiskOption = None
    product_code: CodeOption = None
    ec2cert: Ec2CertOption = None
    force: ForceOption = False

    def wish(self, name: str) -> "BundleWish":
        """Return what the bundle is to be called, and what EC2 is to know of it."""
        return bundle_wish(
            name,
            account=self.account,
            arch=self.arch,
            mappings=self.mapping,
            kernel=self.kernel,
            ramdisk=self.ramdisk,
            product_codes=self.product_code,
        )

    def signers(self) -> "Signers":
        """Read the keys."""
        return signers(self.key, self.cert, self.ec2cert)


def bundle_wish(
    name: str,
    *,
    account: str,
    arch: str,
    mappings: "Sequence[str] | None",
    kernel: str | None,
    ramdisk: str | None,
    product_codes: "Sequence[str] | None",
) -> "BundleWish":
    """Return what a new bundle is to be called, and what EC2 is to know of it."""
    from imgforge.bundle import BundleWish, MachineConfiguration

    machine = MachineConfiguration(
        architecture=arch,
        mappings=parse_mappings(mappings or ()),
        kernel_id=kernel or "",
        ramdisk_id=ramdisk or "",
        product_codes=tuple(product_codes or ()),
    )
    return BundleWish(name, plain_account(account), machine)


def signers(key: Path, cert: Path, ec2cert: Path | None) -> "Signers":
    """Read whose key signs a bundle, and the certificate of the EC2 that is to read it."""
    from imgforge.bundle import Signers

    return Signers(read_pair(key, cert), ec2_certificate(ec2cert))


def require_no_folder(image: Path) -> None:
    """Raise BadInputError for a folder where an image is needed."""
    if image.is_dir():
        raise BadInputError(
            f"Image {image}: is a folder; a raw disk or file system is needed.",
            hint=f"imgforge bundle volume {image} (ec2-bundle-vol) bundles a tree of files.",
        )


def existing(*, force: bool) -> "Existing":
    """Return what --force makes of files that stand there."""
    from imgforge.bundle import Existing

    return Existing.REPLACE if force else Existing.REFUSE


def plain_account(text: str) -> str:
    """Return an account's number without the dashes that AWS shows it with."""
    return text.replace("-", "")


def parse_mappings(texts: "Sequence[str]") -> "tuple[Mapping, ...]":
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
