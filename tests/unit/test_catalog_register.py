"""The catalog in one process: what is registered, refused, kept and told."""

import hashlib
import os
import re
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.acceptance import Verdict
from imgforge.catalog import (
    Architecture,
    BlockDeviceMapping,
    Catalog,
    EbsDevice,
    Gate,
    ImageRegistration,
    ImageState,
    NameConflict,
    VirtualizationType,
)
from imgforge.disk import Disk
from imgforge.errors import BadInputError, HostError
from imgforge.recipe import Layout

MIB = 2**20
HVM = ImageRegistration(
    name="minimal hvm-mbr 1",
    architecture=Architecture.X86_64,
    virtualization_type=VirtualizationType.HVM,
    root_device_name="/dev/xvda",
    block_devices=(
        BlockDeviceMapping("/dev/xvda", ebs=EbsDevice()),
        BlockDeviceMapping("/dev/sdb", virtual_name="ephemeral0"),
        BlockDeviceMapping("/dev/sdc", no_device=True),
        BlockDeviceMapping("/dev/sdd", ebs=EbsDevice(volume_size_gib=3, encrypted=True)),
    ),
    description="a test",
    tags={"b": "2", "a": "1"},
)


def make_disk(path: Path, seed: bytes = b"1") -> Disk:
    with path.open("wb") as file:
        file.truncate(64 * MIB)
        for offset in (0, 20 * MIB + 512, 64 * MIB - 512):
            file.seek(offset)
            file.write(seed * 512)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Disk(path=path, sha256=sha256, size_bytes=64 * MIB, layout=Layout.HVM_MBR)


def accept(disk: Disk) -> Verdict:
    return Verdict.model_validate(
        {
            "schema": 1,
            "accepted": True,
            "reason": "it let the key's owner in",
            "disk": {"sha256_before": disk.sha256, "sha256_after": disk.sha256, "layout": None},
            "recipe_sha256": "",
            "lock_sha256": "",
            "accelerator": {"kind": "tcg", "reason": "asked for"},
            "qemu_version": "7.2",
            "seconds": 1.5,
            "sign": None,
            "boot_method": "bios",
            "stages": [],
            "checks": [{"id": "booted", "passed": True, "evidence": "logged in"}],
            "failed_stage": None,
            "created": "2026-01-01T00:00:00Z",
        }
    )


def test_a_registered_image_is_found_again_in_ec2s_form(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        image = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
    with Catalog(tmp_path / "catalog") as catalog:
        assert catalog.images() == [image] == [catalog.image(image.image_id)]
    assert re.fullmatch(r"ami-[0-9a-f]{17}", image.image_id)
    assert re.fullmatch(r"snap-[0-9a-f]{17}", image.root_snapshot_id)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", image.creation_date)
    assert image.verified
    assert image.warnings == ()
    assert Verdict.model_validate_json(image.verdict_json or "") == accept(disk)
    assert image.to_ec2() == {
        "Architecture": "x86_64",
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "SnapshotId": image.root_snapshot_id,
                    "VolumeSize": 1,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "Encrypted": False,
                },
            },
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
            {"DeviceName": "/dev/sdc", "NoDevice": ""},
            {
                "DeviceName": "/dev/sdd",
                "Ebs": {
                    "VolumeSize": 3,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "Encrypted": True,
                },
            },
        ],
        "CreationDate": image.creation_date,
        "Description": "a test",
        "EnaSupport": False,
        "Hypervisor": "xen",
        "ImageId": image.image_id,
        "ImageLocation": "123456789012/minimal hvm-mbr 1",
        "ImageType": "machine",
        "Name": "minimal hvm-mbr 1",
        "OwnerId": "123456789012",
        "PlatformDetails": "Linux/UNIX",
        "Public": False,
        "RootDeviceName": "/dev/xvda",
        "RootDeviceType": "ebs",
        "State": "available",
        "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
        "UsageOperation": "RunInstances",
        "VirtualizationType": "hvm",
    }


def test_the_blob_is_a_sparse_read_only_copy(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        image = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        kept = catalog.disk_of(image)
        assert kept.path == catalog.blob_path(catalog.snapshot(image.root_snapshot_id))
    assert replace(kept, path=disk.path) == disk
    assert kept.path.read_bytes() == disk.path.read_bytes()
    status = kept.path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o444
    assert status.st_blocks * 512 < MIB
    assert kept.path.name == disk.sha256
    assert not list((tmp_path / "catalog").rglob(".imgforge-aside-*"))


def test_equal_disks_share_a_blob(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        one = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        two = catalog.register_image(replace(HVM, name="another"), disk=disk, verdict=accept(disk))
        assert one.root_snapshot_id != two.root_snapshot_id
        assert catalog.disk_of(one).path == catalog.disk_of(two).path


def test_registering_the_same_twice_gives_the_same_image(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        one = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        for conflict in NameConflict:
            again = catalog.register_image(HVM, disk=disk, verdict=accept(disk), conflict=conflict)
            assert again == one
        assert len(catalog.images()) == 1


def test_a_taken_name_is_refused_or_superseded(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    changed = make_disk(tmp_path / "e.raw", b"2")
    with Catalog(tmp_path / "catalog") as catalog:
        old = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        with pytest.raises(BadInputError, match=r"InvalidAMIName\.Duplicate") as caught:
            catalog.register_image(HVM, disk=changed, verdict=accept(changed))
        assert old.image_id in str(caught.value)
        assert catalog.images() == [old]
        assert not list((tmp_path / "catalog").rglob(changed.sha256))
        new = catalog.register_image(
            HVM, disk=changed, verdict=accept(changed), conflict=NameConflict.SUPERSEDE
        )
        assert catalog.images() == [new]
        history = catalog.image(old.image_id)
        assert (history.state, history.superseded_by) == (ImageState.DEREGISTERED, new.image_id)
        assert history.deregistration_date == new.creation_date
        assert [image.image_id for image in catalog.images(ImageState)] == [
            old.image_id,
            new.image_id,
        ]
        assert catalog.disk_of(history).sha256 == disk.sha256


def test_other_attributes_of_the_same_disk_are_another_image(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    other = replace(HVM, description="another text")
    with Catalog(tmp_path / "catalog") as catalog:
        old = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        with pytest.raises(BadInputError, match="other attributes"):
            catalog.register_image(other, disk=disk, verdict=accept(disk))
        new = catalog.register_image(
            other, disk=disk, verdict=accept(disk), conflict=NameConflict.SUPERSEDE
        )
        assert new.image_id != old.image_id


def test_an_unverified_image_says_so_until_a_verdict_comes(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        with pytest.raises(BadInputError, match="no verdict"):
            catalog.register_image(HVM, disk=disk, verdict=None)
        assert catalog.images() == []
        image = catalog.register_image(HVM, disk=disk, verdict=None, gate=Gate.UNVERIFIED)
        assert not image.verified
        assert "unverified" in image.warnings[0]
        later = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        assert (later.image_id, later.verified) == (image.image_id, True)
        still = catalog.register_image(HVM, disk=disk, verdict=None, gate=Gate.UNVERIFIED)
        assert still == later


def test_a_paravirtual_image_warns_of_the_kernel_id(tmp_path: Path) -> None:
    disk = replace(make_disk(tmp_path / "d.raw"), layout=Layout.PV)
    registration = replace(
        HVM,
        virtualization_type=VirtualizationType.PARAVIRTUAL,
        root_device_name="/dev/sda1",
        block_devices=(BlockDeviceMapping("/dev/sda1", ebs=EbsDevice()),),
    )
    with Catalog(tmp_path / "catalog") as catalog:
        image = catalog.register_image(registration, disk=disk, verdict=accept(disk))
    assert "needed at every launch" in image.warnings[0]
    assert image.to_ec2()["VirtualizationType"] == "paravirtual"
    assert "KernelId" not in image.to_ec2()


def test_broken_rules_are_all_told_before_anything_is_copied(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    bad = replace(HVM, name="x:y", kernel_id="aki-919dcaf8")
    with Catalog(tmp_path / "catalog") as catalog, pytest.raises(BadInputError) as caught:
        catalog.register_image(bad, disk=disk, verdict=accept(disk))
    assert "name:" in str(caught.value)
    assert "kernel-id:" in str(caught.value)
    assert not (tmp_path / "catalog" / "blobs").exists()


def test_a_volume_may_come_from_a_snapshot_that_is_here(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        first = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        data = BlockDeviceMapping("/dev/sdb", ebs=EbsDevice(snapshot_id=first.root_snapshot_id))
        second = replace(HVM, name="with data", block_devices=(HVM.block_devices[0], data))
        image = catalog.register_image(second, disk=disk, verdict=accept(disk))
    ebs = image.block_devices[1].ebs
    assert ebs is not None
    assert (ebs.snapshot_id, ebs.volume_size_gib) == (first.root_snapshot_id, 1)


def test_a_disk_that_is_not_what_its_digest_says_is_refused(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    verdict = accept(disk)
    with disk.path.open("r+b") as file:
        file.write(b"changed since")
    with Catalog(tmp_path / "catalog") as catalog:
        with pytest.raises(BadInputError, match="its SHA-256 is"):
            catalog.register_image(HVM, disk=disk, verdict=verdict)
        os.truncate(disk.path, MIB)
        with pytest.raises(BadInputError, match="were built or tested"):
            catalog.register_image(HVM, disk=disk, verdict=verdict)
        disk.path.unlink()
        with pytest.raises(BadInputError, match="is not there"):
            catalog.register_image(HVM, disk=disk, verdict=verdict)
        disk.path.mkdir()
        with pytest.raises(BadInputError, match="not a regular file"):
            catalog.register_image(HVM, disk=disk, verdict=verdict)
        assert catalog.images() == []
    left = [path for path in (tmp_path / "catalog" / "blobs").rglob("*") if path.is_file()]
    assert left == []


def test_a_lost_blob_is_told_and_registering_again_puts_it_back(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        image = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        blob = catalog.disk_of(image).path
        blob.chmod(0o644)
        os.truncate(blob, MIB)
        with pytest.raises(HostError, match="gone or cut short"):
            catalog.disk_of(image)
        blob.unlink()
        with pytest.raises(HostError, match="gone or cut short"):
            catalog.disk_of(image)
        catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        assert catalog.disk_of(image).path.read_bytes() == disk.path.read_bytes()


@pytest.mark.parametrize("image_id", ["", "ami-", "ami-xyz", "ami-0123456789abcdef0\n", "'; --"])
def test_what_is_no_image_id_is_told(tmp_path: Path, image_id: str) -> None:
    with Catalog(tmp_path) as catalog, pytest.raises(BadInputError, match="no image id"):
        catalog.image(image_id)


def test_an_unknown_image_or_snapshot_is_told(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        with pytest.raises(BadInputError, match="not in the catalog"):
            catalog.image("ami-0123456789abcdef0")
        with pytest.raises(BadInputError, match="not in the catalog"):
            catalog.snapshot("snap-0123456789abcdef0")


@pytest.mark.parametrize(
    "content", [b"garbage" * 1000, b"SQLite format 3\0", bytes(range(256)) * 32]
)
def test_a_garbage_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "catalog.sqlite3").write_bytes(content)
    with pytest.raises(HostError, match=r"catalog\.sqlite3: is damaged"), Catalog(tmp_path):
        pass
    assert (tmp_path / "catalog.sqlite3").read_bytes() == content


def test_a_truncated_database_is_named(tmp_path: Path) -> None:
    with Catalog(tmp_path):
        pass
    database = tmp_path / "catalog.sqlite3"
    os.truncate(database, database.stat().st_size // 2)
    with pytest.raises(HostError, match=r"catalog\.sqlite3: is damaged"), Catalog(tmp_path) as it:
        it.images()


def test_a_record_that_cannot_be_is_named(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path) as catalog:
        image = catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        sqlite3.connect(tmp_path / "catalog.sqlite3", isolation_level=None).execute(
            "UPDATE images SET architecture = 'vax'"
        )
        with pytest.raises(HostError, match=f"record of {image.image_id}.*vax"):
            catalog.images()


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    with Catalog(tmp_path):
        pass
    database = sqlite3.connect(tmp_path / "catalog.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(HostError, match="has schema 99") as caught, Catalog(tmp_path):
        pass
    assert caught.value.hint == "Update imgforge."


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "catalog.sqlite3")
    database.execute("CREATE TABLE precious (x)")
    database.close()
    with pytest.raises(HostError, match="of another program"), Catalog(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "catalog"
    with pytest.raises(HostError, match="file/catalog: cannot be opened"), Catalog(folder):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    folder = tmp_path / "catalog"
    folder.mkdir(mode=0o555)
    with pytest.raises(HostError, match=r"catalog.*cannot be opened"), Catalog(folder):
        pass
    folder.chmod(0o755)
    with Catalog(folder) as catalog:
        folder.chmod(0o555)
        with pytest.raises(HostError, match=r"catalog: cannot be written to"):
            catalog.register_image(HVM, disk=disk, verdict=accept(disk))
        folder.chmod(0o755)


def test_a_snapshot_is_kept_once_and_becomes_an_images(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with Catalog(tmp_path / "catalog") as catalog:
        snapshot = catalog.create_snapshot(disk, description="of a test")
        assert catalog.create_snapshot(disk, description="of a test") == snapshot
        assert catalog.snapshot(snapshot.snapshot_id) == snapshot
        assert (snapshot.blob_sha256, snapshot.state) == (disk.sha256, "completed")
        other = catalog.create_snapshot(disk, description="of another")
        assert other.snapshot_id != snapshot.snapshot_id
        image = catalog.register_image(
            HVM, disk=disk, verdict=accept(disk), snapshot_id=snapshot.snapshot_id
        )
        assert image.root_snapshot_id == snapshot.snapshot_id


def test_a_snapshot_of_another_disk_is_refused(tmp_path: Path) -> None:
    disk, other = make_disk(tmp_path / "d.raw"), make_disk(tmp_path / "o.raw", b"2")
    with Catalog(tmp_path / "catalog") as catalog:
        snapshot = catalog.create_snapshot(other, description="of another")
        with pytest.raises(BadInputError, match="is not of the disk"):
            catalog.register_image(
                HVM, disk=disk, verdict=accept(disk), snapshot_id=snapshot.snapshot_id
            )
        with pytest.raises(BadInputError, match="is not in the catalog"):
            catalog.register_image(
                HVM, disk=disk, verdict=accept(disk), snapshot_id="snap-00000000000000000"
            )
        assert catalog.images() == []
