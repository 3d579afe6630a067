"""The steps that make a volume out of a bundle; each takes the job and returns its value."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from imgforge import host
from imgforge.bundle import (
    LARGEST_MANIFEST_BYTES,
    BundleError,
    Existing,
    MachineConfiguration,
    Manifest,
    Opener,
    PrivateKey,
    Reader,
    extract_bundle,
    read_manifest,
    read_private_key,
)
from imgforge.catalog import Architecture
from imgforge.disk import (
    Partition,
    PlacedEdit,
    VolumeKind,
    apply_fstab_edit,
    copy_data,
    disk_sha256,
    plan_fstab_edits,
    read_partitions,
    read_volumes,
    recognise_layout,
)
from imgforge.ebs_conversion.job import BLANK_FILE, BUNDLE_FOLDER, DISK_FILE, VOLUME_FILE, Job
from imgforge.ebs_conversion.registration import warn_of_kernel
from imgforge.ebs_conversion.values import (
    Blank,
    Copied,
    Digests,
    Downloaded,
    FstabChange,
    FstabEdited,
    Identified,
    Probed,
    Unbundled,
)
from imgforge.ec2 import open_cloud
from imgforge.errors import BadInputError, HostError
from imgforge.files import read_small, sync, sync_folder
from imgforge.layout import Layout
from imgforge.progress import report, warn
from imgforge.transfer import download_bundle, fetch_manifest, split_manifest_url

_GIB = 2**30
# Virtual devices of a manifest that are instance-store volumes: swap was one of small instances.
_INSTANCE_STORE = ("ephemeral", "swap")


def download(job: Job) -> Downloaded:
    """Fetch the bundle; one that is here stays where it is."""
    path = _fetch(job) if job.wish.is_remote else Path(job.wish.source).absolute()
    content = read_small("Manifest", path, most_bytes=LARGEST_MANIFEST_BYTES)
    return Downloaded(manifest=str(path), manifest_sha256=hashlib.sha256(content).hexdigest())


def _fetch(job: Job) -> Path:
    """Download a bundle; parts that are here and right are not fetched again."""
    place, name = split_manifest_url(job.wish.source)
    with open_cloud(job.wish.cloud, folder=host.s3_dir()) as cloud:
        with suppress(BundleError):  # which the download tells
            manifest = read_manifest(fetch_manifest(cloud, place, name)).manifest
            warn_of_kernel(job.wish, manifest)
        return download_bundle(
            cloud,
            place,
            name,
            destination=(job.folder / BUNDLE_FOLDER).absolute(),
            existing=Existing.REPLACE,
            signer=_key(job).public_key,
        ).manifest_path


def _key(job: Job) -> PrivateKey:
    if job.wish.key is None:
        raise BadInputError(
            f"Bundle {job.wish.source}: the private key that it was bundled with is needed.",
            hint="Give it with --key.",
        )
    return read_private_key(job.wish.key)


def unbundle(job: Job) -> Unbundled:
    """Take the disk out of the bundle; signature and digests are compared before it appears."""
    key = _key(job)
    extracted = extract_bundle(
        job.manifest(),
        folder=job.manifest_path.parent,
        opener=Opener(key, Reader.USER, key.public_key),
        destination=job.folder / DISK_FILE,
        existing=Existing.REPLACE,
    )
    return Unbundled(size_bytes=extracted.size_bytes, sha1=extracted.sha1)


def identify_original(job: Job) -> Identified:
    """Tell what the original is: its layout by its disk, the rest by its manifest.

    Raises BadInputError for what cannot be converted: a Windows image, a disk nothing boots from,
    an architecture that no image has, a kernel that does not suit it.
    """
    disk = job.folder / DISK_FILE
    kinds = {volume.kind for volume in read_volumes(disk)}
    if VolumeKind.NTFS in kinds and not any(kind.is_ext for kind in kinds):
        raise BadInputError(
            f"Bundle {job.wish.source}: holds a Windows image; an instance store-backed Windows "
            "AMI cannot be converted to an EBS-backed one (the guide)."
        )
    layout = recognise_layout(disk)
    if layout is None:
        raise BadInputError(
            f"Bundle {job.wish.source}: no layout is recognised on its disk, neither hvm nor pv: "
            "it is no image that boots."
        )
    manifest = job.manifest().manifest
    architecture = architecture_of(manifest, source=job.wish.source)
    machine = manifest.machine
    assert machine is not None
    if machine.product_codes:
        warn(
            "product codes are not carried over to an image made from a snapshot: "
            + ", ".join(machine.product_codes)
        )
    kernel_id = _kernel_of(machine, layout)
    return Identified(
        layout=layout,
        architecture=architecture,
        kernel_id=kernel_id,
        ramdisk_id=machine.ramdisk_id or None if layout.is_pv else None,
    )


def architecture_of(manifest: Manifest, *, source: str) -> Architecture:
    """Return an image's architecture. Raises BadInputError where its manifest names none of EC2's.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html
    """
    found = manifest.machine.architecture if manifest.machine else ""
    if found in {*Architecture}:
        return Architecture(found)
    raise BadInputError(
        f"Bundle {source}: its manifest has the architecture {found}; {', '.join(Architecture)} "
        "are known."
        if found
        else f"Bundle {source}: its manifest, version {manifest.version}, names no architecture.",
        hint="imgforge bundle edit MANIFEST --arch x86_64 gives it one.",
    )


def _kernel_of(machine: MachineConfiguration, layout: Layout) -> str | None:
    """Return the kernel id that the image is registered with: an hvm image has none."""
    if layout.is_pv:
        return machine.kernel_id or None
    for found in filter(None, (machine.kernel_id, machine.ramdisk_id)):
        report(f"identify: {found} is left out: an hvm image has neither kernel nor RAM disk")
    return None


def create_volume(job: Job) -> Blank:
    """Make a blank volume."""
    size_gib = wanted_gib(job)
    blank = job.folder / BLANK_FILE
    # What the image holds, such as /etc/shadow, is its owner's alone.
    with open(blank, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.truncate(size_gib * _GIB)
    return Blank(size_gib=size_gib)


def wanted_gib(job: Job) -> int:
    """Return the volume's size. Raises BadInputError where it is smaller than the image."""
    image_bytes = job.value(Unbundled).size_bytes
    size_gib = job.wish.ebs.size_gib or needed_gib(image_bytes)
    check_size(size_gib, image_bytes)
    return size_gib


def needed_gib(size_bytes: int) -> int:
    """Return the smallest volume, in GiB, that holds an image."""
    return max(1, -(-size_bytes // _GIB))


def check_size(size_gib: int, image_bytes: int) -> None:
    """Raise BadInputError where a volume is smaller than the image."""
    if size_gib * _GIB < image_bytes:
        raise BadInputError(
            f"Volume: {size_gib} GiB are fewer than the image's {image_bytes} bytes; it must be "
            "the same size or larger (the guide).",
            hint=f"--size {needed_gib(image_bytes)} is the least; without --size it is taken.",
        )


def copy_disk(job: Job) -> Copied:
    """Put the disk at the start of the volume, as `dd` does, but by data."""
    copied = copy_data(job.folder / DISK_FILE, job.folder / BLANK_FILE)
    return Copied(data_bytes=copied)


def probe_partitions(job: Job) -> Probed:
    """Read the volume's partitions, as `partprobe` does; raise HostError for others than before."""
    found = read_partitions(job.folder / BLANK_FILE)
    if found != read_partitions(job.folder / DISK_FILE):
        raise HostError("The volume's partitions, read again, are not those of the disk.")
    return Probed(partitions=tuple(map(_describe, found)))


def _describe(partition: Partition) -> str:
    mib = partition.sector_count * 512 / 2**20
    return f"{partition.number}: {mib:.0f} MiB from sector {partition.start_lba} ({partition.kind})"


def fix_fstab(job: Job) -> FstabEdited:
    """Take instance-store and EFI lines out of the volume's fstab, showing the diff before."""
    working, volume = job.folder / BLANK_FILE, job.folder / VOLUME_FILE
    edits = plan_fstab_edits(working, ephemeral_devices=ephemeral_devices(job.manifest().manifest))
    if not edits:
        warn("the volume has no /etc/fstab that can be read: nothing is taken out")
    for placed in edits:
        if placed.edit.removed:
            warn(f"the volume's fstab loses {_lines(placed)}:\n{placed.diff}")
            apply_fstab_edit(working, placed)
        else:
            report(f"fstab: {placed.name} has no line of instance store")
    sync(working)
    working.replace(volume)
    sync_folder(job.folder)
    return FstabEdited(
        changes=tuple(
            FstabChange(
                file=placed.name,
                diff=placed.diff,
                reasons=tuple(f"line {r.number}: {r.reason}" for r in placed.edit.removed),
            )
            for placed in edits
            if placed.edit.removed
        )
    )


def _lines(placed: PlacedEdit) -> str:
    count = len(placed.edit.removed)
    return "a line" if count == 1 else f"{count} lines"


def ephemeral_devices(manifest: Manifest) -> tuple[str, ...]:
    """Return the devices that a manifest's mapping makes instance-store volumes."""
    mappings = manifest.machine.mappings if manifest.machine else ()
    return tuple(m.device for m in mappings if m.virtual.startswith(_INSTANCE_STORE))


def digest(job: Job) -> Digests:
    """Read the disk and the volume whole, side by side, for their SHA-256.

    Zeros take their time: 0.6 s a GiB, holes or not; no other step costs by the volume's size.
    """
    with ThreadPoolExecutor(2) as threads:
        volume = threads.submit(disk_sha256, job.folder / VOLUME_FILE)
        disk = threads.submit(disk_sha256, job.folder / DISK_FILE)
        return Digests(disk_sha256=disk.result(), volume_sha256=volume.result())
