"""What a test asks its machine to be."""

from dataclasses import dataclass, field
from enum import StrEnum

from imgforge.accelerator import Accelerator
from imgforge.aki import PvGrub
from imgforge.disk import Disk
from imgforge.machine import T2_MICRO, DiskBus, InstanceType, outer_memory_mib
from imgforge.metadata import Fault, MetadataOptions
from imgforge.pv_way import DIRECTLY, PvWay, PvWish
from imgforge.recipe import ExpectPart

LARGEST_VOLUME_GIB = 65536
"""The largest EBS volume: 64 TiB (io2 Block Express)."""
MOST_VOLUMES = 12


class Start(StrEnum):
    """How a test gets its machine: forked from a frozen one, booted, or only powered on."""

    FORK = "fork"
    COLD = "cold"
    POWER_ON = "power-on"


@dataclass(frozen=True, slots=True)
class Image:
    """What is tested: a disk, how QEMU calls its format, what is expected of its boot.

    `ami_id` is the catalog's; "" where the image is none of it.
    """

    disk: Disk
    expect: ExpectPart
    format: str = "raw"
    ami_id: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A machine to be: sizes are in GiB, of blank volumes and of the root volume.

    `root_gib` None keeps the disk's own size. With `is_seeded` a NoCloud seed tells the instance
    who it is, and its metadata service is off.
    """

    image: Image
    accelerator: Accelerator
    profile: InstanceType = T2_MICRO
    user_data: bytes | None = None
    metadata_options: MetadataOptions = field(default_factory=MetadataOptions)
    tags: tuple[tuple[str, str], ...] = ()
    volumes_gib: tuple[int, ...] = ()
    root_gib: int | None = None
    network: bool = False
    pv: PvWish = DIRECTLY
    start: Start = Start.FORK
    is_new_instance: bool = False
    is_seeded: bool = False
    faults: tuple[Fault, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the image and the hardware decides how long its boot takes."""
        return not (self.faults or self.user_data or self.volumes_gib or self.root_gib)

    @property
    def is_under_xen(self) -> bool:
        """Whether its guest is one of Xen's."""
        return self.pv_grub is not None and self.pv.way is not PvWay.DIRECT

    @property
    def pv_grub(self) -> PvGrub | None:
        """The PV-GRUB that starts it; None of a disk that none does."""
        return self.pv.pv_grub_for(self.image.disk.layout)

    @property
    def memory_mib(self) -> int:
        """The memory of its QEMU, in which a dom0 may run beside the guest."""
        guest_mib = self.profile.memory_mib
        if self.pv_grub is None or not self.is_under_xen:
            return guest_mib
        return outer_memory_mib(guest_mib, bits=self.pv_grub.architecture.bits)

    @property
    def why_cold(self) -> str:
        """Why this machine cannot be forked; "" where it can."""
        if self.start is not Start.FORK:
            return "the test asks for it"
        if self.is_seeded:
            return "its seed is of this machine alone"
        if self.profile.disk_bus is DiskBus.NVME and not self.is_under_xen:
            return f"{self.profile.name} has NVMe disks, whose state QEMU cannot carry over"
        return ""


def is_volume_size(size: object) -> bool:
    """Tell whether something is the size of an EBS volume, in GiB."""
    return isinstance(size, int) and not isinstance(size, bool) and 0 < size <= LARGEST_VOLUME_GIB
