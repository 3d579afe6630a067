"""The table of signs: what on a console means that a boot will not succeed.

The first row that matches a line names it, and the first row of those seen is the cause of a
symptom: particular ones stand before general ones, and what a healthy boot may show stands last.
"""

from imgforge.acceptance.sign import Effect, Sign
from imgforge.acceptance.signs_boot import BOOT_LOADER
from imgforge.acceptance.signs_init import INIT, INITRAMFS
from imgforge.acceptance.signs_kernel import DISKS, FAULTS, MEMORY, PANICS
from imgforge.acceptance.signs_services import (
    CLOUD_INIT,
    METADATA,
    NETWORK,
    ROOT_FILE_SYSTEM,
    SSH,
)

_WITHOUT_MERCY = (*PANICS, *FAULTS, *MEMORY, *BOOT_LOADER, *INITRAMFS, *INIT, *DISKS)
_ROWS = (*_WITHOUT_MERCY, *NETWORK, *METADATA, *CLOUD_INIT, *ROOT_FILE_SYSTEM, *SSH)

SIGNS: tuple[Sign, ...] = (
    *(sign for sign in _ROWS if sign.effect is not Effect.WEAK_CAUSE),
    *(sign for sign in _ROWS if sign.effect is Effect.WEAK_CAUSE),
)
