"""The fatal signs: what on a console means that a boot will not succeed, in one table.

Texts come from Linux 6.1, GRUB 0.97, SeaBIOS 1.16, initramfs-tools, dracut, busybox, klibc and
systemd 252.
"""

import re
from dataclasses import dataclass
from enum import Enum
from re import Pattern

from imgforge.acceptance.record import StageName


class Where(Enum):
    """Where a sign shows: in whole lines only, or also in a line without its end (a prompt)."""

    LINE = 1
    EITHER = 2


@dataclass(frozen=True, slots=True)
class Sign:
    """A row of the table.

    `needle` is plain text that every match contains: a flooding guest then costs one substring
    search for each sign and line, not one regular expression. `stage` is the stage that failed.
    The sign counts only until `until` is reached (GRUB is gone once a kernel runs). A `tentative`
    one is fatal only if nothing boots after it: GRUB prints an error, then takes the fallback.
    """

    id: str
    needle: str
    pattern: Pattern[str]
    stage: StageName
    meaning: str
    hint: str
    where: Where = Where.LINE
    until: StageName | None = None
    tentative: bool = False


def _kernel(text: str) -> Pattern[str]:
    # printk begins a line or follows its time stamp; elsewhere it is a program quoting a kernel.
    return re.compile(r"(?:^(?:<\d>)?|\] |\[ end )" + text)


_ROOT_HINT = (
    "Check root= on the kernel's command line against the file system's label, and that the "
    "drivers of the disk (nvme, virtio_blk, xen-blkfront) and of the file system are built in or "
    "in the initrd."
)
_INIT_HINT = (
    "Check that the root tree has an executable /sbin/init, with its interpreter and libraries."
)
_MEMORY_HINT = "Give the machine more memory, or make the initrd and the services smaller."
_KERNEL_HINT = "Try another kernel, or look for the driver named in the lines above."
_FSTAB_HINT = "Check /etc/fstab: each file system it names must exist, or have `nofail`."
_GRUB_HINT = "Install GRUB again (`grub --batch` with `root` and `setup`): its parts do not match."
_NO_BOOT_HINT = "The disk has no boot sector: build it with an hvm layout, GRUB in its MBR."
_UNIT_HINT = "Look for the first unit that failed in the lines above. " + _FSTAB_HINT

_FIRMWARE, _BOOTLOADER = StageName.FIRMWARE, StageName.BOOTLOADER
_KERNEL, _INITRAMFS, _INIT = StageName.KERNEL, StageName.INITRAMFS, StageName.INIT

# The first row that matches names the failure: particular panics stand before the general one.
SIGNS: tuple[Sign, ...] = (
    Sign(
        id="panic-no-root",
        needle="Unable to mount root fs",
        pattern=_kernel(r"(?:Kernel panic - not syncing: )?VFS: Unable to mount root fs on "),
        stage=_KERNEL,
        meaning="the kernel found no root file system",
        hint=_ROOT_HINT,
    ),
    Sign(
        id="panic-no-init",
        needle="Kernel panic - not syncing: ",
        pattern=_kernel(
            r"Kernel panic - not syncing: (?:No working init found|No init found|Requested init )"
        ),
        stage=_INIT,
        meaning="the kernel found no init to start",
        hint=_INIT_HINT,
    ),
    Sign(
        id="panic-init-killed",
        needle="Attempted to kill init!",
        pattern=_kernel(r"Kernel panic - not syncing: Attempted to kill init!"),
        stage=_INIT,
        meaning="init ended, and the kernel panicked",
        hint="Init must never return: see the lines above for what ended it. " + _INIT_HINT,
    ),
    Sign(
        id="panic-out-of-memory",
        needle="emory",
        pattern=_kernel(
            r"(?:Kernel panic - not syncing: (?:Out of memory|System is deadlocked on memory)"
            r"|Out of memory and no killable processes)"
        ),
        stage=_KERNEL,
        meaning="the kernel ran out of memory and panicked",
        hint=_MEMORY_HINT,
    ),
    Sign(
        id="init-out-of-memory",
        needle="emory",
        pattern=_kernel(r"(?:Out of memory|Memory cgroup out of memory): Killed process 1 \("),
        stage=_INIT,
        meaning="the kernel killed init for want of memory",
        hint=_MEMORY_HINT,
    ),
    Sign(
        id="kernel-panic",
        needle="Kernel panic - not syncing",
        pattern=_kernel(r"Kernel panic - not syncing"),
        stage=_KERNEL,
        meaning="the kernel panicked",
        hint=_KERNEL_HINT,
    ),
    *(
        Sign(
            id="kernel-oops",
            needle=needle,
            pattern=_kernel(text),
            stage=_KERNEL,
            meaning="the kernel hit a fault of its own",
            hint=_KERNEL_HINT,
        )
        for needle, text in (
            ("Oops: ", r"Oops: .*\[#\d+\]"),
            ("kernel BUG at ", r"kernel BUG at .+:\d+!"),
            ("BUG: unable to handle", r"BUG: unable to handle "),
            ("BUG: kernel NULL", r"BUG: kernel NULL pointer dereference"),
            ("general protection fault", r"general protection fault,? .*\[#\d+\]"),
        )
    ),
    Sign(
        # One short lockup is what a busy host without KVM looks like from inside.
        id="soft-lockup",
        needle="soft lockup - CPU#",
        pattern=_kernel(r"(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck for (?:[4-9]\d|\d{3,})s"),
        stage=_KERNEL,
        meaning="a processor of the machine was stuck in the kernel for over 40 s",
        hint=_KERNEL_HINT + " A host with too many machines at once can cause it too.",
    ),
    Sign(
        id="grub-error",
        needle="Error ",
        pattern=re.compile(r"^\s*Error (?P<number>[1-9]\d?)(?::|\s*$)"),
        stage=_BOOTLOADER,
        meaning="GRUB Legacy stopped",
        hint="",  # by its number
        where=Where.EITHER,
        until=_KERNEL,
        tentative=True,
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
        hint=_GRUB_HINT,
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="grub-no-entry-boots",
        needle="Failed to boot both default and fallback entries",
        pattern=re.compile(r"Failed to boot both default and fallback entries"),
        stage=_BOOTLOADER,
        meaning="neither menu.lst's default entry nor its fallback boots",
        hint="Check the paths of `kernel` and `initrd` in menu.lst against the disk's files.",
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="firmware-no-boot-device",
        needle="oot",
        pattern=re.compile(r"^\s*(?:No bootable device|Boot failed: |FATAL: No bootable medium)"),
        stage=_FIRMWARE,
        meaning="the firmware found nothing to boot from",
        hint=_NO_BOOT_HINT,
        where=Where.EITHER,
        until=_KERNEL,
    ),
    Sign(
        id="initramfs-no-root",
        needle="does not exist",
        pattern=re.compile(
            r"^\s*(?:ALERT!\s+\S.* does not exist|.*Warning: /dev/\S+ does not exist$)"
        ),
        stage=_INITRAMFS,
        meaning="the initramfs did not find the root file system",
        hint=_ROOT_HINT,
        until=_INIT,
    ),
    Sign(
        # guest/initrd/init, each call of its `fail`.
        id="initramfs-failed",
        needle="imgforge-initramfs: ",
        pattern=re.compile(
            r"imgforge-initramfs: (?:the kernel's command line has no root="
            r"|root \S+ not found |root \S+ \(\S+\) (?:cannot be mounted|has no ))"
        ),
        stage=_INITRAMFS,
        meaning="the initramfs could not go on to the root file system",
        hint=f"{_ROOT_HINT} {_INIT_HINT}",
        until=_INIT,
    ),
    Sign(
        id="initramfs-shell",
        needle="(initramfs)",
        pattern=re.compile(r"^\s*\(initramfs\)(?:\s|$)"),
        stage=_INITRAMFS,
        meaning="the initramfs gave up and waits in its shell",
        hint=_ROOT_HINT,
        where=Where.EITHER,
        until=_INIT,
    ),
    Sign(
        id="initramfs-shell",
        needle="dracut",
        pattern=re.compile(r"^dracut:/# *$|dracut-initqueue.*: Warning: Could not boot\.?$"),
        stage=_INITRAMFS,
        meaning="the initramfs gave up and waits in its shell",
        hint=_ROOT_HINT,
        where=Where.EITHER,
    ),
    Sign(
        id="switch-root-failed",
        needle="init",
        pattern=re.compile(
            r"(?:^|\] )(?:switch_root: (?:can't execute|failed to execute) |switch_root: .*init.*:"
            r"|run-init: (?:can't execute|opening console|.*: No such file)"
            r"|No init found\. Try passing init= bootarg)"
        ),
        stage=_INIT,
        meaning="the initramfs found the root file system, but no init on it",
        hint=_INIT_HINT,
    ),
    Sign(
        id="systemd-frozen",
        needle="reezing execution",
        pattern=re.compile(
            r"systemd\[1\]: .*[Ff]reezing execution|^\[!+\] .*[Ff]reezing execution"
        ),
        stage=_INIT,
        meaning="systemd could not go on and froze",
        hint="See the message above it: systemd lacks a mount, a folder or memory.",
    ),
    Sign(
        id="mount-failed",
        needle="Failed to mount ",
        pattern=re.compile(
            r"(?:\[FAILED\]|systemd\[1\]:) *Failed to mount (?:\S+\.mount - )?(?:/|/sysroot)\.*\s*$"
        ),
        stage=_INIT,
        meaning="systemd could not mount the root file system",
        hint=_FSTAB_HINT,
    ),
    Sign(
        id="emergency-mode",
        needle="emergency",
        pattern=re.compile(r"^\s*(?:You are in|Entering|Welcome to) emergency mode[.! ]"),
        stage=_INIT,
        meaning="systemd fell back to emergency mode",
        hint=_UNIT_HINT,
        where=Where.EITHER,
    ),
    Sign(
        id="rescue-shell",
        needle="rescue",
        pattern=re.compile(r"^\s*(?:You are in rescue mode|Welcome to rescue mode)"),
        stage=_INIT,
        meaning="systemd stopped in rescue mode",
        hint="Take `single` or `rescue` off the kernel's command line. " + _UNIT_HINT,
        where=Where.EITHER,
    ),
    Sign(
        id="emergency-mode",
        needle="for maintenance",
        pattern=re.compile(r"^\s*(?:Give root password for|Press Enter for) maintenance"),
        stage=_INIT,
        meaning="the boot stopped in a maintenance shell",
        hint=_UNIT_HINT,
        where=Where.EITHER,
    ),
    Sign(
        id="emergency-mode",
        needle="Cannot open access to console",
        pattern=re.compile(r"^\s*Cannot open access to console, the root account is locked"),
        stage=_INIT,
        meaning="the boot stopped in a maintenance shell that nobody may enter",
        hint=_UNIT_HINT,
        where=Where.EITHER,
    ),
)
