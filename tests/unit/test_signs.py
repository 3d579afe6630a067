"""The table of fatal signs: each is found, and what only looks like one is not."""

import re
from pathlib import Path

import pytest

from imgforge.acceptance.record import StageName
from imgforge.acceptance.signs import SIGNS
from imgforge.acceptance.watch import Watch
from imgforge.machine import ConsoleBytes, ConsoleLine

INIT = Path(__file__).parents[2] / "guest/initrd/init"

FATAL_LINES = [
    (
        "[    3.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        "panic-no-root",
    ),
    (
        "[    2.803152][    T1] VFS: Unable to mount root fs on unknown-block(259,1)",
        "panic-no-root",
    ),
    (
        "Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.",
        "panic-no-init",
    ),
    (
        "[    1.0] Kernel panic - not syncing: Requested init /sbin/nope failed (error -2).",
        "panic-no-init",
    ),
    (
        "[    4.271] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        "panic-init-killed",
    ),
    (
        "[    9.9] Kernel panic - not syncing: System is deadlocked on memory",
        "panic-out-of-memory",
    ),
    ("[    9.9] Out of memory and no killable processes...", "panic-out-of-memory"),
    (
        "[   22.4] Out of memory: Killed process 1 (systemd) total-vm:168kB, anon-rss:4kB",
        "init-out-of-memory",
    ),
    ("[    1.5] Kernel panic - not syncing: stack-protector: corrupted", "kernel-panic"),
    ("---[ end Kernel panic - not syncing: sysrq triggered crash ]---", "kernel-panic"),
    ("login: [   12.3] Kernel panic - not syncing: Fatal exception", "kernel-panic"),
    ("[    5.0] Oops: 0002 [#1] PREEMPT SMP NOPTI", "kernel-oops"),
    ("[    5.0] BUG: unable to handle page fault for address: ffffffff", "kernel-oops"),
    (
        "[    5.0] BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "kernel-oops",
    ),
    ("[    5.0] kernel BUG at fs/ext4/inode.c:2721!", "kernel-oops"),
    (
        "[    5.0] general protection fault, probably for address 0xdead: 0000 [#1] SMP",
        "kernel-oops",
    ),
    (
        "[   50.1] watchdog: BUG: soft lockup - CPU#0 stuck for 45s! [swapper/0:1]",
        "soft-lockup",
    ),
    ("ALERT!  LABEL=root does not exist.  Dropping to a shell!", "initramfs-no-root"),
    ("imgforge-initramfs: the kernel's command line has no root=", "initramfs-failed"),
    ("imgforge-initramfs: root LABEL=root not found within 30 s", "initramfs-failed"),
    ("imgforge-initramfs: root LABEL=root (/dev/vda) cannot be mounted", "initramfs-failed"),
    ("imgforge-initramfs: root /dev/vda1 (/dev/vda1) has no /sbin/init", "initramfs-failed"),
    ("(initramfs) a shell follows; exit ends the machine", "initramfs-shell"),
    ("(initramfs) cat /proc/cmdline", "initramfs-shell"),
    (
        "dracut-initqueue[312]: Warning: Could not boot.",
        "initramfs-shell",
    ),
    (
        "switch_root: can't execute '/sbin/init': No such file or directory",
        "switch-root-failed",
    ),
    ("run-init: can't execute '/sbin/init': Permission denied", "switch-root-failed"),
    ("No init found. Try passing init= bootarg.", "switch-root-failed"),
    ("[    3.3] systemd[1]: Freezing execution.", "systemd-frozen"),
    ("[!!!!!!] Failed to mount API filesystems, freezing execution.", "systemd-frozen"),
    ("[FAILED] Failed to mount /.", "mount-failed"),
    ("[FAILED] Failed to mount sysroot.mount - /sysroot.", "mount-failed"),
    (
        'You are in emergency mode. After logging in, type "journalctl -xb" to view',
        "emergency-mode",
    ),
    ("Entering emergency mode. Exit the shell to continue.", "emergency-mode"),
    (
        "Cannot open access to console, the root account is locked.",
        "emergency-mode",
    ),
    ("You are in rescue mode. After logging in, type", "rescue-shell"),
    ("No bootable device.", "firmware-no-boot-device"),
    ("Boot failed: not a bootable disk", "firmware-no-boot-device"),
    ("Failed to boot both default and fallback entries.", "grub-no-entry-boots"),
    ("Press any key to continue...", "grub-waits-for-a-key"),
]

FATAL_PENDING = [
    ("grub> ", "grub-prompt"),
    ("grub rescue> ", "grub-prompt"),
    ("GRUB Hard Disk Error", "grub-disk-error"),
    ("GRUB Read Error", "grub-disk-error"),
    ("GRUB Geom Error", "grub-disk-error"),
    ("(initramfs) ", "initramfs-shell"),
    ("dracut:/# ", "initramfs-shell"),
    ("Give root password for maintenance", "emergency-mode"),
    ("Press Enter for maintenance", "emergency-mode"),
]

HARMLESS_LINES = [
    "[    0.000000] Command line: root=LABEL=root ro console=ttyS0 quiet panic=-1 oops=panic",
    "[    0.000000] Kernel command line: root=/dev/vda1 systemd.unit=emergency.target panic=10",
    "$ grep 'Kernel panic - not syncing' /var/log/kern.log",
    'cloud-init[412]: message was "Kernel panic - not syncing: Attempted to kill init!"',
    "[   12.0] Out of memory: Killed process 812 (python3) total-vm:1kB",
    "[   23.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [swapper/1:0]",
    "[   12.0] traps: foo[123] general protection fault ip:7f sp:7f error:0 in libc.so",
    "BUG: this program has a bug of its own: see Oops: the manual",
    "[  OK  ] Mounted /boot.",
    "[FAILED] Failed to mount /mnt/data.",
    "[  OK  ] Reached target Emergency Mode.",
    "systemd[1]: Created slice emergency-mode.slice.",
    "Begin: Running /scripts/local-block ... done.",
    "mount: mounting /dev/vdb on /mnt failed: No such file",
    "  Booting 'minimal'",
    "grub> is the prompt of GRUB",
    "Use (initramfs) shell to repair",
    "(initramfs): see the manual",
    "imgforge-initramfs: root LABEL=root is /dev/vda1",
    "imgforge-initramfs: module virtio_blk.ko does not load: insmod: root not found",
    "imgforge-initramfs: block devices seen: vda vda1",
    "EXT4-fs error: none",
    "",
    "Error",
    "Error 150: teapot",
    "I/O Error 15 in frame 3",
]


def _watch(text: str, *, pending: bool = False, first: str = "") -> Watch:
    watch = Watch(by_bios=True)
    if first:
        watch.take(ConsoleLine(1.0, first))
    watch.take(ConsoleBytes(2.0, text) if pending else ConsoleLine(2.0, text))
    return watch


@pytest.mark.parametrize(("text", "sign"), FATAL_LINES)
def test_finds_a_fatal_line(text: str, sign: str) -> None:
    found = _watch(text).settle()
    assert found is not None
    assert (found.id, found.at_s) == (sign, 2.0)
    assert found.meaning
    assert found.hint


@pytest.mark.parametrize(("text", "sign"), FATAL_PENDING)
def test_finds_a_fatal_prompt_that_has_no_line_end(text: str, sign: str) -> None:
    found = _watch(text, pending=True).settle()
    assert found is not None
    assert found.id == sign


@pytest.mark.parametrize("text", ["grub>" + " " * 74, "(initramfs) "])
def test_finds_a_prompt_whose_line_a_cursor_movement_ended(text: str) -> None:
    assert _watch(text).settle() is not None


@pytest.mark.parametrize("text", HARMLESS_LINES)
@pytest.mark.parametrize("pending", [False, True])
def test_takes_no_harmless_text_for_a_fatal_sign(text: str, pending: bool) -> None:
    assert _watch(text, pending=pending).settle() is None


@pytest.mark.parametrize("call", re.findall(r'\bfail "([^"]+)"', INIT.read_text("utf-8")))
def test_whatever_makes_our_own_initramfs_fail_is_a_fatal_sign(call: str) -> None:
    values = {"$root": "LABEL=root", "$device": "/dev/vda1", "$init": "/sbin/init"}
    for name, value in values.items():
        call = call.replace(name, value)
    text = f"imgforge-initramfs: {call}"
    found = _watch(text).settle()
    assert found is not None
    assert (found.id, found.stage) == ("initramfs-failed", StageName.INITRAMFS)
    assert found.text == text
    assert _watch(text, first="imgforge-init: started").settle() is None


def test_every_sign_of_the_table_is_tried_by_these_tests() -> None:
    tried = {sign for _, sign in (*FATAL_LINES, *FATAL_PENDING)} | {"grub-error"}
    assert tried == {sign.id for sign in SIGNS}


def test_every_sign_says_what_it_means_and_what_to_do() -> None:
    for sign in SIGNS:
        assert sign.meaning
        assert sign.hint or sign.id == "grub-error"


@pytest.mark.parametrize("number", [2, 6, 13, 15, 16, 17, 18, 21, 22, 24, 25, 28])
def test_a_grub_error_names_its_meaning_and_what_to_change(number: int) -> None:
    found = _watch(f"Error {number}: whatever GRUB says").settle()
    assert found is not None
    assert found.id == "grub-error"
    assert f"error {number} (" in found.meaning
    assert found.hint
    assert found.stage is StageName.BOOTLOADER


def test_a_grub_error_of_stage_1_5_has_no_text_and_no_line_end() -> None:
    found = _watch("Error 17", pending=True).settle()
    assert found is not None
    assert "Cannot mount selected partition" in found.meaning
    assert "stage2" in found.hint


def test_a_grub_error_that_goes_on_is_read_again() -> None:
    watch = _watch("Error 1", pending=True)
    watch.take(ConsoleBytes(2.1, "Error 15: Fi"))
    watch.take(ConsoleLine(2.2, "Error 15: File not found"))
    found = watch.settle()
    assert found is not None
    assert found.text == "Error 15: File not found"
    assert found.at_s == 2.0


def test_a_grub_error_waits_for_the_fallback_entry() -> None:
    watch = _watch("Error 15: File not found")
    assert watch.sign is None
    assert watch.settles_at_s == pytest.approx(3.5)
    watch.take(ConsoleLine(2.1, "  Booting 'fallback'"))
    assert watch.settle() is None
    assert watch.settles_at_s is None


def test_a_grub_error_followed_by_a_kernel_is_forgotten() -> None:
    watch = _watch("Error 15: File not found")
    watch.take(ConsoleLine(2.5, "[    0.000000] Linux version 6.1.0"))
    assert watch.settle() is None


def test_a_grub_that_waits_for_a_key_is_told_by_its_error() -> None:
    watch = _watch("Error 15: File not found")
    watch.take(ConsoleBytes(2.1, "Press any key to continue..."))
    assert watch.sign is not None
    assert watch.sign.id == "grub-error"
    assert watch.settles_at_s is not None
    assert watch.settles_at_s < 3.0


@pytest.mark.parametrize(
    "text",
    ["Error 15: out of paper", "Press any key to continue...", "grub> ", "No bootable device."],
)
def test_boot_loader_signs_count_only_before_the_kernel(text: str) -> None:
    first = "[    0.000000] Linux version 6.1.0-18-cloud-amd64"
    assert _watch(text, pending=True, first=first).settle() is None
    assert _watch(text, first=first).settle() is None


def test_the_first_fatal_sign_is_kept() -> None:
    watch = _watch("[    5.0] Oops: 0002 [#1] SMP")
    watch.take(ConsoleLine(2.1, "[    5.1] Kernel panic - not syncing: Fatal exception"))
    assert watch.sign is not None
    assert watch.sign.id == "kernel-oops"


def test_a_hostile_line_is_looked_at_in_no_time() -> None:
    watch = Watch(by_bios=True, must_show=["never"])
    for text in ("Error " * 200_000, "a" * 1_000_000, "[ " * 500_000, ": " * 500_000, "\0" * 9999):
        watch.take(ConsoleLine(1.0, text))
        watch.take(ConsoleBytes(1.0, text))
    assert watch.settle() is None
    assert sum(len(line) for line in watch.console_lines) < 10_000
