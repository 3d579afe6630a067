"""A bundle as other programs see it: openssl, gzip and tar take it apart, step by step.

Each step is a line of the original's own pipeline, turned round.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from imgforge.bundle import (
    KeyRing,
    Opener,
    Reader,
    extract_bundle,
    load_manifest,
    verify_bundle,
)
from imgforge.bundle.tar_writer import plan_tar, write_tar
from tests.bundle_material import (
    ACCOUNT,
    Material,
    foreign_bundle,
    identity,
    make_material,
    noise,
    write_sparse,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing here")

KIB = 2**10
MIB = 2**20


def run(*words: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(words, input=stdin, capture_output=True, check=True).stdout


def only_holes(path: Path) -> None:
    write_sparse(path, size_bytes=50 * MIB, data={})


def one_byte(path: Path) -> None:
    path.write_bytes(b"x")


def random_bytes(path: Path) -> None:
    path.write_bytes(noise(21 * MIB + 17))


def many_holes(path: Path) -> None:
    data = {number * 64 * KIB: noise(4 * KIB, seed=number) for number in range(0, 300, 3)}
    write_sparse(path, size_bytes=20 * MIB, data=data)


def file_system(path: Path) -> None:
    """Make the minimal guest's kind of disk: a partition table, and ext4 with some files."""
    tree = path.with_name("tree")
    (tree / "boot").mkdir(parents=True)
    for number in range(20):
        (tree / "boot" / f"file-{number}").write_bytes(noise(100_000, seed=number) + bytes(50_000))
    with path.open("wb") as file:
        file.truncate(128 * MIB)
    run("sfdisk", "--quiet", path, stdin=b"label: dos\nstart=2048, type=83, bootable\n")
    run("mke2fs", "-q", "-t", "ext4", "-E", "offset=1048576", "-d", tree, path, "126976k")


IMAGES: tuple[Callable[[Path], None], ...] = (
    only_holes,
    one_byte,
    random_bytes,
    many_holes,
    file_system,
)


@pytest.fixture(scope="module", params=IMAGES, ids=lambda make: make.__name__)
def material(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    request.param(folder / "image")
    return make_material(folder, folder / "image")


def test_openssl_and_tar_take_a_bundle_apart_as_the_facts_say(
    material: Material, tmp_path: Path
) -> None:
    """Each assertion is a line of what is known of the format."""
    folder = material.bundle.folder
    content = material.bundle.manifest_path.read_bytes()
    found = ElementTree.fromstring(content)  # our own bytes
    image = found.find("image")
    assert image is not None

    def text(name: str) -> str:
        value = found.findtext(f"image/{name}")
        assert value is not None
        return value

    assert content.startswith(b"<?xml version='1.0'?><manifest><version>2007-10-10</version>")
    assert b'"' not in content
    assert [child.tag for child in found] == [
        "version",
        "bundler",
        "machine_configuration",
        "image",
        "signature",
    ]
    assert [child.tag for child in image] == [
        "name",
        "user",
        "type",
        "digest",
        "size",
        "bundled_size",
        "ec2_encrypted_key",
        "user_encrypted_key",
        "ec2_encrypted_iv",
        "user_encrypted_iv",
        "parts",
    ]
    # The signature: RSA with SHA-1 over machine_configuration and image, nothing between.
    signed = content[content.index(b"<machine_configuration>") :]
    signed = signed[: signed.index(b"</image>") + len(b"</image>")]
    assert b"</machine_configuration><image>" in signed
    (tmp_path / "signed").write_bytes(signed)
    (tmp_path / "signature").write_bytes(bytes.fromhex(found.findtext("signature") or ""))
    public = run("openssl", "x509", "-in", material.user.certificate_path, "-noout", "-pubkey")
    (tmp_path / "public").write_bytes(public)
    words: tuple[str | Path, ...] = (
        "openssl",
        "dgst",
        "-sha1",
        "-verify",
        tmp_path / "public",
        "-signature",
    )
    assert run(*words, tmp_path / "signature", tmp_path / "signed") == b"Verified OK\n"
    # The key: 32 lower-case hexadecimal digits as text, the same for EC2 and for the user.
    opened = {}
    for reader, key in (("user", material.user), ("ec2", material.ec2)):
        for what in ("key", "iv"):
            sealed = bytes.fromhex(text(f"{reader}_encrypted_{what}"))
            words = ("openssl", "pkeyutl", "-decrypt", "-inkey", key.key_path)
            opened[reader, what] = run(*words, stdin=sealed).decode()
    assert opened["user", "key"] == opened["ec2", "key"]
    assert opened["user", "iv"] == opened["ec2", "iv"]
    assert all(len(value) == 32 and value == value.lower() for value in opened.values())
    # The parts: 10 MiB each but the last, named by the count's digits, with their SHA-1.
    parts = image.findall("parts/part")
    assert found.find(f"image/parts[@count='{len(parts)}']") is not None
    names = [part.findtext("filename") or "" for part in parts]
    assert names == [f"image.part.{index:0{len(str(len(parts)))}d}" for index in range(len(parts))]
    blobs = [(folder / name).read_bytes() for name in names]
    assert [hashlib.sha1(blob).hexdigest() for blob in blobs] == [
        part.findtext("digest") for part in parts
    ]
    assert all(len(blob) == 10 * MIB for blob in blobs[:-1])
    assert sum(map(len, blobs)) == int(text("bundled_size"))
    # The pipeline, turned round: openssl enc, gzip, SHA-1 of the tar stream, tar.
    words = ("openssl", "enc", "-d", "-aes-128-cbc", "-K", opened["user", "key"])
    packed = run(*words, "-iv", opened["user", "iv"], stdin=b"".join(blobs))
    stream = run("gzip", "-d", stdin=packed)
    assert hashlib.sha1(stream).hexdigest() == text("digest")
    assert len(stream) % 10240 == 0
    assert run("tar", "-tf", "-", stdin=stream) == b"image\n"
    back = tmp_path / "back"
    back.mkdir()
    run("tar", "-xSf", "-", "-C", back, stdin=stream)
    run("cmp", back / "image", material.image)
    assert (back / "image").stat().st_size == int(text("size"))


def test_the_tar_is_the_one_that_gnu_tar_writes(material: Material) -> None:
    descriptor = os.open(material.image, os.O_RDONLY)
    ours = b"".join(write_tar(descriptor, plan_tar(descriptor, name="image")))
    os.close(descriptor)
    words = ("tar", "-c", "-h", "-S", "--owner", "0", "--group", "0", "-C")
    assert ours == run(*words, material.image.parent, "image")


def test_what_is_extracted_is_the_image_and_its_holes_are_holes(
    material: Material, tmp_path: Path
) -> None:
    made = material.bundle
    place = tmp_path / "extracted"
    for key, reader in ((material.user.key, Reader.USER), (material.ec2.key, Reader.EC2)):
        extract_bundle(
            load_manifest(made.manifest_path),
            folder=made.folder,
            opener=Opener(key, reader, material.user.certificate.public_key),
            destination=place / reader,
        )
        run("cmp", material.image, place / reader)
        assert (place / reader).stat().st_blocks <= material.image.stat().st_blocks
    assert sorted(path.name for path in place.iterdir()) == ["ec2", "user"]


def test_all_of_it_is_verified(material: Material) -> None:
    keys = KeyRing(material.user.certificate, material.user.key, material.ec2.key, account=ACCOUNT)
    found = verify_bundle(material.bundle.manifest_path, folder=material.bundle.folder, keys=keys)
    assert {check.outcome for check in found.checks} == {"ok"}


# What the original's unbundle takes of others, by facts/bundle: how the tar and the gzip are made.
GNU = ("tar", "-c", "-h", "--owner", "0", "--group", "0")
FOREIGN: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "plain": (GNU, ("gzip", "-9")),
    "sparse": ((*GNU, "-S"), ("gzip", "-1")),
    "ustar": ((*GNU, "--format=ustar"), ("gzip", "-9")),
    "pax": ((*GNU, "--format=posix"), ("gzip", "-9")),
    "pax sparse 1.0": ((*GNU, "--format=posix", "-S"), ("gzip", "-9")),
    "pax sparse 0.1": ((*GNU, "--format=posix", "-S", "--sparse-version=0.1"), ("gzip", "-9")),
    "pax sparse 0.0": ((*GNU, "--format=posix", "-S", "--sparse-version=0.0"), ("gzip", "-9")),
    "another blocking": ((*GNU, "-S", "-b", "1"), ("gzip", "-9")),
}


@pytest.mark.parametrize("way", FOREIGN)
def test_bundles_of_others_are_extracted(tmp_path: Path, way: str) -> None:
    image = tmp_path / "image"
    many_holes(image)
    tar_words, gzip_words = FOREIGN[way]
    stream = run(*tar_words, "-C", tmp_path, "image")
    packed = run(*gzip_words, stdin=stream)
    made = foreign_bundle(tmp_path, stream=stream, packed=packed, size_bytes=image.stat().st_size)
    key = identity("user", tmp_path / "keys").key
    found = verify_bundle(made.manifest_path, folder=made.folder, keys=KeyRing(key=key))
    assert found.is_good, found.checks
    extract_bundle(
        load_manifest(made.manifest_path),
        folder=made.folder,
        opener=Opener(key, Reader.USER, key.public_key),
        destination=tmp_path / "back",
    )
    run("cmp", image, tmp_path / "back")
    assert (tmp_path / "back").stat().st_blocks * 512 < 8 * MIB


def test_python_reads_the_sparse_tar_as_well(tmp_path: Path) -> None:
    image = tmp_path / "image"
    many_holes(image)
    descriptor = os.open(image, os.O_RDONLY)
    plan = plan_tar(descriptor, name="image")
    (tmp_path / "tar").write_bytes(b"".join(write_tar(descriptor, plan)))
    os.close(descriptor)
    with tarfile.open(tmp_path / "tar", "r|") as tar:
        [info] = tar
        assert (info.name, info.size, info.issparse()) == ("image", 20 * MIB, True)
