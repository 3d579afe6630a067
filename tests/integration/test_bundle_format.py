"""Bundles there and back: the tar against GNU tar's, and what other writers make of the format."""

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

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
from tests.bundle_images import IMAGES, many_holes, run
from tests.bundle_material import (
    ACCOUNT,
    Material,
    foreign_bundle,
    identity,
    make_material,
)

MIB = 2**20


@pytest.fixture(scope="module", params=IMAGES, ids=lambda make: make.__name__)
def material(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    request.param(folder / "image")
    return make_material(folder, folder / "image")


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
