"""The key with which this installation signs instance identity documents."""

import os
from functools import cache
from pathlib import Path

from imgforge import host
from imgforge.errors import HostError
from imgforge.files import appearing
from imgforge.metadata import Signer
from imgforge.progress import warn

_KEY_FILE = "key.pem"
_CERTIFICATE_FILE = "certificate.pem"


def identity_folder() -> Path:
    """Return the folder of the key; its certificate.pem is what a verifier needs."""
    return host.data_dir() / "instance-identity"


def installation_signer() -> Signer:
    """Return the signer of this user's installation; its first use makes it.

    The folder appears whole, and the first of two processes wins. Where it cannot be written the
    key lasts as long as the process. Raises HostError where what stands there is no key with its
    certificate.
    """
    folder = identity_folder()
    try:
        if not folder.is_dir() and not _make(folder):
            return _passing_signer()
        key = (folder / _KEY_FILE).read_bytes()
        return Signer.from_pem(key, (folder / _CERTIFICATE_FILE).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise HostError(
            f"Folder {folder}: holds no key to sign instance identity documents with: {error}.",
            hint="Remove the folder: the next machine makes another key.",
        ) from None


@cache
def _passing_signer() -> Signer:
    return Signer.generate()


def _make(folder: Path) -> bool:
    """Make the folder; tell whether it could be written."""
    signer = Signer.generate()
    try:
        with appearing(folder) as new:
            new.mkdir(mode=0o700)
            _write(new / _KEY_FILE, signer.key_pem)
            _write(new / _CERTIFICATE_FILE, signer.certificate_pem)
    except OSError as error:
        warn(f"Folder {folder}: cannot be written ({error}); identity documents get a passing key")
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
