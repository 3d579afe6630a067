"""A disk becomes a running machine: acceleration, QEMU, console, network."""

from imgforge.machine.accelerator import Accelerator, AcceleratorKind, AcceleratorWish
from imgforge.machine.event import (
    ConsoleBytes,
    ConsoleLine,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
)
from imgforge.machine.machine import Machine

__all__ = [
    "Accelerator",
    "AcceleratorKind",
    "AcceleratorWish",
    "ConsoleBytes",
    "ConsoleLine",
    "Machine",
    "MachineEnded",
    "MachineEvent",
    "MetadataAsked",
]
