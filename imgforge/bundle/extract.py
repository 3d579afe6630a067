"""A bundle becomes its image again; nothing appears before all of it was checked."""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from imgforge.bundle.keys import PrivateKey
from imgforge.bundle.manifest import BundledImage
from imgforge.bundle.manifest_reader import ManifestFile, read_manifest
from imgforge.bundle.parts import check_sizes
from imgforge.bundle.place import Existing, tidy_around
from imgforge.bundle.problem import BundleError
from imgforge.bundle.secret import Reader, open_secret, verify_signature
from imgforge.bundle.unpack import Packed, unpack
from imgforge.bundle.xml_reader import LARGEST_BYTES
from imgforge.errors import BadInputError
from imgforge.files import appearing, read_small, told_writing
from imgforge.progress import report, warn

_HOLE_BYTES = 2**16
_ZEROS = bytes(_HOLE_BYTES)


@dataclass(frozen=True, slots=True)
class Opener:
    """Who opens a bundle: a private key, whose it is, and what its signature must be by."""

    key: PrivateKey
    reader: Reader
    signer: rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Extracted:
    """An image out of a bundle; `sha1` is that of the tar stream it came in."""

    path: Path
    size_bytes: int
    sha1: str


def load_manifest(path: Path) -> ManifestFile:
    """Read a manifest's file. Raises BadInputError, and BundleError as `read_manifest` does."""
    return read_manifest_file(path)[0]


def read_manifest_file(path: Path) -> tuple[ManifestFile, bytes]:
    """Read a manifest's file, and return its bytes as well. Raises as `load_manifest` does."""
    content = read_small("Manifest", path, most_bytes=LARGEST_BYTES + 1)
    try:
        return read_manifest(content), content
    except BundleError as error:
        words = str(error).removeprefix("Manifest:").strip()
        raise BundleError(error.check, f"Manifest {path}: {words}", hint=error.hint) from None


def require_signature(file: ManifestFile, signer: rsa.RSAPublicKey) -> None:
    """Raise BundleError (signature) where a manifest is not signed by this key."""
    if verify_signature(file, signer) is None:
        raise BundleError(
            "signature",
            "Manifest: its signature is not by this key over what stands in it: it was changed "
            "after it was signed, or another key signed it.",
            hint="Give the key, or the certificate, that it was signed with. If you changed it "
            "yourself, imgforge bundle edit --force signs it again.",
        )


def extract_bundle(
    file: ManifestFile,
    *,
    folder: Path,
    opener: Opener,
    destination: Path,
    existing: Existing = Existing.REFUSE,
) -> Extracted:
    """Write the image of a bundle, whose parts are in `folder`, as the file `destination`.

    Its holes are holes, and it is its owner's alone: it may hold secrets. The signature, each
    part's digest and the whole digest are compared before the file appears; after a failure
    nothing is there that was not before.
    Raises BundleError, BadInputError where a file stands there and is to stay, HostError.
    """
    image = file.manifest.image
    tidy_around(destination)
    if destination.is_dir():
        raise BadInputError(f"Image {destination}: a folder stands there; name a file.")
    if _is_of_bundle(destination, folder, image):
        raise BadInputError(f"Image {destination}: is a file of this bundle; name another.")
    if destination.is_symlink() and existing is Existing.REPLACE:
        raise BadInputError(
            f"Image {destination}: is a symbolic link, and what it leads to is not replaced.",
            hint=f"Name the file itself: {destination.resolve()}",
        )
    if os.path.lexists(destination) and existing is Existing.REFUSE:
        raise BadInputError(
            f"Image {destination}: already exists.", hint="Name another place, or use --force."
        )
    require_signature(file, opener.signer)
    secret = open_secret(image.key, key=opener.key, reader=opener.reader)
    for problem in check_sizes(folder, image):
        raise problem
    report(f"extract: {image.name}, {len(image.parts)} parts")
    with told_writing(destination.parent, "the image"), appearing(destination) as new:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.truncate(descriptor, image.size_bytes)
            name = unpack(
                Packed(folder, image, secret),
                lambda offset_bytes, piece: _write(descriptor, offset_bytes, piece),
            )
        finally:
            os.close(descriptor)
    if name != image.name:
        warn(f"the tar in the bundle calls the image {name}, the manifest {image.name}")
    return Extracted(destination, image.size_bytes, image.sha1)


def _is_of_bundle(destination: Path, folder: Path, image: BundledImage) -> bool:
    own = {part.filename for part in image.parts} | {f"{image.name}.manifest.xml"}
    return destination.name in own and destination.parent.resolve() == folder.resolve()


def _write(descriptor: int, offset_bytes: int, piece: memoryview) -> None:
    """Write data, and leave whole stretches of zeros as the hole they are in."""
    start = position = 0
    while position < len(piece):
        # Stretches begin where the file's own blocks do.
        end = min(position + _HOLE_BYTES - (offset_bytes + position) % _HOLE_BYTES, len(piece))
        if _is_zero(piece[position:end]):
            _write_all(descriptor, offset_bytes + start, piece[start:position])
            start = end
        position = end
    _write_all(descriptor, offset_bytes + start, piece[start:])


def _is_zero(piece: memoryview) -> bool:
    if piece[0] or piece[-1]:
        return False
    return bytes(piece) == (_ZEROS if len(piece) == _HOLE_BYTES else bytes(len(piece)))


def _write_all(descriptor: int, offset_bytes: int, piece: memoryview) -> None:
    while piece:
        written = os.pwrite(descriptor, piece, offset_bytes)
        offset_bytes += written
        piece = piece[written:]
