"""The parts: an encrypted stream, cut into files of 10 MiB, each with its SHA-1.

Encrypted as `openssl enc -aes-128-cbc -K … -iv …` does, with PKCS #7 padding at the end.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from imgforge.bundle.manifest import BundledImage, Part
from imgforge.bundle.problem import BundleError
from imgforge.bundle.secret import Secret

PART_BYTES = 10 * 2**20
_BLOCK_BITS = 128
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Written:
    """A part as it was written."""

    sha1: str
    size_bytes: int


def encrypt(chunks: Iterable[bytes | bytearray], secret: Secret) -> Iterator[bytes]:
    """Yield the ciphertext of a stream."""
    encryptor = _cipher(secret).encryptor()
    padder = PKCS7(_BLOCK_BITS).padder()
    for chunk in chunks:
        yield encryptor.update(padder.update(chunk))
    yield encryptor.update(padder.finalize()) + encryptor.finalize()


def decrypt(chunks: Iterable[bytes], secret: Secret) -> Iterator[bytes]:
    """Yield the plain text of a stream. Raises BundleError (cipher) for what is no ciphertext."""
    decryptor = _cipher(secret).decryptor()
    unpadder = PKCS7(_BLOCK_BITS).unpadder()
    for chunk in chunks:
        yield unpadder.update(decryptor.update(chunk))
    try:
        yield unpadder.update(decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        raise BundleError(
            "cipher",
            "Bundle: the parts do not end as AES-128-CBC does: they were cut short, or encrypted "
            "with another key.",
        ) from None


def _cipher(secret: Secret) -> "Cipher[modes.CBC]":
    return Cipher(algorithms.AES(secret.key), modes.CBC(secret.iv))


def write_parts(chunks: Iterable[bytes], folder: Path) -> list[Written]:
    """Write a stream as the files 0, 1, … of a folder; each but the last has 10 MiB."""
    written: list[Written] = []
    waiting = _Rest(iter(chunks))
    while not waiting.is_done():
        digest = hashlib.sha1(usedforsecurity=False)
        size_bytes = 0
        with (folder / str(len(written))).open("xb") as file:
            for piece in waiting.draw(PART_BYTES):
                file.write(piece)
                digest.update(piece)
                size_bytes += len(piece)
            file.flush()
            os.fsync(file.fileno())
        written.append(Written(digest.hexdigest(), size_bytes))
    return written


class _Rest:
    """What is still to come of a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._waiting = memoryview(b"")

    def is_done(self) -> bool:
        while not self._waiting:
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._waiting = memoryview(chunk)
        return False

    def draw(self, most_bytes: int) -> Iterator[memoryview]:
        while most_bytes and not self.is_done():
            piece = self._waiting[:most_bytes]
            self._waiting = self._waiting[len(piece) :]
            most_bytes -= len(piece)
            yield piece


def check_sizes(folder: Path, image: BundledImage) -> Iterator[BundleError]:
    """Yield what is wrong with the parts' files, before any of them is read.

    part-missing, part-file (no regular one), parts-size.
    """
    sum_bytes = 0
    problems = 0
    for part in image.parts:
        try:
            status = (folder / part.filename).stat()
        except OSError as error:
            problems += 1
            why = "is missing" if isinstance(error, FileNotFoundError) else str(error.strerror)
            yield BundleError("part-missing", f"Part {part.filename}: {why}, in {folder}.")
            continue
        if not stat.S_ISREG(status.st_mode):
            problems += 1
            yield BundleError("part-file", f"Part {part.filename}: is no regular file.")
        sum_bytes += status.st_size
    if not problems and sum_bytes != image.bundled_size_bytes:
        yield BundleError(
            "parts-size",
            f"Bundle: its {len(image.parts)} parts have {sum_bytes} bytes, the manifest says "
            f"{image.bundled_size_bytes}.",
        )


def check_part(folder: Path, part: Part) -> None:
    """Compare a part's digest. Raises BundleError (part-missing, part-digest)."""
    digest = hashlib.sha1(usedforsecurity=False)
    for chunk in _read(folder, part):
        digest.update(chunk)
    if digest.hexdigest() != part.sha1:
        raise BundleError(
            "part-digest",
            f"Part {part.filename}: has the SHA-1 {digest.hexdigest()}, the manifest says "
            f"{part.sha1}: it was changed or damaged.",
            hint="Fetch or copy this part again.",
        )


def read_parts(folder: Path, image: BundledImage) -> Iterator[bytes]:
    """Yield what is in the parts, each once its digest was compared, in chunks of 1 MiB."""
    for part in image.parts:
        # It is read twice: nothing of a damaged part goes on, whatever its size.
        check_part(folder, part)
        yield from _read(folder, part)


def _read(folder: Path, part: Part) -> Iterator[bytes]:
    try:
        with (folder / part.filename).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise BundleError(
            "part-missing", f"Part {part.filename}: cannot be read: {error.strerror}."
        ) from None
