"""What one boot showed, as evidence: no judgement in it."""

from dataclasses import dataclass
from enum import StrEnum

from imgforge.machine import Accelerator, MachineEnded
from imgforge.metadata import MetadataRequest


class StageName(StrEnum):
    """How far a machine comes, in this order."""

    FIRMWARE = "firmware"
    BOOTLOADER = "bootloader"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    INIT = "init"
    NETWORK = "network"
    METADATA = "metadata"
    SSH = "ssh"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage and, where it was reached, the seconds from power-on to its first sign."""

    name: StageName
    reached: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class SeenSign:
    """A fatal sign: its id in the table, the text it was known by, when, and what to do."""

    id: str
    text: str
    at_s: float
    hint: str


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A way in that was tried: what with, whether it let us in, and what ssh said."""

    id: str
    let_in: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class BootRecord:
    """One boot, seen from outside.

    `sign` is the fatal sign that ended it, if any; `ended` is set where the machine stopped
    by itself; `timed_out` where the boot's time limit passed. `console_tail` is the end of the
    console, stripped of control characters.
    """

    stages: tuple[Stage, ...]
    sign: SeenSign | None
    ended: MachineEnded | None
    timed_out: bool
    logins: tuple[LoginAttempt, ...]
    commands: tuple[LoginAttempt, ...]
    requests: tuple[MetadataRequest, ...]
    console_lines: tuple[str, ...]
    console_bytes: int
    accelerator: Accelerator
    qemu_version: str
    boot_method: str
    seconds: float
