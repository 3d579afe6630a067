"""The manifest of a bundle: what it is, where its parts are, and who may open it."""

from dataclasses import dataclass
from enum import StrEnum

LARGEST_IMAGE_BYTES = 10 * 2**30
"""EC2's limit for instance-store images."""


class ManifestVersion(StrEnum):
    """The forms of a manifest; the newest is the only one that is written."""

    V2007_10_10 = "2007-10-10"
    V2007_08_29 = "2007-08-29"
    V3 = "3"


class ImageType(StrEnum):
    """What a bundle holds."""

    MACHINE = "machine"
    KERNEL = "kernel"
    RAMDISK = "ramdisk"


@dataclass(frozen=True, slots=True)
class Bundler:
    """What wrote a manifest; it is not signed."""

    name: str
    version: str
    release: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """A block device: `virtual` is ami, root, ephemeral0 …, `device` the name it gets."""

    virtual: str
    device: str


@dataclass(frozen=True, slots=True)
class MachineConfiguration:
    """What EC2 is to know of an instance; empty texts are left out of the manifest."""

    architecture: str
    mappings: tuple[Mapping, ...] = ()
    kernel_id: str = ""
    ramdisk_id: str = ""
    product_codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedKey:
    """The AES key and the IV, encrypted for EC2 and for the user, in lower-case hex."""

    ec2_key: str
    user_key: str
    ec2_iv: str
    user_iv: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part: its file beside the manifest, and the SHA-1 of that file in hex."""

    filename: str
    sha1: str


@dataclass(frozen=True, slots=True)
class BundledImage:
    """What is in the parts.

    `sha1` is that of the tar stream, `size_bytes` that of the image, `bundled_size_bytes` the sum
    of the parts.
    """

    name: str
    account: str
    type: ImageType
    sha1: str
    size_bytes: int
    bundled_size_bytes: int
    key: SealedKey
    parts: tuple[Part, ...]
    kernel_name: str = ""
    ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest; `machine` is None in version 3, `signature` is in lower-case hex."""

    version: ManifestVersion
    bundler: Bundler
    machine: MachineConfiguration | None
    image: BundledImage
    signature: str = ""
