"""Bundles that are not what they were: each damage is found, named, and leaves nothing behind."""

import gzip
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.bundle import (
    BundleError,
    BundleWish,
    Edit,
    Existing,
    KeyRing,
    MachineConfiguration,
    Mapping,
    Opener,
    Reader,
    Signers,
    create_bundle,
    edit_manifest,
    extract_bundle,
    load_manifest,
    verify_bundle,
)
from imgforge.bundle.manifest_writer import write_manifest
from imgforge.bundle.secret import sign_manifest
from imgforge.errors import BadInputError
from tests.bundle_material import (
    ACCOUNT,
    MACHINE,
    Material,
    foreign_bundle,
    identity,
    make_material,
    noise,
    write_sparse,
)

MIB = 2**20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A bundle of three parts."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "image").write_bytes(noise(21 * MIB))
    return make_material(folder, folder / "image")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A bundle of one part of some kilobytes."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "image").write_bytes(noise(5000))
    return make_material(folder, folder / "image")


def copied(material: Material, place: Path) -> Path:
    shutil.copytree(material.bundle.folder, place)
    return place / material.bundle.manifest_path.name


def failed(material: Material, manifest: Path, keys: KeyRing | None = None) -> tuple[str, ...]:
    every = KeyRing(material.user.certificate, material.user.key, account=ACCOUNT)
    return verify_bundle(manifest, folder=manifest.parent, keys=keys or every).failed


def refused(material: Material, manifest: Path) -> str:
    """Return the check that extracting fails, and make sure that nothing is left of it."""
    key = material.user.key
    place = manifest.parent / "out"
    place.mkdir(exist_ok=True)
    with pytest.raises(BundleError) as caught:
        extract_bundle(
            load_manifest(manifest),
            folder=manifest.parent,
            opener=Opener(key, Reader.USER, key.public_key),
            destination=place / "image",
        )
    assert list(place.iterdir()) == []
    return caught.value.check


def test_each_flip_in_200_places_is_found_and_nothing_of_it_extracted(
    small: Material, tmp_path: Path
) -> None:
    manifest = copied(small, tmp_path / "bundle")
    [part] = [path for path in manifest.parent.iterdir() if ".part." in path.name]
    lot = random.Random(5)
    for path in (manifest, part):
        good = path.read_bytes()
        for _ in range(200):
            bad = bytearray(good)
            bad[lot.randrange(len(bad))] ^= lot.randrange(1, 256)
            path.write_bytes(bad)
            assert failed(small, manifest), f"{path.name}: {good!r} and {bad!r}"
            assert refused(small, manifest), f"{path.name}: {good!r} and {bad!r}"
        path.write_bytes(good)
    assert failed(small, manifest) == ()


def missing(folder: Path) -> None:
    (folder / "image.part.1").unlink()


def doubled(folder: Path) -> None:
    shutil.copy(folder / "image.part.0", folder / "image.part.1")


def swapped(folder: Path) -> None:
    (folder / "image.part.0").rename(folder / "kept")
    (folder / "image.part.1").rename(folder / "image.part.0")
    (folder / "kept").rename(folder / "image.part.1")


def truncated(folder: Path) -> None:
    with (folder / "image.part.2").open("r+b") as file:
        file.truncate(1000)


def longer(folder: Path) -> None:
    with (folder / "image.part.2").open("ab") as file:
        file.write(b"more")


def folder_for_a_part(folder: Path) -> None:
    (folder / "image.part.2").unlink()
    (folder / "image.part.2").mkdir()


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (missing, "part-missing"),
        (doubled, "part-digest"),
        (swapped, "part-digest"),
        (truncated, "parts-size"),
        (longer, "parts-size"),
        (folder_for_a_part, "part-file"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_wrong_parts_are_named(
    whole: Material, tmp_path: Path, damage: Callable[[Path], None], check: str
) -> None:
    manifest = copied(whole, tmp_path / "bundle")
    damage(manifest.parent)
    assert failed(whole, manifest)[0] == check
    assert refused(whole, manifest) == check


def test_a_part_that_no_manifest_names_is_told(whole: Material, tmp_path: Path) -> None:
    manifest = copied(whole, tmp_path / "bundle")
    (manifest.parent / "image.part.3").write_bytes(b"x")
    found = verify_bundle(manifest, folder=manifest.parent, keys=KeyRing())
    assert found.is_good
    assert [check.id for check in found.checks if check.outcome == "warning"] == ["parts-extra"]


def test_the_wrong_key_certificate_and_account_are_named(small: Material, tmp_path: Path) -> None:
    manifest = copied(small, tmp_path / "bundle")
    other = identity("other", tmp_path / "keys")
    user = small.user
    assert failed(small, manifest, KeyRing(user.certificate, other.key)) == (
        "certificate-key",
        "key",
    )
    assert failed(small, manifest, KeyRing(other.certificate)) == ("signature",)
    assert failed(small, manifest, KeyRing(ec2_key=user.key)) == ("ec2-key",)
    assert failed(small, manifest, KeyRing(user.certificate, account="210987654321")) == (
        "account",
    )
    wrong = Opener(other.key, Reader.USER, user.certificate.public_key)
    with pytest.raises(BundleError) as caught:
        extract_bundle(
            load_manifest(manifest),
            folder=manifest.parent,
            opener=wrong,
            destination=tmp_path / "image",
        )
    assert caught.value.check == "key"


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    expired = identity("expired", tmp_path / "keys", days=300)
    (tmp_path / "image").write_bytes(b"x")
    material = make_material(tmp_path, tmp_path / "image")
    keys = KeyRing(expired.certificate)
    found = verify_bundle(material.bundle.manifest_path, folder=material.bundle.folder, keys=keys)
    [check] = [check for check in found.checks if check.id == "certificate-time"]
    assert check.outcome == "warning"
    assert "expired on" in check.words


def test_who_signs_with_an_expired_certificate_is_warned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expired = identity("expired", tmp_path / "keys", days=300)
    (tmp_path / "image").write_bytes(b"x")
    made = create_bundle(
        tmp_path / "image",
        wish=BundleWish("image", ACCOUNT, MACHINE),
        signers=Signers(expired.pair, expired.certificate),
        destination=tmp_path / "bundle",
    )
    edit_manifest(made.manifest_path, Edit(kernel_id=""), pair=expired.pair)
    assert [text for text in caplog.messages if "expired on" in text] == [
        f"Certificate expired: expired on {expired.certificate.x509.not_valid_after_utc:%Y-%m-%d}."
    ] * 2


def _two_files(folder: Path) -> list[str]:
    (folder / "second").write_bytes(b"x")
    return ["image", "second"]


def _a_path(_folder: Path) -> list[str]:
    return ["--transform", "s,^,/etc/,", "-P", "image"]


def _above(_folder: Path) -> list[str]:
    return ["--transform", "s,^,../,", "-P", "image"]


def _a_symbolic_link(folder: Path) -> list[str]:
    (folder / "image").unlink()
    (folder / "image").symlink_to("/etc/passwd")
    return ["image"]


def _a_hard_link(folder: Path) -> list[str]:
    (folder / "first").write_bytes(b"x")
    (folder / "image").unlink()
    (folder / "image").hardlink_to(folder / "first")
    return ["first", "image"]


def _a_folder(folder: Path) -> list[str]:
    (folder / "image").unlink()
    (folder / "image").mkdir()
    return ["image"]


def _ten_tebibytes_of_holes(folder: Path) -> list[str]:
    write_sparse(folder / "image", size_bytes=10 * 2**40, data={0: b"x"})
    return ["-S", "image"]


@pytest.mark.parametrize(
    "hostile",
    [
        _two_files,
        _a_path,
        _above,
        _a_symbolic_link,
        _a_hard_link,
        _a_folder,
        _ten_tebibytes_of_holes,
    ],
    ids=lambda make: make.__name__,
)
def test_a_hostile_tar_in_a_good_bundle_is_refused(
    tmp_path: Path, hostile: Callable[[Path], list[str]]
) -> None:
    """Each part, digest and signature is right."""
    image = tmp_path / "image"
    image.write_bytes(noise(3000))
    size_bytes = image.stat().st_size
    words = ["tar", "-c", "-C", str(tmp_path), *hostile(tmp_path)]
    stream = subprocess.run(words, capture_output=True, check=True).stdout
    made = foreign_bundle(
        tmp_path, stream=stream, packed=gzip.compress(stream), size_bytes=size_bytes
    )
    user = identity("user", tmp_path / "keys")
    keys = KeyRing(user.certificate, user.key, account=ACCOUNT)
    found = verify_bundle(made.manifest_path, folder=made.folder, keys=keys)
    assert found.failed == ("tar",)
    material = Material(image, made, user, user)
    assert refused(material, made.manifest_path) == "tar"


@pytest.mark.parametrize(
    "machine",
    [
        replace(MACHINE, architecture="sparc"),
        replace(MACHINE, mappings=(Mapping("ami", "/dev/../../etc"),)),
    ],
    ids=["architecture", "device"],
)
def test_a_machine_that_ec2_would_not_take_is_told_though_its_signature_is_good(
    small: Material, tmp_path: Path, machine: MachineConfiguration
) -> None:
    manifest = copied(small, tmp_path / "bundle")
    strange = replace(load_manifest(manifest).manifest, machine=machine)
    manifest.write_bytes(write_manifest(sign_manifest(strange, small.user.key)))
    assert failed(small, manifest) == ("machine",)


def test_an_image_of_another_name_in_the_tar_is_taken_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As euca-bundle-image makes them where a prefix is given."""
    (tmp_path / "disk").write_bytes(noise(3000))
    words = ["tar", "-c", "-C", str(tmp_path), "disk"]
    stream = subprocess.run(words, capture_output=True, check=True).stdout
    made = foreign_bundle(tmp_path, stream=stream, packed=gzip.compress(stream), size_bytes=3000)
    user = identity("user", tmp_path / "keys")
    keys = KeyRing(user.certificate, user.key, account=ACCOUNT)
    found = verify_bundle(made.manifest_path, folder=made.folder, keys=keys)
    assert found.is_proved
    [check] = [check for check in found.checks if check.id == "tar-name"]
    assert (check.outcome, check.words) == ("warning", "the tar calls it disk, not image")
    opener = Opener(user.key, Reader.USER, user.key.public_key)
    file = load_manifest(made.manifest_path)
    extract_bundle(file, folder=made.folder, opener=opener, destination=tmp_path / "back")
    assert "the tar in the bundle calls the image disk" in caplog.text
    assert (tmp_path / "back").read_bytes() == noise(3000)


def test_what_is_extracted_is_its_owners_alone_and_replaces_no_links_goal(
    small: Material, tmp_path: Path
) -> None:
    file = load_manifest(small.bundle.manifest_path)
    opener = Opener(small.user.key, Reader.USER, small.user.key.public_key)
    folder = small.bundle.folder
    goal = tmp_path / "goal"
    goal.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(goal)
    with pytest.raises(BadInputError, match="is a symbolic link"):
        extract_bundle(
            file, folder=folder, opener=opener,
            destination=tmp_path / "link", existing=Existing.REPLACE,
        )  # fmt: skip
    assert goal.read_bytes() == b"mine"
    extract_bundle(file, folder=folder, opener=opener, destination=tmp_path / "image")
    assert (tmp_path / "image").stat().st_mode & 0o777 == 0o600


def test_nothing_unsigned_is_extracted(small: Material, tmp_path: Path) -> None:
    manifest = copied(small, tmp_path / "bundle")
    other = identity("other", tmp_path / "keys")
    forged = sign_manifest(load_manifest(manifest).manifest, other.key)
    manifest.write_bytes(write_manifest(forged))
    assert refused(small, manifest) == "signature"


@pytest.mark.parametrize(("size_bytes", "check"), [(4999, "tar"), (10 * 2**30, "tar")])
def test_a_manifest_that_lies_about_the_size_is_refused(
    small: Material, tmp_path: Path, size_bytes: int, check: str
) -> None:
    manifest = copied(small, tmp_path / "bundle")
    read = load_manifest(manifest).manifest
    lying = replace(read, image=replace(read.image, size_bytes=size_bytes))
    manifest.write_bytes(write_manifest(sign_manifest(lying, small.user.key)))
    assert failed(small, manifest) == (check,)
    assert refused(small, manifest) == check


def test_a_manifest_with_another_digest_is_refused(small: Material, tmp_path: Path) -> None:
    manifest = copied(small, tmp_path / "bundle")
    read = load_manifest(manifest).manifest
    lying = replace(read, image=replace(read.image, sha1="0" * 40))
    manifest.write_bytes(write_manifest(sign_manifest(lying, small.user.key)))
    assert failed(small, manifest) == ("digest",)
    assert refused(small, manifest) == "digest"


def test_a_file_that_stands_there_stays(small: Material, tmp_path: Path) -> None:
    there = tmp_path / "image"
    there.write_bytes(b"mine")
    key = small.user.key
    with pytest.raises(BadInputError, match="already exists"):
        extract_bundle(
            load_manifest(small.bundle.manifest_path),
            folder=small.bundle.folder,
            opener=Opener(key, Reader.USER, key.public_key),
            destination=there,
        )
    assert there.read_bytes() == b"mine"
