"""What a machine is made of."""

from dataclasses import dataclass, field
from pathlib import Path

from imgforge.accelerator import Accelerator
from imgforge.machine.instance_type import T3_NANO, InstanceType
from imgforge.machine.storage import Storage
from imgforge.machine.xen.parts import XenBoot, outer_memory_mib
from imgforge.metadata import Fault, Instance, Signer


@dataclass(frozen=True, slots=True)
class BootSource:
    """How a machine is started: by its BIOS from the disk, or with a kernel given to it.

    Without `kernel` the other two mean nothing. With `xen` it is a PV guest: libxl loads the
    kernel, or without one the stand-in for PV-GRUB.
    """

    kernel: Path | None = None
    initrd: Path | None = None
    command_line: str = ""
    xen: XenBoot | None = None


@dataclass(frozen=True, slots=True)
class Suspended:
    """A machine that stands still in files, ready to go on where it was.

    `state` holds its devices, and its memory too unless `memory` is a file of its own, which a
    machine that goes on reads and never writes to. `storage` is its disks as it left them,
    `elapsed_s` the time since its power-on, `token_secret` what its IMDSv2 tokens are made with.
    """

    state: Path
    storage: Storage
    elapsed_s: float
    token_secret: bytes = field(repr=False)
    memory: Path | None = None


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A machine: its disk, how it starts, what runs it, and where what it shows is kept.

    `disk` is never written to, and may be read-only; `disk_format` is QEMU's name ("raw",
    "qcow2"). `folder` gets console.raw, console.log, metadata.jsonl and qemu.argv.

    `network` lets the guest out: it then reaches the host's network, every server on the host's
    own loopback (through 169.254.169.1) and what the host can reach, with the rights of the user
    who runs it. Without it the guest reaches the metadata service and nothing else.

    `has_channel` gives it a virtio-serial port for commands, `has_screen` a VGA card. With
    `memory_file` its memory is that (sparse) file, to be shared with those who go on from it.
    `resume` makes it go on from there instead of booting; the hardware must be the same, and
    `disk` and `source` then mean nothing before its next reset. `faults` are what its metadata
    service gets wrong from the beginning, `signer` signs its identity document.

    `seed` is a NoCloud seed, attached read-only as the last disk. Such a machine is none of EC2's,
    and its DMI does not say so.
    """

    disk: Path
    accelerator: Accelerator
    instance: Instance
    folder: Path
    disk_format: str = "raw"
    source: BootSource = field(default_factory=BootSource)
    profile: InstanceType = T3_NANO
    network: bool = False
    has_channel: bool = False
    has_screen: bool = False
    memory_file: Path | None = None
    resume: Suspended | None = None
    faults: tuple[Fault, ...] = ()
    signer: Signer | None = None
    seed: Path | None = None

    @property
    def memory_mib(self) -> int:
        """What QEMU gives it: more than its profile has, where Xen and a dom0 run beside it."""
        if self.source.xen is None:
            return self.profile.memory_mib
        return outer_memory_mib(self.profile.memory_mib, bits=self.source.xen.bits)
