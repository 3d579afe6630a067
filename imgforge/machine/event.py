"""What happens to a running machine, as one ordered stream. Times count from its power-on, in s."""

from dataclasses import dataclass
from enum import StrEnum

from imgforge.metadata import MetadataRequest


@dataclass(frozen=True, slots=True)
class ConsoleBytes:
    """The console said something; `pending` is the text of the line that has no end yet.

    A GRUB prompt or a login prompt has none: look for it here. Control characters are stripped.
    """

    at_s: float
    pending: str


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """A whole console line, without its end, decoded and stripped of control characters."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class MetadataAsked:
    """The guest asked the metadata service, and was answered."""

    at_s: float
    request: MetadataRequest


@dataclass(frozen=True, slots=True)
class KernelStarted:
    """A boot loader that says nothing while it loads has handed over to the kernel."""

    at_s: float


class EndReason(StrEnum):
    """Why a machine no longer runs."""

    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_RESET = "guest-reset"
    GUEST_PANIC = "guest-panic"
    KERNEL_REFUSED = "kernel-refused"
    HOST_INTERNAL_ERROR = "host-internal-error"
    QEMU_DIED = "qemu-died"
    HOST_DISK_FULL = "host-disk-full"
    APPLIANCE_FAILED = "appliance-failed"
    STOPPED_BY_US = "stopped-by-us"


@dataclass(frozen=True, slots=True)
class MachineEnded:
    """The machine runs no more. `detail` is the QMP event or the end of QEMU's stderr.

    HOST_INTERNAL_ERROR, QEMU_DIED, HOST_DISK_FULL and APPLIANCE_FAILED (of Xen or its dom0) are the
    host's failures, never the image's. KERNEL_REFUSED is Xen's answer to a PV guest's kernel.
    """

    at_s: float
    reason: EndReason
    detail: str


MachineEvent = ConsoleBytes | ConsoleLine | MetadataAsked | KernelStarted | MachineEnded
