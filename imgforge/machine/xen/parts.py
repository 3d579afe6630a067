"""What a PV guest under Xen is started with."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class XenAppliance:
    """The files of the appliance: Xen, and its dom0's kernel and initramfs; `key` names them."""

    hypervisor: Path
    kernel: Path
    initramfs: Path
    key: str
