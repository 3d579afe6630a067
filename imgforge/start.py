"""How a disk is started, by whatever starts one: its boot source, instance and accelerator."""

import re
import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgforge import host
from imgforge.acceptance import BootMethod, Login
from imgforge.aki import AkiPlace, PvGrub
from imgforge.disk import (
    MENU_PLACES,
    Disk,
    PvBootFailure,
    Weight,
    World,
    evaluate_pv_boot,
    examine_menu,
    unpack_kernel,
)
from imgforge.machine import (
    Accelerator,
    AcceleratorWish,
    BootSource,
    XenBoot,
    choose_accelerator,
    find_proof_kernel,
)
from imgforge.metadata import Access, Instance
from imgforge.progress import warn
from imgforge.pv_way import DIRECTLY, PvWay, PvWish
from imgforge.usage import in_use
from imgforge.xen_appliance import prepare_appliance

_EXPERIMENT = "The guest has 32 bits: it ran PV inside Xen's shim, which is an experiment."
_XEN_ROOT = re.compile(r"(?:^|\s)root=[\"']?(/dev/xvd[a-z]\d*)")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How machines are started: the accelerator, whether they get a network, how PV disks boot."""

    accelerator: AcceleratorWish = AcceleratorWish.AUTO
    network: bool = False
    pv: PvWish = DIRECTLY


@dataclass(frozen=True, slots=True)
class Start:
    """How the disk is started, or why it cannot be; by which PV-GRUB's rules, for a PV disk."""

    source: BootSource
    method: BootMethod
    pv_grub: PvGrub | None = None
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


def boot_method(disk: Disk, way: PvWay) -> BootMethod:
    """Return how a disk is started: any but a PV one by its BIOS."""
    is_pv = disk.layout is not None and disk.layout.is_pv
    return BootMethod(way.value) if is_pv else BootMethod.BIOS


def find_start(disk: Disk, folder: Path, *, pv: PvWish = DIRECTLY) -> Start:
    """Decide how a disk is started: a PV one as `pv` asks, any other by its BIOS.

    The Xen appliance is made where it is needed and not there yet. Raises HostError where it cannot
    be.
    """
    method = boot_method(disk, pv.way)
    pv_grub = pv.pv_grub_for(disk.layout)
    if pv_grub is None:
        return Start(BootSource(), method, notes=_unheeded(disk, pv))
    xen = None if pv.way is PvWay.DIRECT else _xen_boot(disk, pv_grub)
    remarks = (_EXPERIMENT,) if xen is not None and xen.bits == 32 else ()
    if pv.way is PvWay.XEN_GRUB:
        notes = (*remarks, *passed_over(disk, pv_grub))
        return Start(BootSource(xen=xen), method, pv_grub, notes=notes)
    found = evaluate_pv_boot(disk.path, folder, places=aki_places(pv_grub))
    if isinstance(found, PvBootFailure):
        return Start(BootSource(), method, pv_grub, found)
    notes = (*found.notes, *_doubts(disk, pv_grub), *_lacking(found.command_line, xen))
    for note in notes:
        warn(note)
    kernel, line = found.kernel, found.command_line
    if xen is None:
        line = _with_serial_console(line)
    # dom0 would unpack it much slower, and has no memory for it.
    elif unpack_kernel(kernel, folder / "kernel.elf"):
        kernel = folder / "kernel.elf"
    source = BootSource(kernel, found.initrd, line, xen)
    return Start(source, method, pv_grub, notes=(*remarks, *notes))


def _unheeded(disk: Disk, pv: PvWish) -> tuple[str, ...]:
    """Return a word on a PV-GRUB that was chosen for a disk which none starts."""
    if pv.pv_grub is None:
        return ()
    layout = "none of the PV layouts" if disk.layout is None else f"of layout {disk.layout}"
    note = f"{pv.pv_grub.name} does not start {disk.path.name}: it is {layout}, and has its BIOS."
    warn(note)
    return (note,)


def _doubts(disk: Disk, pv_grub: PvGrub) -> tuple[str, ...]:
    """Return why nothing of a disk would start on EC2, by the rules that menu.lst is held to."""
    examined = examine_menu(disk.path, world=World.PV, pv_grub=pv_grub)
    if examined.boots is not None:
        return ()
    errors = [each for each in examined.findings if each.weight is Weight.ERROR]
    told = "; ".join(f"{each.rule.id} ({each.found})" for each in errors)
    return (f"{pv_grub.name} would start none of its entries on EC2: {told}",)


def _lacking(command_line: str, xen: XenBoot | None) -> tuple[str, ...]:
    """Return a word on a root device that only Xen has, for a boot without Xen."""
    devices = _XEN_ROOT.findall(command_line)
    if xen is not None or not devices:
        return ()
    return (
        f"root={devices[-1]}: without Xen the kernel has no such device; --pv-boot xen-grub has "
        "it, as EC2 has. root=LABEL=… is found by both.",
    )


def passed_over(disk: Disk, pv_grub: PvGrub) -> tuple[str, ...]:
    """Return a word on why a PV-GRUB goes on to a disk's fallback entry, where it does."""
    examined = examine_menu(disk.path, world=World.PV, pv_grub=pv_grub)
    found = examined.facts.found
    if found is None or examined.boots is None or examined.boots == found.menu.order[0]:
        return ()
    order = found.menu.order
    passed = order[: order.index(examined.boots)]
    errors = [f for f in examined.findings if f.entry in passed and f.weight is Weight.ERROR]
    told = "; ".join(f"entry {each.entry} {each.rule.id} ({each.found})" for each in errors)
    return (f"{pv_grub.name} goes on to its fallback, entry {examined.boots}: {told}",)


def aki_places(pv_grub: PvGrub) -> tuple[tuple[int, str], ...]:
    """Return where a PV-GRUB looks for menu.lst: partition (0: the whole disk) and folder.

    Source: the guide, "Configuring GRUB for Paravirtual AMIs": all look in the nine places, only
    1.03 and earlier in one of the first two. From 1.04 on hd0 and hd00 look at the same.
    """
    if pv_grub.looks_everywhere:
        return MENU_PLACES
    return (MENU_PLACES[0 if pv_grub.place is AkiPlace.HD0 else 1],)


def _xen_boot(disk: Disk, pv_grub: PvGrub) -> XenBoot:
    assert disk.layout is not None
    return XenBoot(
        appliance=prepare_appliance(host.cache_dir()),
        root="xvda" if disk.layout.is_partitioned else "xvda1",
        places=aki_places(pv_grub),
        bits=pv_grub.architecture.bits,
    )


def _with_serial_console(command_line: str) -> str:
    """Return a PV command line with the console that QEMU has: there is no hvc0 without Xen."""
    words = command_line.split()
    return command_line if "console=ttyS0" in words else f"{command_line} console=ttyS0".strip()
