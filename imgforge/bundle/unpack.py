"""A bundle's parts become the image's data again, step by step, each some way ahead of the next."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgforge.bundle.ahead import ahead
from imgforge.bundle.compression import decompress
from imgforge.bundle.manifest import BundledImage
from imgforge.bundle.parts import decrypt, read_parts
from imgforge.bundle.passing import Passing
from imgforge.bundle.problem import BundleError
from imgforge.bundle.secret import Secret
from imgforge.bundle.stream import Stream
from imgforge.bundle.tar_reader import read_data, read_member

# A map entry for each block of 512 bytes, padding, and the headers of any form.
_HEADERS_BYTES = 64 * 2**20

Sink = Callable[[int, memoryview], object]


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle with what opens it."""

    folder: Path
    image: BundledImage
    secret: Secret


def unpack(packed: Packed, sink: Sink) -> str:
    """Hand the image's data to `sink`, by offset, and compare all digests.

    Returns the name that the image has in the tar, which need not be the manifest's. What the sink
    was given counts only once this returns. Raises BundleError: part-missing, part-digest, cipher,
    gzip, tar, digest.
    """
    image = packed.image
    with _stream(packed) as stream:
        member = read_member(stream, size_bytes=image.size_bytes)
        passing = Passing("bundle read", sum(member.bounds[1::2]))
        for offset_bytes, piece in read_data(stream, member):
            sink(offset_bytes, piece)
            passing.add(len(piece))
    if stream.sha1 != image.sha1:
        raise BundleError(
            "digest",
            f"Bundle: what is in its parts has the SHA-1 {stream.sha1}, the manifest says "
            f"{image.sha1}.",
        )
    return member.name


@contextmanager
def _stream(packed: Packed) -> Iterator[Stream]:
    image = packed.image
    limit_bytes = image.size_bytes + image.size_bytes // 16 + _HEADERS_BYTES
    plain = decrypt(read_parts(packed.folder, image), packed.secret)
    with ahead(plain) as decrypted, ahead(decompress(decrypted)) as chunks:
        yield Stream(chunks, limit_bytes=limit_bytes)
