"""What a PV guest under Xen is started with."""

from dataclasses import dataclass
from pathlib import Path

DOM0_MIB = 256
_XEN_MIB = 64
_SHIM_MIB = 128
# Xen keeps 24 bytes for each page of the host, and page tables and grants for the guest.
_GUEST_PARTS = 32


@dataclass(frozen=True, slots=True)
class XenAppliance:
    """The files of the appliance: Xen, its dom0's kernel and initramfs, PV-GRUB's two stand-ins.

    `key` names them all.
    """

    hypervisor: Path
    kernel: Path
    initramfs: Path
    loader: Path
    loader_32: Path
    key: str

    @property
    def folder(self) -> Path:
        """The folder of the cache that they stand in."""
        return self.hypervisor.parent


@dataclass(frozen=True, slots=True)
class XenBoot:
    """How a PV guest finds its disk, and where its loader looks for menu.lst.

    `root` is the guest's name of it: "xvda1" of a file system, "xvda" of a partitioned disk.
    `places` are (partition, folder) pairs in their order, the whole disk being partition 0. A guest
    of 32 bits is PV inside Xen's shim, which itself needs a virtualizing processor: an experiment.
    """

    appliance: XenAppliance
    root: str
    places: tuple[tuple[int, str], ...] = ()
    bits: int = 64


def outer_memory_mib(guest_mib: int, *, bits: int = 64) -> int:
    """Return the memory of a machine in which Xen runs a guest of so many MiB."""
    shim_mib = _SHIM_MIB if bits == 32 else 0
    return guest_mib + DOM0_MIB + _XEN_MIB + guest_mib // _GUEST_PARTS + shim_mib
