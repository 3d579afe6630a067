"""A bundle in S3, as EC2 reads it before it registers an image: the manifest, then every part."""

import hashlib
import re
from collections.abc import Sequence

from imgforge.bundle import (
    BundledImage,
    BundleError,
    Manifest,
    ManifestFile,
    certificate_from_pem,
    read_manifest,
    require_signature,
)
from imgforge.catalog import BundleFacts, RefusedError
from imgforge.ec2 import OpenPart

_MOST_BYTES = 10 * 2**30
"""EC2 User Guide: an image backed by instance store has at most 10 GiB."""
_CHUNK_BYTES = 2**20


def read_stored_bundle(
    content: bytes, account_id: str, open_part: OpenPart, certificates: Sequence[str] = ()
) -> BundleFacts:
    """Return what the manifest `content` says, once each part was read and compared.

    Raises RefusedError (InvalidManifest) for a manifest that is none, of another account, or whose
    parts are missing, damaged or of another size. Where the account has signing `certificates` (in
    PEM, IAM's), the signature has to be by one of them; where it has none, nobody can tell.
    """
    try:
        file = read_manifest(content)
        manifest = file.manifest
        _check_signature(file, certificates)
    except BundleError as error:
        raise _invalid(str(error)) from None
    image = manifest.image
    if re.sub("[^0-9]", "", image.account) != account_id:
        raise _invalid(f"it is of the account {image.account}; {account_id} registers it")
    if not 0 < image.size_bytes <= _MOST_BYTES:
        raise _invalid(f"its image has {image.size_bytes} bytes; 1 to {_MOST_BYTES} are allowed")
    _check_parts(image, open_part)
    return _facts(manifest)


def read_bundle_facts(content: bytes) -> BundleFacts:
    """Return what the manifest `content` says of its image; no part is looked at.

    Raises RefusedError (InvalidManifest) for a manifest that is none.
    """
    return _facts(_read(content))


def _read(content: bytes) -> Manifest:
    try:
        return read_manifest(content).manifest
    except BundleError as error:
        raise _invalid(str(error)) from None


def _facts(manifest: Manifest) -> BundleFacts:
    image, machine = manifest.image, manifest.machine
    if machine is None:
        raise _invalid("it says nothing of a machine")
    return BundleFacts(
        architecture=machine.architecture,
        size_bytes=image.size_bytes,
        kernel_id=machine.kernel_id,
        ramdisk_id=machine.ramdisk_id,
        devices=tuple((mapping.virtual, mapping.device) for mapping in machine.mappings),
        product_codes=machine.product_codes,
    )


def _check_signature(file: ManifestFile, certificates: Sequence[str]) -> None:
    """Raise BundleError where the manifest is signed by none of the certificates."""
    wrong: BundleError | None = None
    for pem in certificates:
        try:
            signer = certificate_from_pem(pem.encode(), label="of IAM").public_key
        except ValueError:  # none of an RSA key: it cannot have signed a manifest
            wrong = wrong or BundleError("signature", "Manifest: no certificate is of an RSA key.")
            continue
        try:
            require_signature(file, signer)
        except BundleError as error:
            wrong = error
        else:
            return
    if wrong is not None:
        raise wrong


def _check_parts(image: BundledImage, open_part: OpenPart) -> None:
    sum_bytes = 0
    for part in image.parts:
        digest = hashlib.sha1(usedforsecurity=False)
        with open_part(part.filename) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                sum_bytes += len(chunk)
        if digest.hexdigest() != part.sha1:
            raise _invalid(f"the part {part.filename} is not what it says: it was changed")
    if sum_bytes != image.bundled_size_bytes:
        raise _invalid(f"its parts have {sum_bytes} bytes, it says {image.bundled_size_bytes}")


def _invalid(why: str) -> RefusedError:
    return RefusedError("InvalidManifest", f"The manifest cannot be used: {why.rstrip('.')}.")
