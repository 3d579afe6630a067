"""How a PV disk is booted, as a person asks for it: the way, and Amazon's PV-GRUB with it."""

from dataclasses import dataclass
from enum import StrEnum

from imgforge.aki import NEWEST_VERSION, AkiArchitecture, AkiPlace, PvGrub
from imgforge.layout import Layout


class PvWay(StrEnum):
    """The ways to boot a PV disk; none is passed off as another.

    DIRECT: the kernel of the evaluated menu.lst, started by QEMU without Xen. XEN_DIRECT: a PV
    guest under Xen, whose kernel libxl loads from the evaluated menu.lst. XEN_GRUB: the same, with
    GRUB's port to Xen in place of PV-GRUB, which reads the image's own menu.lst.
    """

    DIRECT = "direct"
    XEN_DIRECT = "xen-direct"
    XEN_GRUB = "xen-grub"


@dataclass(frozen=True, slots=True)
class PvWish:
    """The way, and the PV-GRUB that is done as; None: the newest for the disk's layout.

    It decides where menu.lst is looked for, and how wide the guest is.
    """

    way: PvWay = PvWay.DIRECT
    pv_grub: PvGrub | None = None

    def pv_grub_for(self, layout: Layout | None) -> PvGrub | None:
        """Return the PV-GRUB that starts a disk of this layout; None where none does."""
        if layout is None or not layout.is_pv:
            return None
        place = AkiPlace.HD00 if layout.is_partitioned else AkiPlace.HD0
        return self.pv_grub or PvGrub(place, NEWEST_VERSION, AkiArchitecture.X86_64)


DIRECTLY = PvWish()
"""Without Xen, as the newest PV-GRUB."""
