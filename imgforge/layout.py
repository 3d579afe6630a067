"""How a disk is arranged."""

from enum import StrEnum


class Layout(StrEnum):
    """How a disk is arranged; what EC2 calls virtualization type follows from it."""

    HVM_MBR = "hvm-mbr"
    HVM_GPT = "hvm-gpt"
    PV = "pv"
    PV_PART = "pv-part"

    @property
    def is_pv(self) -> bool:
        """Whether PV-GRUB, not a BIOS, reads this disk."""
        return self in {Layout.PV, Layout.PV_PART}

    @property
    def is_partitioned(self) -> bool:
        """Whether the file system stands in a partition rather than on the whole disk."""
        return self is not Layout.PV


class PartitionKind(StrEnum):
    """The table of an instance-store image, as ec2-bundle-vol calls it."""

    NONE = "none"
    MBR = "mbr"
    GPT = "gpt"

    @property
    def layout(self) -> Layout:
        """The layout of such a disk."""
        return {"none": Layout.PV, "mbr": Layout.HVM_MBR, "gpt": Layout.HVM_GPT}[self.value]


def partition_kind(layout: Layout) -> PartitionKind:
    """Return the table of a disk of this layout."""
    if layout is Layout.HVM_GPT:
        return PartitionKind.GPT
    return PartitionKind.MBR if layout.is_partitioned else PartitionKind.NONE
