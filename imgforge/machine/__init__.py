"""A disk becomes a running machine: acceleration, QEMU, console, network."""

from imgforge.accelerator import Accelerator, AcceleratorKind, AcceleratorWish
from imgforge.machine.acceleration import choose_accelerator, find_proof_kernel
from imgforge.machine.event import (
    ConsoleBytes,
    ConsoleLine,
    EndReason,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
)
from imgforge.machine.instance_type import INSTANCE_TYPES, T3_MICRO, T3_NANO, DiskBus, InstanceType
from imgforge.machine.machine import Machine, StartError, start_machine
from imgforge.machine.spec import BootSource, MachineSpec

__all__ = [
    "INSTANCE_TYPES",
    "T3_MICRO",
    "T3_NANO",
    "Accelerator",
    "AcceleratorKind",
    "AcceleratorWish",
    "BootSource",
    "ConsoleBytes",
    "ConsoleLine",
    "DiskBus",
    "EndReason",
    "InstanceType",
    "Machine",
    "MachineEnded",
    "MachineEvent",
    "MachineSpec",
    "MetadataAsked",
    "StartError",
    "choose_accelerator",
    "find_proof_kernel",
    "start_machine",
]
