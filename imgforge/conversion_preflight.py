"""What `imgforge convert --to ebs` would refuse of a disk or a bundle, and what it would change."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgforge.bundle import load_manifest
from imgforge.catalog import Finding
from imgforge.disk import VolumeKind, plan_fstab_edits, read_volumes, recognise_layout
from imgforge.errors import BadInputError
from imgforge.preflight import PreflightFinding, told

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class ConversionTarget:
    """The volume wanted, the image's own size where that is None; and whose account it is for."""

    size_gib: int | None = None
    account_id: str | None = None


def preflight_conversion_of_disk(
    disk: Path, target: ConversionTarget
) -> tuple[PreflightFinding, ...]:
    """Return what the guide's rules say of an instance store's disk, taken out of its bundle.

    Raises BadInputError for a disk that cannot be read.
    """
    found = (*_check_system(disk), *_check_size(disk.stat().st_size, target), *_of_fstab(disk))
    return tuple(map(told, found))


def preflight_conversion_of_bundle(
    manifest: Path, target: ConversionTarget
) -> tuple[PreflightFinding, ...]:
    """Return what the guide's rules say of a bundle, by its manifest: its disk is not looked into.

    Raises BadInputError for a manifest that cannot be read.
    """
    read = load_manifest(manifest).manifest
    found = [*_check_owner(read.image.account, target), *_check_size(read.image.size_bytes, target)]
    if read.machine and read.machine.product_codes:
        codes = ", ".join(read.machine.product_codes)
        found.append(Finding("convert-product-codes", codes, "an image of a snapshot has none"))
    return tuple(map(told, found))


def _check_owner(account: str, target: ConversionTarget) -> Iterator[Finding]:
    if target.account_id and account.replace("-", "") != target.account_id:
        needed = f"a bundle of {target.account_id}: nobody converts another's image"
        yield Finding("convert-owner", f"a bundle of {account}", needed)


def _check_size(image_bytes: int, target: ConversionTarget) -> Iterator[Finding]:
    size_gib = target.size_gib
    if size_gib is not None and size_gib * _GIB < image_bytes:
        found = f"{size_gib} GiB for an image of {image_bytes} bytes"
        yield Finding("convert-size", found, "a volume of the image's size, or larger")


def _check_system(disk: Path) -> Iterator[Finding]:
    kinds = {volume.kind for volume in read_volumes(disk)}
    if VolumeKind.NTFS in kinds and not any(kind.is_ext for kind in kinds):
        yield Finding("convert-windows", "a Windows image", "an image of Linux")
    elif recognise_layout(disk) is None:
        yield Finding("convert-layout", "neither hvm nor pv", "a disk that boots")


def _of_fstab(disk: Path) -> Iterator[Finding]:
    """Yield the lines that a volume's fstab loses: of instance store, and of an EFI partition."""
    try:
        edits = plan_fstab_edits(disk, ephemeral_devices=())
    except BadInputError as error:
        yield Finding("convert-fstab", str(error), "an fstab that can be read and written")
        return
    for placed in edits:
        for line in placed.edit.removed:
            words = line.text.decode("utf-8", errors="replace").strip()
            needed = f"it goes from the volume's {placed.name}: {line.reason}"
            yield Finding("convert-fstab-line", f"line {line.number}: {words[:200]!r}", needed)
