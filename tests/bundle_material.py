"""What tests of bundles are made of: keys, images, and a bundle of each."""

import hashlib
import os
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from imgforge.bundle import (
    Bundle,
    BundleWish,
    Certificate,
    MachineConfiguration,
    Mapping,
    PrivateKey,
    Reader,
    Signers,
    SigningPair,
    certificate_from_pem,
    create_bundle,
    make_signing_pair,
    read_private_key,
    signing_pair,
)
from imgforge.bundle.manifest import Bundler, Part
from imgforge.bundle.manifest_writer import write_manifest
from imgforge.bundle.parts import encrypt
from imgforge.bundle.secret import open_secret, sign_manifest

MIB = 2**20
ACCOUNT = "123456789012"
MACHINE = MachineConfiguration(
    "x86_64",
    (Mapping("ami", "sda1"), Mapping("ephemeral0", "sdb"), Mapping("root", "/dev/sda1")),
    kernel_id="aki-919dcaf8",
    ramdisk_id="ari-12345678",
    product_codes=("A1B2C3",),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A key and its certificate, as values and as files."""

    key: PrivateKey
    certificate: Certificate
    key_path: Path
    certificate_path: Path

    @property
    def pair(self) -> SigningPair:
        return signing_pair(self.key, self.certificate)


@cache
def _pem(name: str, days: int) -> tuple[bytes, bytes]:
    now = datetime.now(UTC) - (timedelta(days=400) if days < 365 else timedelta())
    made = make_signing_pair(common_name=name, bits=2048, days=days, now=now)
    return made.key_pem, made.certificate_pem


def identity(name: str, folder: Path, *, days: int = 365) -> Identity:
    """Return an identity, the same for a name in all tests; one of few days has expired."""
    key_pem, certificate_pem = _pem(name, days)
    folder.mkdir(exist_ok=True)
    key_path, certificate_path = folder / f"{name}-key.pem", folder / f"{name}.pem"
    key_path.write_bytes(key_pem)
    certificate_path.write_bytes(certificate_pem)
    certificate = certificate_from_pem(certificate_pem, label=name)
    return Identity(read_private_key(key_path), certificate, key_path, certificate_path)


@dataclass(frozen=True, slots=True)
class Material:
    """An image, its bundle, and whose it is."""

    image: Path
    bundle: Bundle
    user: Identity
    ec2: Identity


def make_material(
    folder: Path, image: Path, *, machine: MachineConfiguration = MACHINE
) -> Material:
    """Bundle an image into `folder`/bundle."""
    user, ec2 = identity("user", folder / "keys"), identity("ec2", folder / "keys")
    made = create_bundle(
        image,
        wish=BundleWish(image.name, ACCOUNT, machine),
        signers=Signers(user.pair, ec2.certificate),
        destination=folder / "bundle",
    )
    return Material(image, made, user, ec2)


def write_sparse(path: Path, *, size_bytes: int, data: dict[int, bytes]) -> Path:
    """Write a file with data at some offsets, and holes elsewhere."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for offset_bytes, content in data.items():
            file.seek(offset_bytes)
            file.write(content)
        os.fsync(file.fileno())  # some file systems tell holes only then
    return path


def noise(size_bytes: int, *, seed: int = 1) -> bytes:
    """Return random bytes, the same each time."""
    return random.Random(seed).randbytes(size_bytes)


def foreign_bundle(folder: Path, *, stream: bytes, packed: bytes, size_bytes: int) -> Bundle:
    """Write a bundle of another's tar and gzip: 1 MiB parts, names of two digits."""
    user, ec2 = identity("user", folder / "keys"), identity("ec2", folder / "keys")
    small = folder / "small"
    small.write_bytes(b"x")
    template = create_bundle(
        small,
        wish=BundleWish("image", ACCOUNT, MACHINE),
        signers=Signers(user.pair, ec2.certificate),
        destination=folder / "template",
    ).manifest
    secret = open_secret(template.image.key, key=user.key, reader=Reader.USER)
    blob = b"".join(encrypt([packed], secret))
    place = folder / "foreign"
    place.mkdir()
    parts = []
    for index, start in enumerate(range(0, len(blob), MIB)):
        part = blob[start : start + MIB]
        (place / f"image.part.{index:02d}").write_bytes(part)
        parts.append(Part(f"image.part.{index:02d}", hashlib.sha1(part).hexdigest()))
    manifest = replace(
        template,
        bundler=Bundler("another", "1", ""),
        image=replace(
            template.image,
            sha1=hashlib.sha1(stream).hexdigest(),
            size_bytes=size_bytes,
            bundled_size_bytes=len(blob),
            parts=tuple(parts),
        ),
    )
    path = place / "image.manifest.xml"
    path.write_bytes(write_manifest(sign_manifest(manifest, user.key)))
    return Bundle(path, manifest)
