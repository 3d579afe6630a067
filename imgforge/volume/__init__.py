"""What of a machine's root volume goes into an image, and what is corrected for it."""

from imgforge.volume.fstab import (
    check_fstab,
    generate_fstab,
    other_devices,
    root_line,
    without_efi,
)
from imgforge.volume.gather import gather
from imgforge.volume.inherit import Inherited, ask_instance
from imgforge.volume.mounts import Mount, left_out_mounts, mount_of, read_mounts
from imgforge.volume.secrets import Secret
from imgforge.volume.selection import EMPTIED, Cause, LeftOut, Rules, Selection, summarize

__all__ = [
    "EMPTIED",
    "Cause",
    "Inherited",
    "LeftOut",
    "Mount",
    "Rules",
    "Secret",
    "Selection",
    "ask_instance",
    "check_fstab",
    "gather",
    "generate_fstab",
    "left_out_mounts",
    "mount_of",
    "other_devices",
    "read_mounts",
    "root_line",
    "summarize",
    "without_efi",
]
