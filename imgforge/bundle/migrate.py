"""A manifest of one region becomes one of another: its kernel, its RAM disk and EC2's certificate.

Kernels and RAM disks have an id of their own in each region; a mapping of devices is the same in
all.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imgforge.aki import equal_aki
from imgforge.bundle.edit import Edit, edited_manifest, keep_backup, write_in_place
from imgforge.bundle.extract import load_manifest
from imgforge.bundle.keys import Certificate, SigningPair
from imgforge.bundle.manifest import MachineConfiguration
from imgforge.errors import BadInputError


class OldIds(StrEnum):
    """What to do with a kernel and a RAM disk for which no new one is named."""

    LOOK_UP = "look up"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Migration:
    """Where a manifest goes: empty texts are what is to be found out, or not known."""

    ec2: Certificate
    region: str = ""
    kernel_id: str = ""
    ramdisk_id: str = ""
    old_ids: OldIds = OldIds.LOOK_UP


def migrate_manifest(path: Path, migration: Migration, *, pair: SigningPair) -> None:
    """Make a manifest one of another region, and keep the old one beside it as MANIFEST.bak.

    Raises BundleError and BadInputError as `edit_manifest`, `keep_backup` and `plan_migration` do.
    """
    edit = plan_migration(load_manifest(path).manifest.machine, migration)
    migrated = edited_manifest(path, edit, pair=pair)
    keep_backup(path)
    write_in_place(migrated, path)


def plan_migration(machine: MachineConfiguration | None, migration: Migration) -> Edit:
    """Return what makes a manifest of this machine one of the region.

    A kernel is looked up in the guide's list of PV-GRUBs. Raises BadInputError where its equal
    cannot be told, and for a RAM disk, of which the guide lists none.
    """
    kernel_id, ramdisk_id = migration.kernel_id, migration.ramdisk_id
    if machine is not None and migration.old_ids is OldIds.LOOK_UP:
        if machine.kernel_id and not kernel_id:
            kernel_id = _equal_kernel(machine.kernel_id, migration.region)
        if machine.ramdisk_id and not ramdisk_id:
            raise BadInputError(
                f"Manifest: has the RAM disk {machine.ramdisk_id}, which other regions do not "
                "know; give --ramdisk with that of the same name there, or --no-mapping."
            )
    return Edit(kernel_id=kernel_id or None, ramdisk_id=ramdisk_id or None, ec2=migration.ec2)


def _equal_kernel(kernel_id: str, region: str) -> str:
    if not region:
        raise BadInputError(
            f"Manifest: has the kernel {kernel_id}, which other regions do not know; give --region "
            "to look its equal up, --kernel with that of the same name there, or --no-mapping."
        )
    try:
        return equal_aki(kernel_id, region=region).aki_id
    except BadInputError as error:
        raise BadInputError(
            str(error), hint="Give --kernel with an id of that region, or --no-mapping."
        ) from None
