"""What the initramfs and init say: initramfs-tools, dracut, busybox, klibc, systemd 252, glibc."""

import re

from imgforge.acceptance.record import StageName
from imgforge.acceptance.sign import (
    FORMAT_HINT,
    FSTAB_HINT,
    INIT_HINT,
    ROOT_HINT,
    UNIT_HINT,
    Effect,
    Sign,
    Where,
    program_text,
)

_INITRAMFS, _INIT = StageName.INITRAMFS, StageName.INIT
_NO_ROOT = "the initramfs did not find the root file system"
_NO_MOUNT = "the initramfs found the root file system, but cannot mount it"
_MOUNT_HINT = (
    "Check root= and rootfstype= against the disk's file system, that the initrd has its driver, "
    "and run fsck on it."
)
_SWITCHED = r"(?:^|\] )(?:switch_root|run-init): .*"

INITRAMFS: tuple[Sign, ...] = (
    Sign(
        id="initramfs-no-root",
        needle="does not exist",
        pattern=re.compile(
            r"^\s*(?:ALERT!\s+\S.* does not exist|.*Warning: /dev/\S+ does not exist$)"
        ),
        stage=_INITRAMFS,
        meaning=_NO_ROOT,
        hint=ROOT_HINT,
        effect=Effect.SYMPTOM,
        until=_INIT,
    ),
    Sign(
        id="initramfs-no-root",
        needle="No root device specified",
        pattern=re.compile(r"^\s*No root device specified\. Boot arguments must include"),
        stage=_INITRAMFS,
        meaning=_NO_ROOT,
        hint=ROOT_HINT,
        until=_INIT,
    ),
    # guest/initrd/init, each call of its `fail`.
    *(
        Sign(
            id=sign_id,
            needle="imgforge-initramfs: ",
            pattern=re.compile("imgforge-initramfs: " + text),
            stage=_INITRAMFS,
            meaning=meaning,
            hint=hint,
            effect=Effect.SYMPTOM,
            until=_INIT,
        )
        for sign_id, text, meaning, hint in (
            (
                "initramfs-no-root",
                r"(?:the kernel's command line has no root=|root \S+ not found )",
                _NO_ROOT,
                ROOT_HINT,
            ),
            (
                "initramfs-cannot-mount",
                r"root \S+ \(\S+\) cannot be mounted",
                _NO_MOUNT,
                _MOUNT_HINT,
            ),
            (
                "initramfs-no-init",
                r"root \S+ \(\S+\) has no ",
                "the initramfs found no init on the root file system",
                INIT_HINT,
            ),
        )
    ),
    Sign(
        # initramfs-tools, scripts/local.
        id="initramfs-cannot-mount",
        needle="as root file system",
        pattern=re.compile(r"^\s*Failed to mount \S+ as root file system\."),
        stage=_INITRAMFS,
        meaning=_NO_MOUNT,
        hint=_MOUNT_HINT,
        effect=Effect.SYMPTOM,
        until=_INIT,
    ),
    Sign(
        id="initramfs-shell",
        needle="(initramfs)",
        pattern=re.compile(r"^\s*\(initramfs\)(?:\s|$)"),
        stage=_INITRAMFS,
        meaning="the initramfs gave up and waits in its shell",
        hint=ROOT_HINT,
        effect=Effect.SYMPTOM,
        where=Where.EITHER,
        until=_INIT,
    ),
    Sign(
        id="initramfs-shell",
        needle="dracut",
        pattern=re.compile(r"^dracut:/# *$|dracut-initqueue.*: Warning: Could not boot\.?$"),
        stage=_INITRAMFS,
        meaning="the initramfs gave up and waits in its shell",
        hint=ROOT_HINT,
        effect=Effect.SYMPTOM,
        where=Where.EITHER,
    ),
    Sign(
        id="init-wrong-format",
        needle="Exec format error",
        pattern=re.compile(_SWITCHED + r"Exec format error"),
        stage=_INIT,
        meaning="init is no program for this processor",
        hint=FORMAT_HINT,
    ),
    Sign(
        id="init-not-executable",
        needle="Permission denied",
        pattern=re.compile(_SWITCHED + r"Permission denied"),
        stage=_INIT,
        meaning="init may not be executed",
        hint="Give init and the folders above it their x bits (mode 0755).",
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
        hint=INIT_HINT + " A script whose `#!` program is missing counts as missing itself.",
    ),
)

INIT: tuple[Sign, ...] = (
    Sign(
        id="libc-needs-newer-kernel",
        needle="kernel too old",
        pattern=program_text(r"FATAL: kernel too old\s*$"),
        stage=_INIT,
        meaning="the C library needs a newer kernel",
        hint="Install a kernel that is as new as the distribution.",
    ),
    Sign(
        id="libc-needs-newer-cpu",
        needle="CPU does not support",
        pattern=program_text(r"Fatal glibc error: CPU does not support \S+"),
        stage=_INIT,
        meaning="the C library needs a newer processor",
        hint="The distribution is built for x86-64-v2 or v3: choose an instance type that has it.",
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
        hint=FSTAB_HINT,
        effect=Effect.SYMPTOM,
    ),
    *(
        Sign(
            id=sign_id,
            needle=needle,
            pattern=re.compile(text),
            stage=_INIT,
            meaning=meaning,
            hint=hint,
            effect=Effect.SYMPTOM,
            where=Where.EITHER,
        )
        for sign_id, needle, text, meaning, hint in (
            (
                "emergency-mode",
                "emergency",
                r"^\s*(?:You are in|Entering|Welcome to) emergency mode[.! ]",
                "systemd stopped in emergency mode",
                UNIT_HINT,
            ),
            (
                "rescue-shell",
                "rescue",
                r"^\s*(?:You are in rescue mode|Welcome to rescue mode)",
                "systemd stopped in rescue mode",
                "Take `single` or `rescue` off the kernel's command line. " + UNIT_HINT,
            ),
            (
                "maintenance-shell",
                "for maintenance",
                r"^\s*(?:Give root password for|Press Enter for) maintenance",
                "the boot stopped in a maintenance shell",
                UNIT_HINT,
            ),
            (
                "maintenance-shell",
                "Cannot open access to console",
                r"^\s*Cannot open access to console, the root account is locked",
                "the boot stopped in a maintenance shell",
                UNIT_HINT,
            ),
        )
    ),
    Sign(
        id="fsck-failed",
        needle="fsck",
        pattern=re.compile(r"requires a manual fsck|UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY"),
        stage=_INIT,
        meaning="fsck found damage that it does not repair by itself",
        hint="Run fsck on the disk's file system, or build the disk again.",
        effect=Effect.CAUSE,
    ),
    *(
        Sign(
            id="fstab-device-missing",
            needle="imed out",
            pattern=re.compile(text),
            stage=_INIT,
            meaning="a device that /etc/fstab or crypttab names did not appear",
            hint=FSTAB_HINT,
            effect=Effect.CAUSE,
        )
        for text in (
            r"(?:\[ *TIME *\]|systemd\[1\]:) *Timed out waiting for device ",
            r"systemd\[1\]: \S+\.device: Job \S+ timed out",
        )
    ),
    *(
        Sign(
            id="fstab-mount-failed",
            needle=needle,
            pattern=re.compile(text),
            stage=_INIT,
            meaning="a file system of /etc/fstab was not mounted",
            hint=FSTAB_HINT,
            effect=Effect.CAUSE,
        )
        for needle, text in (
            ("Failed to mount ", r"(?:\[FAILED\]|systemd\[1\]:) *Failed to mount "),
            (
                "Dependency failed for ",
                r"(?:\[DEPEND\]|systemd\[1\]:) *Dependency failed for (?:\S+ - )?(?:/|Local File)",
            ),
        )
    ),
    Sign(
        id="selinux-relabel",
        needle="elabel",
        pattern=re.compile(r"SELinux \S+ policy relabel is required|Relabeling could take a very"),
        stage=_INIT,
        meaning="SELinux relabels the whole disk and reboots",
        hint="Label the files when the image is built (`setfiles`), and leave out /.autorelabel.",
        effect=Effect.CAUSE,
    ),
    Sign(
        # busybox's init, for each line of inittab.
        id="inittab-program-missing",
        needle="can't run '",
        pattern=re.compile(r"^\s*can't run '(?!\S*(?:dropbear|sshd)')"),
        stage=None,
        meaning="init could not start a program that inittab names",
        hint="Check /etc/inittab against the files of the root tree, and their x bits and `#!` "
        "programs.",
        effect=Effect.CAUSE,
    ),
)
