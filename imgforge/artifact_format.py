"""What a disk can be converted to."""

from enum import StrEnum


class ArtifactFormat(StrEnum):
    """What a disk can be converted to."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHD = "vhd"

    @property
    def qemu_name(self) -> str:
        """What qemu-img calls it."""
        return "vpc" if self is ArtifactFormat.VHD else self.value

    @property
    def qemu_options(self) -> str:
        """The options of qemu-img convert's -o.

        vmdk: streamOptimized, compressed, is the one kind that EC2's VM import, ESX's import and
        OVA files take (docs.aws.amazon.com/vm-import/latest/userguide/prerequisites.html).
        vhd: dynamic, and exactly as large as the disk rather than rounded to a disk geometry.
        """
        match self:
            case ArtifactFormat.VMDK:
                return "subformat=streamOptimized"
            case ArtifactFormat.VHD:
                return "subformat=dynamic,force_size=on"
            case _:
                return ""
