"""What runs the guest's instructions, and why."""

from dataclasses import dataclass
from enum import StrEnum


class AcceleratorKind(StrEnum):
    """QEMU's accelerators that imgforge uses."""

    KVM = "kvm"
    TCG = "tcg"


class AcceleratorWish(StrEnum):
    """What the user asked for with --accel."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The accelerator chosen, the `-cpu` model that goes with it, and the reason in words."""

    kind: AcceleratorKind
    cpu_model: str
    reason: str
