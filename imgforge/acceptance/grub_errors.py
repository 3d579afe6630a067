"""GRUB Legacy's numbered errors, and what in the recipe or the disk brings each about.

Source: GRUB 0.97, stage2/common.c (err_list) and its manual, "Error messages reported by GRUB"
(https://www.gnu.org/software/grub/manual/legacy/Stage2-errors.html); 35 is Debian's 0.97-80.
"""

from collections.abc import Mapping
from types import MappingProxyType

_KERNEL_PATH = "Check the paths of `kernel` and `initrd` in menu.lst against the disk's files"
_ROOT_LINE = "Check the `root (hdX,Y)` line in menu.lst"
_STAGES = "Install GRUB again (`grub --batch` with `root` and `setup`)"

GRUB_ERRORS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        1: (
            "Filename must be either an absolute pathname or blocklist",
            "Begin the paths in menu.lst with `/` or `(hdX,Y)/`.",
        ),
        2: (
            "Bad file or directory type",
            f"{_KERNEL_PATH}: one is no plain file, or the file system has features that GRUB "
            "Legacy does not read (inodes larger than 256 bytes).",
        ),
        3: ("Bad or corrupt data while decompressing file", "The kernel or initrd is damaged."),
        4: (
            "Bad or incompatible header in compressed file",
            "The kernel or initrd is damaged or cut short.",
        ),
        5: ("Partition table invalid or corrupt", "Write the partition table again."),
        6: (
            "Mismatched or corrupt version of stage1/stage2",
            f"{_STAGES}: its files on the disk are not those it was installed from.",
        ),
        7: ("Loading below 1MB is not supported", "Use a bzImage kernel."),
        8: ("Kernel must be loaded before booting", "Give the menu.lst entry a `kernel` line."),
        9: ("Unknown boot failure", "Check the menu.lst entry's `kernel` line."),
        10: ("Unsupported Multiboot features requested", "Name a Linux kernel in menu.lst."),
        11: (
            "Unrecognized device string",
            f"{_ROOT_LINE}: a device is written `(hd0,0)`.",
        ),
        12: (
            "Invalid device requested",
            f"{_ROOT_LINE}: a device is written `(hd0,0)`, a partition number included.",
        ),
        13: (
            "Invalid or unsupported executable format",
            "Check the `kernel` line in menu.lst: the file it names is no Linux kernel "
            "(an initrd, a vmlinux or a damaged file?).",
        ),
        14: (
            "Filesystem compatibility error, cannot read whole file",
            "Keep the kernel within the part of the disk that the BIOS reads.",
        ),
        15: (
            "File not found",
            f"{_KERNEL_PATH} (symbolic links that leave the file system and a separate /boot "
            "count too), or add a `fallback` entry.",
        ),
        16: (
            "Inconsistent filesystem structure",
            "The file system is damaged or has features GRUB Legacy does not read; make ext4 "
            "with `^64bit,^metadata_csum`.",
        ),
        17: (
            "Cannot mount selected partition",
            f"{_ROOT_LINE}: that partition holds no file system GRUB Legacy reads. A file system "
            "on the whole disk (`root (hd0)`) is read by PV-GRUB only.",
        ),
        18: (
            "Selected cylinder exceeds maximum supported by BIOS",
            "The partition reaches beyond the disk's end: the disk was cut short, or /boot lies "
            "beyond what the BIOS reads.",
        ),
        19: (
            "Linux kernel must be loaded before initrd",
            "Put `kernel` before `initrd` in menu.lst, and check its spelling: a command that GRUB "
            "does not know is left out.",
        ),
        20: (
            "Multiboot kernel must be loaded before modules",
            "Put `kernel` before `module` in menu.lst.",
        ),
        21: (
            "Selected disk does not exist",
            f"{_ROOT_LINE}: EC2 and QEMU show the root disk as hd0.",
        ),
        22: (
            "No such partition",
            f"{_ROOT_LINE}: GRUB Legacy counts partitions from 0, (hd0,0) is the first.",
        ),
        23: ("Error while parsing number", "Check the numbers in menu.lst."),
        24: (
            "Attempt to access block outside partition",
            "The file system is larger than its partition: make the partition larger, or resize "
            "the file system.",
        ),
        25: (
            "Disk read error",
            "The disk ends before what GRUB read: it was cut short, or its partition table "
            "reaches beyond its end.",
        ),
        26: ("Too many symbolic links", "Name the kernel itself in menu.lst, not a link."),
        27: ("Unrecognized command", "Check the spelling of menu.lst's commands."),
        28: (
            "Selected item cannot fit into memory",
            "Make the initrd smaller, or give the machine more memory.",
        ),
        29: ("Disk write error", "Take `savedefault` out of menu.lst."),
        30: ("Invalid argument", "Check the arguments of menu.lst's commands."),
        31: ("File is not sector aligned", "Take `savedefault` out of menu.lst."),
        32: ("Must be authenticated", "Take `password` and `lock` out of menu.lst."),
        33: ("Serial device not configured", "Put `serial` before `terminal` in menu.lst."),
        34: ("No spare sectors on the disk", "Start the first partition at 1 MiB."),
        35: ("Overflow while parsing number", "Check the numbers in menu.lst."),
    }
)


def explain_grub_error(number: int, *, is_bare: bool) -> tuple[str, str]:
    """Return what GRUB Legacy's `Error number` means, and what to change.

    A bare number, without its text, comes from stage 1.5: no menu was read yet.
    """
    meaning, hint = GRUB_ERRORS.get(number, ("a number that GRUB 0.97 does not have", ""))
    if is_bare:
        hint = (
            "GRUB did not come as far as its menu: it could not read /boot/grub/stage2. "
            f"{_STAGES}, and check that the disk was not cut short and that GRUB reads its file "
            "system."
        )
    return meaning, hint or f"{_STAGES}."
