"""Where a key and its certificate are written: for their owner only, and over nothing."""

import os
from pathlib import Path

from imgforge.bundle.keys import MadePair
from imgforge.bundle.place import Existing
from imgforge.errors import BadInputError
from imgforge.files import scratch_folder, sync_folder, told_writing

_OWNER_ONLY = 0o600


def write_signing_pair(
    made: MadePair, *, key: Path, certificate: Path, existing: Existing = Existing.REFUSE
) -> None:
    """Write a key and its certificate as two files of mode 0600.

    Either both appear or none. Raises BadInputError where one stands there and is to stay, or
    both are to be one file; HostError.
    """
    if key.absolute() == certificate.absolute():
        raise BadInputError(f"File {key}: cannot be both the key and the certificate.")
    with told_writing(key.parent, "a key and its certificate"):
        key.parent.mkdir(parents=True, exist_ok=True)
        certificate.parent.mkdir(parents=True, exist_ok=True)
        placed: list[Path] = []
        try:
            for path, content in ((key, made.key_pem), (certificate, made.certificate_pem)):
                _write(path, content, existing)
                placed.append(path)
        except BaseException:
            if existing is Existing.REFUSE:
                for path in placed:
                    path.unlink(missing_ok=True)
            raise


def _write(path: Path, content: bytes, existing: Existing) -> None:
    with scratch_folder(path.parent) as aside:
        new = aside / "new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if existing is Existing.REPLACE:
            new.replace(path)
        else:
            try:
                os.link(new, path)  # unlike a rename, it never replaces
            except FileExistsError:
                raise BadInputError(
                    f"File {path}: already exists.", hint="Name another file, or use --force."
                ) from None
    sync_folder(path.parent)
