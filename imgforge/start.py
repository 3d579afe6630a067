"""How a disk is started, by whatever starts one: its boot source, instance and accelerator."""

import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgforge import host
from imgforge.acceptance import BootMethod, Login
from imgforge.disk import Disk, PvBootFailure, evaluate_pv_boot
from imgforge.machine import (
    Accelerator,
    AcceleratorWish,
    BootSource,
    choose_accelerator,
    find_proof_kernel,
)
from imgforge.metadata import Access, Instance
from imgforge.progress import warn
from imgforge.usage import in_use


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How machines are started: the accelerator wished for, and whether they get a network."""

    accelerator: AcceleratorWish = AcceleratorWish.AUTO
    network: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """How the disk is started, or why it cannot be."""

    source: BootSource
    method: BootMethod
    failure: PvBootFailure | None = None
    notes: tuple[str, ...] = ()


def pick_accelerator(wish: AcceleratorWish) -> Accelerator:
    """Choose the accelerator with the kernels that are at hand; it may take some 20 s once."""
    cache = host.cache_dir()
    # The kernel may be of a cached root tree.
    with in_use(cache) if cache.is_dir() else nullcontext():
        return choose_accelerator(wish, kernel=find_proof_kernel(cache), cache=cache)


def new_instance(login: Login, *, image_id: str = "") -> Instance:
    """Return a fresh instance whose metadata serves the key of `login`."""
    return Instance(
        instance_id=f"i-{secrets.token_hex(9)[:17]}",
        image_id=image_id or f"ami-{secrets.token_hex(9)[:17]}",
        public_keys={"imgforge": login.public_key},
        reservation_id=f"r-{secrets.token_hex(9)[:17]}",
        pending_time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def why_service_off(instance: Instance, *, is_seeded: bool = False) -> str:
    """Return why an instance's metadata service tells it nothing; "" where it does."""
    if is_seeded:
        return "a NoCloud seed tells the machine its key: its metadata service is off"
    if instance.options.http_endpoint is Access.DISABLED:
        return "the machine's metadata service is off (http_endpoint disabled)"
    return ""


def find_start(disk: Disk, folder: Path) -> Start:
    """Decide how a disk is started: a PV one by its evaluated menu.lst, any other by its BIOS."""
    if disk.layout is None or not disk.layout.is_pv:
        return Start(BootSource(), BootMethod.BIOS)
    found = evaluate_pv_boot(disk.path, folder)
    if isinstance(found, PvBootFailure):
        return Start(BootSource(), BootMethod.DIRECT, found)
    for note in found.notes:
        warn(note)
    source = BootSource(found.kernel, found.initrd, _with_serial_console(found.command_line))
    return Start(source, BootMethod.DIRECT, notes=found.notes)


def _with_serial_console(command_line: str) -> str:
    """Return a PV command line with the console that QEMU has: there is no hvc0 without Xen."""
    words = command_line.split()
    return command_line if "console=ttyS0" in words else f"{command_line} console=ttyS0".strip()
