"""What the firmware and the boot loader say: SeaBIOS 1.16, GRUB 0.97, GRUB 2."""

import re

from imgforge.acceptance.record import StageName
from imgforge.acceptance.sign import Effect, Sign, Where

_FIRMWARE, _BOOTLOADER, _KERNEL = StageName.FIRMWARE, StageName.BOOTLOADER, StageName.KERNEL
_PATH_HINT = "Check the paths of `kernel` and `initrd` in menu.lst against the disk's files."

BOOT_LOADER: tuple[Sign, ...] = (
    Sign(
        id="grub-error",
        needle="Error ",
        pattern=re.compile(r"^\s*Error (?P<number>[1-9]\d?)(?::|\s*$)"),
        stage=_BOOTLOADER,
        meaning="GRUB Legacy stopped",
        hint="",  # by its number
        effect=Effect.TENTATIVE,
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="grub-waits-for-a-key",
        needle="Press any key to continue",
        pattern=re.compile(r"^\s*Press any key to continue"),
        stage=_BOOTLOADER,
        meaning="GRUB Legacy gave up and waits for a key",
        hint="See the message above it; a `fallback` entry in menu.lst would be tried instead.",
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="grub-prompt",
        # GRUB clears the rest of the line and moves the cursor back: that may end the line.
        needle="grub",
        pattern=re.compile(r"^\s*grub(?: rescue)?>\s*$"),
        stage=_BOOTLOADER,
        meaning="GRUB found no menu and waits at its prompt",
        hint="GRUB looks for /boot/grub/menu.lst on the partition it was installed with.",
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="grub-disk-error",
        needle=" Error",
        pattern=re.compile(
            r"(?:^|GRUB )\s*(?:Hard Disk|Read|Geom|Floppy) Error|^Disk error$|GRUB .*Read Error"
        ),
        stage=_BOOTLOADER,
        meaning="GRUB's first sector could not read the disk",
        hint="Install GRUB again (`grub --batch` with `root` and `setup`): its parts do not match.",
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="grub-no-entry-boots",
        needle="Failed to boot both default and fallback entries",
        pattern=re.compile(r"Failed to boot both default and fallback entries"),
        stage=_BOOTLOADER,
        meaning="neither menu.lst's default entry nor its fallback boots",
        hint=_PATH_HINT,
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="pv-grub-error",
        needle="error: ",
        pattern=re.compile(
            r"^\s*error: (?:couldn't load file|file `.*' not found|no such (?:device|partition)|"
            r"not xen image|invalid arch|bad kernel|premature end|unknown filesystem|"
            r"out of memory|you need to load|.*decompress|.*magic|.*ELF)"
        ),
        stage=_BOOTLOADER,
        meaning="the stand-in for PV-GRUB could not start an entry",
        hint=_PATH_HINT + " The kernel must be one for Xen PV, of PV-GRUB's width.",
        effect=Effect.TENTATIVE,
        until=_KERNEL,
    ),
    Sign(
        id="pv-grub-no-menu",
        needle="imgforge-pvgrub: there is no",
        pattern=re.compile(r"^imgforge-pvgrub: there is no (?:menu\.lst|disk)"),
        stage=_BOOTLOADER,
        meaning="there is no menu.lst where PV-GRUB looks",
        hint="PV-GRUB looks in nine places, in order: (hd0)/boot/grub, then /boot/grub and /grub "
        "of the first four partitions; 1.03 and earlier in one of the first two.",
        until=_KERNEL,
    ),
    Sign(
        id="pv-grub-starts-nothing",
        needle=" started nothing",
        pattern=re.compile(r"^imgforge-pvgrub: .* started nothing"),
        stage=_BOOTLOADER,
        meaning="menu.lst has no entry that starts a kernel",
        hint="Give menu.lst a title with a kernel.",
        until=_KERNEL,
    ),
    Sign(
        id="firmware-no-boot-device",
        needle="oot",
        pattern=re.compile(r"^\s*(?:No bootable device|Boot failed: |FATAL: No bootable medium)"),
        stage=_FIRMWARE,
        meaning="the firmware found nothing to boot from",
        hint="The disk has no boot sector: build it with an hvm layout, GRUB in its MBR.",
        where=Where.EITHER,
        until=_KERNEL,
    ),
)
