"""What is asked of RegisterImage, of all that can be told of the original image."""

from imgforge.aki import AKIS
from imgforge.bundle import Manifest
from imgforge.catalog import (
    BlockDeviceMapping,
    BootMode,
    EbsDevice,
    ImageRegistration,
    VirtualizationType,
    check_registration,
)
from imgforge.conversion_step import StepName
from imgforge.disk import Disk
from imgforge.ebs_conversion.job import BLANK_FILE, Job
from imgforge.ebs_conversion.values import Identified
from imgforge.ebs_conversion.wish import ConversionWish
from imgforge.ec2 import region_of
from imgforge.errors import BadInputError
from imgforge.progress import warn


def registration(job: Job, *, size_gib: int) -> ImageRegistration:
    """Return the registration of the image, on a volume of this size.

    Not as the guide has it: its own command gives an hvm image a kernel id, and its mapping no
    device name. Whether the original has the ENA driver, no manifest tells.
    """
    original = job.value(Identified)
    hvm = not original.layout.is_pv
    root = "/dev/xvda" if hvm else "/dev/sda1"
    return ImageRegistration(
        name=job.wish.ebs.name or job.manifest().manifest.image.name,
        architecture=original.architecture,
        virtualization_type=VirtualizationType.of_layout(original.layout),
        root_device_name=root,
        block_devices=(BlockDeviceMapping(root, ebs=EbsDevice(volume_size_gib=size_gib)),),
        description=f"Converted from {bundle_name(job)}",
        boot_mode=BootMode.LEGACY_BIOS if hvm else None,
        kernel_id=original.kernel_id,
        ramdisk_id=original.ramdisk_id,
    )


def check_early(job: Job, *, size_gib: int) -> None:
    """Raise BadInputError for a registration that EC2 would refuse, before it is worked for.

    Whether the region has the kernel is asked only where it is to be registered.
    """
    region = region_of(job.wish.cloud) if job.wish.last_step is StepName.REGISTER else None
    wanted = registration(job, size_gib=size_gib)
    disk = Disk(job.folder / BLANK_FILE, "", size_gib * 2**30, job.value(Identified).layout)
    broken = check_registration(wanted, disk=disk, snapshots={}, region=region)
    found = [f"  {finding}." for finding in broken]
    if found:
        raise BadInputError(
            "\n".join([f"Image {wanted.name!r} could not be registered:", *found]),
            hint="--name gives it another name; imgforge bundle edit MANIFEST changes its kernel, "
            "and --region where it is registered.",
        )


def warn_of_kernel(wish: ConversionWish, manifest: Manifest) -> None:
    """Tell of a kernel that is another region's before the disk is here.

    Only the disk tells whether the image is paravirtual: an hvm one loses its kernel id.
    """
    kernel_id = manifest.machine.kernel_id if manifest.machine else ""
    if wish.last_step is not StepName.REGISTER or not kernel_id:
        return
    aki = next((aki for aki in AKIS if aki.aki_id == kernel_id), None)
    region = region_of(wish.cloud)
    if aki is not None and aki.region != region:
        warn(
            f"Bundle {wish.source}: its kernel {kernel_id} is of {aki.region}; {region} has none "
            "of that id. A paravirtual image will be refused there: ec2-migrate-manifest, or "
            f"imgforge bundle edit, gives it {region}'s."
        )


def bundle_name(job: Job) -> str:
    """Return the manifest's own name: folders of this host are nobody's business."""
    return job.wish.source.rpartition("/")[2][-200:]
