"""The files that an appliance is started with, where QEMU can name them."""

from collections.abc import Mapping
from pathlib import Path

from isal import isal_zlib

from imgforge.errors import HostError
from imgforge.machine.argv import Wiring
from imgforge.machine.spec import MachineSpec
from imgforge.machine.storage import virtual_bytes
from imgforge.machine.xen.argv import (
    CONFIG,
    GUEST_KERNEL,
    HYPERVISOR,
    INITRAMFS,
    KERNEL,
    describe_guest,
)
from imgforge.machine.xen.config import guest_config
from imgforge.machine.xen.loader import set_up_loader
from imgforge.machine.xen.parts import XenBoot

_SECTOR_BYTES = 512
_GZIP = 16 + isal_zlib.MAX_WBITS


def lay_out(
    spec: MachineSpec, wiring: Wiring, *, folder: Path, scratch: Path
) -> Mapping[str, Path]:
    """Link the appliance's files in `folder`, write the guest's configuration, return all by name.

    QEMU splits -initrd at spaces: it gets names in `folder`, whatever the cache is called. dom0's
    kernel is unpacked into `scratch`: on TCG Xen would take seconds for that. One that goes on
    has Xen and dom0 in its memory, and needs only the disks.
    """
    boot = spec.source.xen
    assert boot is not None
    linked = {} if spec.resume else _dom0_files(boot, scratch)
    for name, path in linked.items():
        (folder / name).symlink_to(path.absolute())
    guest = spec.source.kernel
    if guest is None:
        guest = scratch / GUEST_KERNEL
        guest.write_bytes(_loader(boot, wiring))
    config = folder / CONFIG
    config.write_text(guest_config(describe_guest(spec, boot, wiring)), encoding="utf-8")
    return {**{name: folder / name for name in (*linked, CONFIG)}, GUEST_KERNEL: guest}


def _dom0_files(boot: XenBoot, scratch: Path) -> Mapping[str, Path]:
    kernel = scratch / KERNEL
    kernel.write_bytes(_unpack(boot.appliance.kernel))
    return {
        HYPERVISOR: boot.appliance.hypervisor,
        KERNEL: kernel,
        INITRAMFS: boot.appliance.initramfs,
    }


def _unpack(path: Path) -> bytes:
    try:
        return isal_zlib.decompress(path.read_bytes(), _GZIP)
    except (OSError, isal_zlib.error) as error:  # type: ignore[misc]  # a stub error
        raise HostError(
            f"Xen appliance: {path} cannot be unpacked: {error}.",
            hint="Start again: what is damaged in the cache is made anew.",
        ) from None


def _loader(boot: XenBoot, wiring: Wiring) -> bytes:
    loader = boot.appliance.loader_32 if boot.bits == 32 else boot.appliance.loader
    return set_up_loader(
        loader.read_bytes(),
        root=boot.root,
        sectors=virtual_bytes(wiring.storage.root.layers[0]) // _SECTOR_BYTES,
        places=boot.places,
    )
