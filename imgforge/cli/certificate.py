"""`imgforge certificate`: the signing certificate that bundles are made with."""

from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.options import JsonOption
from imgforge.cli.terminal import print_json, stdout_console

certificate_app = typer.Typer(help="The certificate that signs bundles.", no_args_is_help=True)
_FILE = "FILE"


class KeyBits(IntEnum):
    """How long a key may be: what AWS recommends."""

    SHORT = 2048
    LONG = 4096


@certificate_app.callback()
def _certificates() -> None:
    """Let `create` be a command of its own, beside those to come."""


@certificate_app.command("create")
def create(
    *,
    key: Annotated[
        Path, typer.Option("--key", metavar=_FILE, help="The private key to write.")
    ] = Path("private-key.pem"),
    cert: Annotated[
        Path, typer.Option("--cert", metavar=_FILE, help="The certificate to write.")
    ] = Path("certificate.pem"),
    name: Annotated[
        str, typer.Option("--common-name", metavar="NAME", help="Whom it names.")
    ] = "imgforge signing certificate",
    bits: Annotated[
        int, typer.Option("--bits", metavar="2048|4096", help="How long the RSA key is.")
    ] = KeyBits.SHORT,
    days: Annotated[
        int, typer.Option("--days", min=1, max=36500, help="How long it is valid.")
    ] = 365,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an RSA key and an X.509 certificate of it, both PEM, for your eyes only (0600).

    What `openssl genrsa` and `openssl req -new -x509 -nodes -sha256` make. For AWS, upload the
    certificate: aws iam upload-signing-certificate --certificate-body file://certificate.pem.
    """
    from imgforge.bundle import Existing, make_signing_pair, write_signing_pair
    from imgforge.errors import BadInputError

    if bits not in set(KeyBits):
        raise BadInputError(f"Certificate: --bits {bits}; 2048 or 4096 is needed.")
    if not 0 < len(name) <= 64:
        raise BadInputError("Certificate: --common-name has 1 to 64 characters (RFC 5280).")
    made = make_signing_pair(common_name=name, bits=bits, days=days, now=datetime.now(UTC))
    kept = Existing.REPLACE if force else Existing.REFUSE
    write_signing_pair(made, key=key, certificate=cert, existing=kept)
    if as_json:
        print_json({"key": str(key), "certificate": str(cert), "bits": bits, "days": days})
    else:
        for path in (key, cert):
            stdout_console().print(str(path), markup=False, soft_wrap=True)
