"""What the kernel says when it cannot go on. Texts come from Linux 6.1."""

import re

from imgforge.acceptance.record import StageName
from imgforge.acceptance.sign import (
    FORMAT_HINT,
    INIT_HINT,
    KERNEL_HINT,
    MEMORY_HINT,
    ROOT_HINT,
    Effect,
    Sign,
    Where,
    kernel_text,
)

_KERNEL, _INIT = StageName.KERNEL, StageName.INIT
_PANIC = "Kernel panic - not syncing: "
_STUCK_HINT = KERNEL_HINT + " A host with too many machines at once can cause it too."
_INITRD_HINT = "Make the initrd again: it is damaged, cut short, or packed as the kernel cannot."
_DISK_HINT = "Build the disk again; a disk that was copied or resized may be cut short."
_SERVICES = r"sshd|dropbear|cloud-init|systemd(?:-\w+)?|dbus-daemon|dhclient|udhcpc|NetworkManager"

PANICS: tuple[Sign, ...] = (
    Sign(
        id="panic-no-root",
        needle="Unable to mount root fs",
        pattern=kernel_text(r"(?:Kernel panic - not syncing: )?VFS: Unable to mount root fs on "),
        stage=_KERNEL,
        meaning="the kernel found no root file system",
        hint=ROOT_HINT,
        effect=Effect.SYMPTOM,
    ),
    Sign(
        id="panic-no-init",
        needle=_PANIC,
        pattern=kernel_text(_PANIC + r"(?:No working init found|No init found|Requested init )"),
        stage=_INIT,
        meaning="the kernel found no init to start",
        hint=INIT_HINT,
        effect=Effect.SYMPTOM,
    ),
    Sign(
        id="panic-init-killed",
        needle="Attempted to kill init!",
        pattern=kernel_text(_PANIC + r"Attempted to kill init!"),
        stage=_INIT,
        meaning="init ended, and the kernel panicked",
        hint="Init must never return: see the lines above for what ended it. " + INIT_HINT,
        effect=Effect.SYMPTOM,
    ),
    Sign(
        id="panic-out-of-memory",
        needle="emory",
        pattern=kernel_text(
            r"(?:Kernel panic - not syncing: (?:Out of memory|System is deadlocked on memory)"
            r"|Out of memory and no killable processes)"
        ),
        stage=_KERNEL,
        meaning="the kernel ran out of memory and panicked",
        hint=MEMORY_HINT,
    ),
    *(
        Sign(
            id=sign_id,
            needle=_PANIC,
            pattern=kernel_text(_PANIC + text),
            stage=_KERNEL,
            meaning=meaning,
            hint=_STUCK_HINT,
        )
        for sign_id, text, meaning in (
            ("hung-task", r"hung_task: blocked tasks", "a program was stuck in the kernel"),
            ("rcu-stall", r"RCU Stall", "a processor was stuck in the kernel (RCU stall)"),
            ("soft-lockup", r"softlockup: hung tasks", "a processor was stuck in the kernel"),
            (
                "hard-lockup",
                r"Hard LOCKUP",
                "a processor was stuck in the kernel with interrupts off",
            ),
        )
    ),
    Sign(
        id="kernel-panic",
        needle="Kernel panic - not syncing",
        pattern=kernel_text(r"Kernel panic - not syncing"),
        stage=_KERNEL,
        meaning="the kernel panicked",
        hint=KERNEL_HINT,
    ),
)

FAULTS: tuple[Sign, ...] = (
    *(
        Sign(
            id="kernel-oops",
            needle=needle,
            pattern=kernel_text(text),
            stage=_KERNEL,
            meaning="the kernel hit a fault of its own",
            hint=KERNEL_HINT,
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
        id="hard-lockup",
        needle="hard LOCKUP on cpu",
        pattern=kernel_text(r"(?:NMI )?(?:watchdog: )?Watchdog detected hard LOCKUP on cpu"),
        stage=_KERNEL,
        meaning="a processor was stuck in the kernel with interrupts off",
        hint=_STUCK_HINT,
    ),
    Sign(
        # One short lockup is what a busy host without KVM looks like from inside.
        id="soft-lockup",
        needle="soft lockup - CPU#",
        pattern=kernel_text(
            r"(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck for (?:[4-9]\d|\d{3,})s"
        ),
        stage=_KERNEL,
        meaning="a processor was stuck in the kernel",
        hint=_STUCK_HINT,
    ),
    Sign(
        id="hung-task",
        needle="blocked for more than",
        pattern=kernel_text(r"INFO: task (?:systemd|init):1 blocked for more than \d+ seconds"),
        stage=_INIT,
        meaning="a program was stuck in the kernel",
        hint=_STUCK_HINT,
    ),
    *(
        Sign(
            id=sign_id,
            needle=needle,
            pattern=kernel_text(text),
            stage=None,
            meaning=meaning,
            hint=_STUCK_HINT,
            effect=Effect.WEAK_CAUSE,
        )
        for sign_id, needle, text, meaning in (
            (
                "soft-lockup",
                "soft lockup - CPU#",
                r"(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck ",
                "a processor was stuck in the kernel",
            ),
            (
                "hung-task",
                "blocked for more than",
                r"INFO: task .+ blocked for more than \d+ seconds",
                "a program was stuck in the kernel",
            ),
            (
                "rcu-stall",
                "stall",
                r"(?:rcu: )?INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls? ",
                "a processor was stuck in the kernel (RCU stall)",
            ),
        )
    ),
    Sign(
        id="wrong-cpu",
        needle="This kernel requires",
        pattern=re.compile(r"^\s*This kernel requires (?:an? \S+ CPU|the following features)"),
        stage=_KERNEL,
        meaning="the kernel is built for another processor",
        hint="Install a kernel for the machine's architecture, x86-64.",
        where=Where.EITHER,
        until=StageName.INITRAMFS,
    ),
    Sign(
        id="kernel-damaged",
        needle="-- System halted",
        pattern=re.compile(r"^\s*-- System halted\s*$"),
        stage=_KERNEL,
        meaning="the kernel could not unpack itself",
        hint="Copy the kernel again: its file is damaged, or the machine has too little memory.",
        where=Where.EITHER,
        until=StageName.INITRAMFS,
    ),
)

MEMORY: tuple[Sign, ...] = (
    Sign(
        id="init-out-of-memory",
        needle="emory",
        pattern=kernel_text(r"(?:Out of memory|Memory cgroup out of memory): Killed process 1 \("),
        stage=_INIT,
        meaning="the kernel killed init for want of memory",
        hint=MEMORY_HINT,
    ),
    Sign(
        id="service-out-of-memory",
        needle="ut of memory: Killed process",
        pattern=kernel_text(rf"Out of memory: Killed process \d+ \((?:{_SERVICES})\)"),
        stage=None,
        meaning="the kernel killed a service that the boot needs, for want of memory",
        hint=MEMORY_HINT,
    ),
    Sign(
        id="process-out-of-memory",
        needle="ut of memory: Killed process",
        pattern=kernel_text(r"Out of memory: Killed process \d+ \("),
        stage=None,
        meaning="the kernel killed a program for want of memory",
        hint=MEMORY_HINT,
        effect=Effect.CAUSE,
    ),
)

# Causes only: a boot goes on after most of these, and where it does not, another sign says so.
DISKS: tuple[Sign, ...] = (
    Sign(
        id="initrd-damaged",
        needle="Initramfs unpacking failed",
        pattern=kernel_text(r"Initramfs unpacking failed: "),
        stage=None,
        meaning="the kernel could not unpack the initrd",
        hint=_INITRD_HINT,
        effect=Effect.CAUSE,
        until=StageName.INIT,
    ),
    Sign(
        id="init-wrong-format",
        needle="exists but couldn't execute it (error -8)",
        pattern=kernel_text(r"Starting init: .* exists but couldn't execute it \(error -8\)"),
        stage=_INIT,
        meaning="init is no program for this processor",
        hint=FORMAT_HINT,
        effect=Effect.CAUSE,
    ),
    *(
        Sign(
            id="filesystem-error",
            needle=needle,
            pattern=kernel_text(text),
            stage=None,
            meaning="the kernel found a file system damaged",
            hint="Run fsck on the disk's file system, or build the disk again.",
        )
        for needle, text in (
            ("EXT4-fs error", r"EXT4-fs error \(device \S+\): "),
            ("EXT3-fs error", r"EXT3-fs error \(device \S+\): "),
            ("EXT2-fs (", r"EXT2-fs \(\S+\): error: "),
            ("XFS (", r"XFS \(\S+\): (?:Corruption |Metadata corruption |Internal error )"),
            ("BTRFS", r"BTRFS (?:error|critical) \(device \S+\): .*(?:corrupt|failed)"),
        )
    ),
    *(
        Sign(
            id="root-unreadable",
            needle=needle,
            pattern=kernel_text(text),
            stage=None,
            meaning="the kernel cannot read the file system it was to mount",
            hint="Check rootfstype= and the file system's features against the kernel and its "
            "modules, and that root= is the partition meant.",
            effect=Effect.CAUSE,
            until=_INIT,
        )
        for needle, text in (
            (
                "EXT4-fs (",
                r"EXT4-fs \(\S+\): (?:VFS: Can't find ext4|couldn't mount |bad geometry)",
            ),
            ("EXT4-fs (", r"EXT4-fs \(\S+\): (?:unable to read superblock|.*mounted RDWR because)"),
            (
                "XFS (",
                r"XFS \(\S+\): (?:Invalid superblock magic|SB validate failed|.*unsupported)",
            ),
        )
    ),
    *(
        Sign(
            id="disk-read-error",
            needle=needle,
            pattern=kernel_text(text),
            stage=None,
            meaning="the disk could not be read, or ends too early",
            hint=_DISK_HINT,
            effect=Effect.CAUSE,
        )
        for needle, text in (
            ("I/O error, dev", r"(?:\w+: )?(?:\w+ )?I/O error, dev (?!fd|sr|loop)\w+, sector"),
            ("Buffer I/O error", r"Buffer I/O error on dev(?:ice)? (?!fd|sr|loop)"),
            ("access beyond end of device", r".*attempt to access beyond end of device"),
        )
    ),
)
