"""EC2's key of this installation: what our own EC2 opens bundles with, in AWS's place.

AWS's certificates, one for each group of regions, come with its AMI tools and are not ours to hand
out; what is bundled for one of them cannot be opened here.
"""

from datetime import UTC, datetime
from pathlib import Path

from imgforge import host
from imgforge.bundle import (
    Certificate,
    make_signing_pair,
    read_certificate,
    read_private_key,
    signing_pair,
    write_signing_pair,
)
from imgforge.errors import BadInputError, HostError
from imgforge.files import appearing

_KEY_FILE = "key.pem"
_CERTIFICATE_FILE = "certificate.pem"
_BITS = 2048
_VALID_DAYS = 30 * 365


def ec2_key_folder() -> Path:
    """Return the folder of the key; its certificate.pem is what bundles are made for."""
    return host.data_dir() / "ec2-bundle"


def installation_ec2_certificate() -> Certificate:
    """Return the certificate of this user's own EC2; its first use makes it and the key.

    Raises HostError where what stands there is no key with its certificate.
    """
    folder = ec2_key_folder()
    try:
        if not folder.is_dir():
            _make(folder)
        key = read_private_key(folder / _KEY_FILE)
        pair = signing_pair(key, read_certificate(folder / _CERTIFICATE_FILE))
    except (OSError, BadInputError) as error:
        raise HostError(
            f"Folder {folder}: holds no key that bundles can be opened with: {error}",
            hint="Remove the folder, and the next bundle is made for a new key; bundles that "
            "were made for the old one can then be opened by their user alone.",
        ) from None
    return pair.certificate


def _make(folder: Path) -> None:
    """Make the folder, which appears whole; the first of two processes wins."""
    name = "imgforge local EC2"
    now = datetime.now(UTC)
    made = make_signing_pair(common_name=name, bits=_BITS, days=_VALID_DAYS, now=now)
    with appearing(folder) as new:
        new.mkdir(mode=0o700)
        write_signing_pair(made, key=new / _KEY_FILE, certificate=new / _CERTIFICATE_FILE)
