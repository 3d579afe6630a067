"""What is asked of RegisterImage, of all that can be told of the original image."""

from imgforge.catalog import (
    BlockDeviceMapping,
    BootMode,
    EbsDevice,
    ImageRegistration,
    VirtualizationType,
    check_registration,
)
from imgforge.disk import Disk
from imgforge.ebs_conversion.job import BLANK_FILE, Job
from imgforge.ebs_conversion.values import Identified
from imgforge.errors import BadInputError


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
    """Raise BadInputError for a registration that EC2 would refuse, before it is worked for."""
    wanted = registration(job, size_gib=size_gib)
    disk = Disk(job.folder / BLANK_FILE, "", size_gib * 2**30, job.value(Identified).layout)
    found = [f"  {finding}." for finding in check_registration(wanted, disk=disk, snapshots={})]
    if found:
        raise BadInputError(
            "\n".join([f"Image {wanted.name!r} could not be registered:", *found]),
            hint="--name gives it another name; imgforge bundle edit MANIFEST changes its kernel.",
        )


def bundle_name(job: Job) -> str:
    """Return the manifest's own name: folders of this host are nobody's business."""
    return job.wish.source.rpartition("/")[2][-200:]
