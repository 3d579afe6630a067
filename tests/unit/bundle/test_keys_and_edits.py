"""Keys, certificates, and manifests that are changed and signed again."""

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imgforge.bundle import (
    BundleError,
    Edit,
    Existing,
    MachineConfiguration,
    ManifestVersion,
    Mapping,
    OldSignature,
    Reader,
    certificate_from_pem,
    edit_manifest,
    load_manifest,
    make_signing_pair,
    read_certificate,
    read_private_key,
    signing_pair,
    write_signing_pair,
)
from imgforge.bundle.edit import edit_machine
from imgforge.bundle.manifest_writer import write_manifest
from imgforge.bundle.secret import Secret, open_secret, sign_manifest, verify_signature
from imgforge.errors import BadInputError
from tests.bundle_material import MACHINE, Material, identity, make_material


@pytest.fixture
def material(tmp_path: Path) -> Material:
    (tmp_path / "image").write_bytes(b"an image")
    return make_material(tmp_path, tmp_path / "image")


def test_an_edit_without_changes_keeps_every_byte(material: Material) -> None:
    path = material.bundle.manifest_path
    before = path.read_bytes()
    edit_manifest(path, Edit(), pair=material.user.pair)
    assert path.read_bytes() == before


def test_more_volumes_are_one_edit_and_the_signature_is_good_again(material: Material) -> None:
    path = material.bundle.manifest_path
    before = path.read_bytes()
    added = (Mapping("ephemeral1", "sdc"), Mapping("ephemeral0", "sdd"))
    edit_manifest(path, Edit(mappings=added, kernel_id=""), pair=material.user.pair)
    file = load_manifest(path)
    assert file.manifest.machine == replace(
        MACHINE,
        mappings=(
            Mapping("ami", "sda1"),
            Mapping("ephemeral0", "sdd"),
            Mapping("ephemeral1", "sdc"),
            Mapping("root", "/dev/sda1"),
        ),
        kernel_id="",
    )
    assert verify_signature(file, material.user.certificate.public_key)
    image = before[before.index(b"<image>") : before.index(b"</image>")]
    assert image in path.read_bytes()


def test_what_somebody_else_changed_is_not_signed_unseen(material: Material) -> None:
    path = material.bundle.manifest_path
    path.write_bytes(path.read_bytes().replace(b"/dev/sda1", b"/dev/sdz1"))
    before = path.read_bytes()
    with pytest.raises(BundleError) as caught:
        edit_manifest(path, Edit(), pair=material.user.pair)
    assert caught.value.check == "signature"
    assert path.read_bytes() == before
    edit_manifest(path, Edit(), pair=material.user.pair, old_signature=OldSignature.ANY)
    assert verify_signature(load_manifest(path), material.user.certificate.public_key)


def test_another_region_gets_the_key_for_its_own_certificate(
    material: Material, tmp_path: Path
) -> None:
    other = identity("other", tmp_path)
    path = material.bundle.manifest_path
    before = open_secret(
        material.bundle.manifest.image.key, key=material.ec2.key, reader=Reader.EC2
    )
    edit_manifest(path, Edit(ec2=other.certificate), pair=material.user.pair)
    sealed = load_manifest(path).manifest.image.key
    assert open_secret(sealed, key=other.key, reader=Reader.EC2) == before
    assert open_secret(sealed, key=material.user.key, reader=Reader.USER) == before


def test_an_old_manifest_becomes_a_new_one(material: Material) -> None:
    path = material.bundle.manifest_path
    manifest = load_manifest(path).manifest
    foreign = replace(manifest.bundler, name="ec2-ami-tools", release="1")
    old = replace(manifest, version=ManifestVersion.V3, machine=None, bundler=foreign)
    path.write_bytes(write_manifest(sign_manifest(old, material.user.key)))
    with pytest.raises(BadInputError, match="version 3"):
        edit_manifest(path, Edit(), pair=material.user.pair)
    edited = edit_manifest(path, Edit(architecture="i386"), pair=material.user.pair)
    assert edited.version is ManifestVersion.V2007_10_10
    assert load_manifest(path).manifest.machine == MachineConfiguration("i386")


@pytest.mark.parametrize(
    "edit",
    [
        Edit(kernel_id="kernel"),
        Edit(ramdisk_id="aki-1"),
        Edit(architecture="z80"),
        Edit(product_codes=("a b",)),
        Edit(mappings=(Mapping("floppy", "sdb"),)),
        Edit(mappings=(Mapping("ephemeral1", "../sdb"),)),
        Edit(dropped_mappings=("ephemeral7",)),
        Edit(dropped_product_codes=("other",)),
    ],
    ids=str,
)
def test_edits_that_ec2_would_not_take_are_refused(edit: Edit) -> None:
    with pytest.raises(BadInputError):
        edit_machine(MACHINE, edit)


def test_edits_take_out_what_they_name() -> None:
    edit = Edit(dropped_mappings=("ephemeral0", "ami"), dropped_product_codes=("A1B2C3",))
    edited = edit_machine(MACHINE, edit)
    assert edited.mappings == (Mapping("root", "/dev/sda1"),)
    assert edited.product_codes == ()


def test_a_made_pair_is_for_its_owner_alone_and_over_nothing(tmp_path: Path) -> None:
    made = make_signing_pair(common_name="me", bits=2048, days=3, now=datetime.now(UTC))
    key, certificate = tmp_path / "new" / "key.pem", tmp_path / "certificate.pem"
    old = os.umask(0)
    try:
        write_signing_pair(made, key=key, certificate=certificate)
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (key, certificate)} == {0o600}
    pair = signing_pair(read_private_key(key), read_certificate(certificate))
    assert pair.certificate.expiry_problem(datetime.now(UTC)).endswith("d.") is False
    assert "expires" in pair.certificate.expiry_problem(datetime.now(UTC))
    assert "expired" in pair.certificate.expiry_problem(datetime.now(UTC) + timedelta(days=4))
    before = certificate.read_bytes()
    key.unlink()
    with pytest.raises(BadInputError, match="already exists"):
        write_signing_pair(made, key=key, certificate=certificate)
    assert not key.exists()
    assert certificate.read_bytes() == before
    other = make_signing_pair(common_name="me", bits=2048, days=3, now=datetime.now(UTC))
    write_signing_pair(other, key=key, certificate=certificate, existing=Existing.REPLACE)
    assert certificate.read_bytes() == other.certificate_pem


def test_a_key_and_its_certificate_cannot_be_one_file(tmp_path: Path) -> None:
    made = make_signing_pair(common_name="me", bits=2048, days=3, now=datetime.now(UTC))
    with pytest.raises(BadInputError, match="both"):
        write_signing_pair(made, key=tmp_path / "a", certificate=tmp_path / "a")


def test_another_keys_certificate_is_refused(tmp_path: Path) -> None:
    user, other = identity("user", tmp_path), identity("other", tmp_path)
    with pytest.raises(BundleError) as caught:
        signing_pair(user.key, other.certificate)
    assert caught.value.check == "certificate-key"


def test_what_is_no_rsa_key_is_told(tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = serialization.BestAvailableEncryption(b"secret")
    user = identity("user", tmp_path)
    contents = {
        "no RSA key": curve.private_bytes(pem, pkcs8, serialization.NoEncryption()),
        "password": user.key.secret.private_bytes(pem, pkcs8, locked),
        "no private key": user.certificate_path.read_bytes(),
        "no private key in": b"",
        "larger": bytes(100_000),
    }
    path = tmp_path / "key"
    for words, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=words):
            read_private_key(path)
    with pytest.raises(BadInputError, match="cannot be read"):
        read_private_key(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"no X\.509"):
        certificate_from_pem(user.key_path.read_bytes(), label="it")


def test_keys_and_secrets_do_not_show_themselves(tmp_path: Path) -> None:
    user = identity("user", tmp_path)
    assert "secret=" not in repr(user.key)
    assert "xxxx" not in repr(Secret(b"x" * 16, b"x" * 16))
