"""A disk becomes a running machine: acceleration, QEMU, console, network."""

from imgforge.accelerator import Accelerator, AcceleratorKind, AcceleratorWish
from imgforge.machine.acceleration import choose_accelerator, find_proof_kernel
from imgforge.machine.channel import COMMAND_LIMIT_BYTES, KEPT_BYTES, Answer, Channel, NoAnswerError
from imgforge.machine.event import (
    ConsoleBytes,
    ConsoleLine,
    EndReason,
    KernelStarted,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
)
from imgforge.machine.event_stream import EventStream
from imgforge.machine.instance_type import (
    INSTANCE_TYPES,
    T2_MICRO,
    T2_NANO,
    T3_MICRO,
    T3_NANO,
    DiskBus,
    InstanceType,
)
from imgforge.machine.life import start_machine
from imgforge.machine.machine import Machine, StartError
from imgforge.machine.spec import BootSource, MachineSpec, Suspended
from imgforge.machine.storage import (
    DiskLayer,
    Drive,
    Storage,
    create_volume,
    flatten,
    lay_over,
    plain_storage,
)
from imgforge.machine.way import MetadataWay, WayChoice, choose_way
from imgforge.machine.xen.parts import XenAppliance, XenBoot, outer_memory_mib
from imgforge.machine.xen.session import SessionWish

__all__ = [
    "COMMAND_LIMIT_BYTES",
    "INSTANCE_TYPES",
    "KEPT_BYTES",
    "T2_MICRO",
    "T2_NANO",
    "T3_MICRO",
    "T3_NANO",
    "Accelerator",
    "AcceleratorKind",
    "AcceleratorWish",
    "Answer",
    "BootSource",
    "Channel",
    "ConsoleBytes",
    "ConsoleLine",
    "DiskBus",
    "DiskLayer",
    "Drive",
    "EndReason",
    "EventStream",
    "InstanceType",
    "KernelStarted",
    "Machine",
    "MachineEnded",
    "MachineEvent",
    "MachineSpec",
    "MetadataAsked",
    "MetadataWay",
    "NoAnswerError",
    "SessionWish",
    "StartError",
    "Storage",
    "Suspended",
    "WayChoice",
    "XenAppliance",
    "XenBoot",
    "choose_accelerator",
    "choose_way",
    "create_volume",
    "find_proof_kernel",
    "flatten",
    "lay_over",
    "outer_memory_mib",
    "plain_storage",
    "start_machine",
]
