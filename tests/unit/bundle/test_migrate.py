"""A manifest goes to another region: what equals its kernel there, and whose certificate it has."""

from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.bundle import (
    BundleError,
    Edit,
    MachineConfiguration,
    Migration,
    OldIds,
    Reader,
    edit_manifest,
    load_manifest,
    migrate_manifest,
)
from imgforge.bundle.migrate import plan_migration
from imgforge.bundle.secret import open_secret
from imgforge.errors import BadInputError
from tests.bundle_material import Identity, Material, identity, make_material

VIRGINIA, FRANKFURT = "aki-5c21674b", "aki-931fe3fc"  # pv-grub-hd0_1.05-x86_64.gz
MACHINE = MachineConfiguration("x86_64", kernel_id=VIRGINIA)


@pytest.fixture
def there(tmp_path: Path) -> Identity:
    return identity("there", tmp_path)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    (tmp_path / "image").write_bytes(b"an image")
    made = make_material(tmp_path, tmp_path / "image")
    edit_manifest(
        made.bundle.manifest_path, Edit(kernel_id=VIRGINIA, ramdisk_id=""), pair=made.user.pair
    )
    return made


def test_the_kernel_becomes_its_equal_and_ec2_the_other_regions(
    material: Material, there: Identity
) -> None:
    path = material.bundle.manifest_path
    before = path.read_bytes()
    key = load_manifest(path).manifest.image.key
    migration = Migration(there.certificate, region="eu-central-1")
    migrate_manifest(path, migration, pair=material.user.pair)
    manifest = load_manifest(path).manifest
    assert manifest.machine
    assert manifest.machine.kernel_id == FRANKFURT
    assert open_secret(manifest.image.key, key=there.key, reader=Reader.EC2) == open_secret(
        key, key=material.ec2.key, reader=Reader.EC2
    )
    assert path.with_name(f"{path.name}.bak").read_bytes() == before


def test_a_second_migration_keeps_the_first_manifest(material: Material, there: Identity) -> None:
    path = material.bundle.manifest_path
    migration = Migration(there.certificate, region="eu-central-1")
    migrate_manifest(path, migration, pair=material.user.pair)
    after = path.read_bytes()
    with pytest.raises(BadInputError, match="already exists, with another content"):
        migrate_manifest(path, replace(migration, region="sa-east-1"), pair=material.user.pair)
    assert path.read_bytes() == after


def test_what_is_named_or_to_stay_is_not_looked_up(there: Identity) -> None:
    old = replace(MACHINE, kernel_id="aki-919dcaf8", ramdisk_id="ari-12345678")
    named = Migration(there.certificate, kernel_id="aki-1", ramdisk_id="ari-1")
    assert plan_migration(old, named) == Edit(
        kernel_id="aki-1", ramdisk_id="ari-1", ec2=there.certificate
    )
    kept = Migration(there.certificate, region="eu-central-1", old_ids=OldIds.KEEP)
    assert plan_migration(old, kept) == Edit(ec2=there.certificate)
    without = MachineConfiguration("x86_64")
    migration = Migration(there.certificate, region="us-east-2")
    assert plan_migration(without, migration) == Edit(ec2=there.certificate)
    assert plan_migration(None, migration) == Edit(ec2=there.certificate)


@pytest.mark.parametrize(
    ("machine", "region", "told"),
    [
        (MACHINE, "", "give --region"),
        (MACHINE, "us-east-2", "us-east-2: the guide lists no PV-GRUB there"),
        (replace(MACHINE, kernel_id="aki-919dcaf8"), "us-east-1", "does not list it"),
        (replace(MACHINE, ramdisk_id="ari-12345678"), "us-west-1", "give --ramdisk"),
    ],
)
def test_what_cannot_be_told_is_said(
    there: Identity, machine: MachineConfiguration, region: str, told: str
) -> None:
    with pytest.raises(BadInputError, match=told):
        plan_migration(machine, Migration(there.certificate, region=region))


def test_a_manifest_that_cannot_be_migrated_stays_and_gets_no_backup(
    material: Material, there: Identity
) -> None:
    path = material.bundle.manifest_path
    path.write_bytes(path.read_bytes().replace(b"/dev/sda1", b"/dev/sdz1"))
    before = sorted((one.name, one.read_bytes()) for one in path.parent.iterdir())
    migration = Migration(there.certificate, region="eu-central-1")
    with pytest.raises(BundleError) as caught:
        migrate_manifest(path, migration, pair=material.user.pair)
    assert caught.value.check == "signature"
    assert sorted((one.name, one.read_bytes()) for one in path.parent.iterdir()) == before
