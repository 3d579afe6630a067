"""The choices that EC2 has for an image, by its own names: a command line offers them, too."""

from enum import StrEnum

from imgforge.layout import Layout


class Architecture(StrEnum):
    """EC2's ArchitectureValues."""

    I386 = "i386"
    X86_64 = "x86_64"
    ARM64 = "arm64"
    X86_64_MAC = "x86_64_mac"
    ARM64_MAC = "arm64_mac"


class VirtualizationType(StrEnum):
    """Whether a BIOS or PV-GRUB starts the disk."""

    HVM = "hvm"
    PARAVIRTUAL = "paravirtual"

    @classmethod
    def of_layout(cls, layout: Layout) -> "VirtualizationType":
        """Return what a disk of this layout is made for."""
        return cls.PARAVIRTUAL if layout.is_pv else cls.HVM


class BootMode(StrEnum):
    """EC2's BootModeValues."""

    LEGACY_BIOS = "legacy-bios"
    UEFI = "uefi"
    UEFI_PREFERRED = "uefi-preferred"


class VolumeType(StrEnum):
    """EC2's VolumeType."""

    GP2 = "gp2"
    GP3 = "gp3"
    IO1 = "io1"
    IO2 = "io2"
    ST1 = "st1"
    SC1 = "sc1"
    STANDARD = "standard"


class SriovSupport(StrEnum):
    """EC2's values of SriovNetSupport."""

    SIMPLE = "simple"


class SupportVersion(StrEnum):
    """EC2's values of TpmSupport and ImdsSupport."""

    V2 = "v2.0"
