"""How a PV disk is booted, as a person asks for it."""

from enum import StrEnum


class PvWay(StrEnum):
    """The ways to boot a PV disk; none is passed off as another.

    DIRECT: the kernel of the evaluated menu.lst, started by QEMU without Xen. XEN_DIRECT: a PV
    guest under Xen, whose kernel libxl loads from the evaluated menu.lst. XEN_GRUB: the same, with
    GRUB's port to Xen in place of PV-GRUB, which reads the image's own menu.lst.
    """

    DIRECT = "direct"
    XEN_DIRECT = "xen-direct"
    XEN_GRUB = "xen-grub"
