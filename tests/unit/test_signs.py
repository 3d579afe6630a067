"""The table of fatal signs: each is found, and what only looks like one is not."""

import re
import textwrap
from pathlib import Path

import pytest

from imgforge.acceptance.outside_signs import Heard, sign_of_silence
from imgforge.acceptance.record import BootMethod, SeenSign, StageName
from imgforge.acceptance.sign import Sign
from imgforge.acceptance.signs import SIGNS
from imgforge.acceptance.watch import Watch
from imgforge.machine import ConsoleBytes, ConsoleLine, KernelStarted, MetadataAsked
from imgforge.metadata import MetadataRequest

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
    ("imgforge-initramfs: the kernel's command line has no root=", "initramfs-no-root"),
    ("imgforge-initramfs: root LABEL=root not found within 30 s", "initramfs-no-root"),
    ("imgforge-initramfs: root LABEL=root (/dev/vda) cannot be mounted", "initramfs-cannot-mount"),
    ("imgforge-initramfs: root /dev/vda1 (/dev/vda1) has no /sbin/init", "initramfs-no-init"),
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
    ("run-init: can't execute '/sbin/init': Permission denied", "init-not-executable"),
    ("switch_root: can't execute '/sbin/init': Exec format error", "init-wrong-format"),
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
        "maintenance-shell",
    ),
    ("You are in rescue mode. After logging in, type", "rescue-shell"),
    ("No bootable device.", "firmware-no-boot-device"),
    ("Boot failed: not a bootable disk", "firmware-no-boot-device"),
    ("Failed to boot both default and fallback entries.", "grub-no-entry-boots"),
    (
        "imgforge-pvgrub: there is no menu.lst where this AKI looks: hd0:/boot/grub",
        "pv-grub-no-menu",
    ),
    ("imgforge-pvgrub: (hd0)/boot/grub/menu.lst started nothing", "pv-grub-starts-nothing"),
    ("error: couldn't load file /boot/vmlinuz-5.", "pv-grub-error"),
    ("[  140.2] Kernel panic - not syncing: hung_task: blocked tasks", "hung-task"),
    ("[  140.2] INFO: task systemd:1 blocked for more than 120 seconds.", "hung-task"),
    ("[   40.2] Kernel panic - not syncing: RCU Stall", "rcu-stall"),
    ("[   40.2] Kernel panic - not syncing: softlockup: hung tasks", "soft-lockup"),
    ("[   40.2] Kernel panic - not syncing: Hard LOCKUP", "hard-lockup"),
    ("[   40.2] watchdog: Watchdog detected hard LOCKUP on cpu 1", "hard-lockup"),
    ("[   40.2] NMI watchdog: Watchdog detected hard LOCKUP on cpu 1", "hard-lockup"),
    ("This kernel requires an x86-64 CPU, but only detected an i686 CPU.", "wrong-cpu"),
    (" -- System halted", "kernel-damaged"),
    (
        "[    9.9] Out of memory: Killed process 412 (sshd) total-vm:168kB, anon-rss:4kB",
        "service-out-of-memory",
    ),
    (
        "[    9.9] Out of memory: Killed process 99 (systemd-networkd) total-vm:168kB",
        "service-out-of-memory",
    ),
    (
        "[    4.1] EXT4-fs error (device vda1): ext4_lookup:1855: inode #2: comm init: deleted "
        "inode referenced: 45",
        "filesystem-error",
    ),
    ("[    4.1] EXT3-fs error (device xvda1): ext3_get_inode_loc: unable", "filesystem-error"),
    ("[    4.1] EXT2-fs (vda1): error: ext2_lookup: deleted inode", "filesystem-error"),
    ("[    4.1] BTRFS critical (device vda1): corrupt leaf: root=1", "filesystem-error"),
    ("[    4.1] XFS (vda1): Corruption detected. Unmount and run xfs_repair", "filesystem-error"),
    (
        "No root device specified. Boot arguments must include a root= parameter.",
        "initramfs-no-root",
    ),
    ("Failed to mount /dev/vda1 as root file system.", "initramfs-cannot-mount"),
    ("FATAL: kernel too old", "libc-needs-newer-kernel"),
    ("Fatal glibc error: CPU does not support x86-64-v2", "libc-needs-newer-cpu"),
    ("imgforge-init: network: no interface", "no-network-interface"),
    ("udhcpc: no lease, failing", "no-dhcp"),
    ("[   75.9] dhclient[301]: No DHCPOFFERS received.", "no-dhcp"),
    ("No DHCPOFFERS received.", "no-dhcp"),
    ("Determining IP information for eth0... failed.", "no-dhcp"),
    ("imgforge-init: network: eth0 got no address by DHCP", "no-dhcp"),
    ("imgforge-init: key: 169.254.169.254 gave none in 10 tries", "metadata-unreachable"),
    (
        "[  148.6] cloud-init[330]: 2026-11-23 09:10:17,714 - url_helper.py[WARNING]: Calling "
        "'None' failed [66/120s]: request error [HTTPConnectionPool(host='fd00:ec2::254', "
        "port=80): Max retries exceeded",
        "metadata-unreachable",
    ),
    (
        "[   60.1] cloud-init[383]: 2026-11-23 06:45:55,121 - util.py[WARNING]: No instance "
        "datasource found! Likely bad things to come!",
        "cloud-init-no-datasource",
    ),
    (
        "[  120.7] cloud-init[470]: Cloud-init v. 22.4.2 finished at Mon, 23 Nov 2026 06:46:26 "
        "+0000. Datasource DataSourceNone.  Up 120.66 seconds",
        "cloud-init-no-datasource",
    ),
    (
        "cloud-init[470]: 2026-11-23 06:45:55,121 - cc_final_message.py[WARNING]: Used fallback "
        "datasource",
        "cloud-init-no-datasource",
    ),
    ("can't run '/usr/sbin/dropbear': No such file or directory", "sshd-missing"),
    ("systemd[1]: ssh.service: Start request repeated too quickly.", "sshd-failed"),
    ("Press any key to continue...", "grub-waits-for-a-key"),
]

FATAL_PENDING = [
    ("grub> ", "grub-prompt"),
    ("grub rescue> ", "grub-prompt"),
    ("GRUB Hard Disk Error", "grub-disk-error"),
    ("GRUB Read Error", "grub-disk-error"),
    ("GRUB Geom Error", "grub-disk-error"),
    (" -- System halted", "kernel-damaged"),
    ("(initramfs) ", "initramfs-shell"),
    ("dracut:/# ", "initramfs-shell"),
    ("Give root password for maintenance", "maintenance-shell"),
    ("Press Enter for maintenance", "maintenance-shell"),
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


# What ends nothing by itself, but names what comes after it.
CAUSE_LINES = [
    ("[   23.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [swapper/1:0]", "soft-lockup"),
    ("[  140.2] INFO: task dpkg:412 blocked for more than 120 seconds.", "hung-task"),
    ("[   21.0] rcu: INFO: rcu_sched self-detected stall on CPU", "rcu-stall"),
    ("[   21.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "rcu-stall"),
    ("[   12.0] Out of memory: Killed process 812 (python3) total-vm:1kB", "process-out-of-memory"),
    ("[    0.5] Initramfs unpacking failed: invalid magic at start", "initrd-damaged"),
    (
        "[    2.1] Starting init: /sbin/init exists but couldn't execute it (error -8)",
        "init-wrong-format",
    ),
    ("[    2.1] EXT4-fs (vda1): VFS: Can't find ext4 filesystem", "root-unreadable"),
    ("[    2.1] EXT4-fs (vda1): unable to read superblock", "root-unreadable"),
    ("[    2.1] XFS (vda1): Invalid superblock magic number", "root-unreadable"),
    ("[    2.1] I/O error, dev vda, sector 4096 op 0x0:(READ) flags 0x0", "disk-read-error"),
    ("[    2.1] blk_update_request: I/O error, dev xvda, sector 4096", "disk-read-error"),
    ("[    2.1] Buffer I/O error on dev vda1, logical block 0, async page", "disk-read-error"),
    ("[    2.1] systemd: attempt to access beyond end of device", "disk-read-error"),
    (
        "[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz.",
        "fstab-device-missing",
    ),
    (
        "[   93.1] systemd[1]: dev-vdz.device: Job dev-vdz.device/start timed out.",
        "fstab-device-missing",
    ),
    ("[   93.1] systemd[1]: Timed out waiting for device /dev/vdz.", "fstab-device-missing"),
    ("[FAILED] Failed to mount /mnt/data.", "fstab-mount-failed"),
    ("[DEPEND] Dependency failed for data.mount - /data.", "fstab-mount-failed"),
    (
        "[DEPEND] Dependency failed for local-fs.target - Local File Systems.",
        "fstab-mount-failed",
    ),
    ("The root filesystem on /dev/vda1 requires a manual fsck", "fsck-failed"),
    ("/dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.", "fsck-failed"),
    ("*** Warning -- SELinux targeted policy relabel is required.", "selinux-relabel"),
    ("can't run '/usr/lib/imgforge/start': No such file or directory", "inittab-program-missing"),
    ("modprobe: module virtio_net not found in modules.dep", "module-missing"),
    ("modprobe: FATAL: Module ena not found in directory /lib/modules/6.1.0", "module-missing"),
    (
        "imgforge-initramfs: module virtio_blk.ko does not load: insmod: invalid module format",
        "module-missing",
    ),
    ("[   61.1] systemd-modules-load[201]: Failed to find module 'ena'", "module-missing"),
    ('Cannot find device "eth0"', "no-network-interface"),
    ("No broadcast interfaces found - exiting.", "no-network-interface"),
    ("udhcpc: SIOCGIFINDEX: No such device", "no-network-interface"),
    ("udhcpc: no lease, forking to background", "no-dhcp"),
    ("ifup: failed to bring up eth0", "no-dhcp"),
    (
        "[FAILED] Failed to start networking.service - Raise network interfaces.",
        "network-service-failed",
    ),
    ("[FAILED] Failed to start Raise network interfaces.", "network-service-failed"),
    (
        "[FAILED] Failed to start networking\u2026ce - Raise network interfaces.",
        "network-service-failed",
    ),
    ("[FAILED] Failed to start ssh.serv\u2026enBSD Secure Shell server.", "sshd-failed"),
    (
        "[   82.2] cloud-init[330]: 2026-11-23 09:09:11,278 - url_helper.py[WARNING]: Calling "
        "'None' failed [0/120s]: request error [HTTPConnectionPool(host='169.254.169.254', "
        "port=80): Max retries exceeded",
        "metadata-unreachable",
    ),
    (
        "cloud-init[383]: 2026-11-23 06:45:55,121 - DataSourceEc2.py[CRITICAL]: Giving up on md "
        "from ['http://169.254.169.254/2009-04-04/meta-data/instance-id'] after 120 seconds",
        "metadata-unreachable",
    ),
    (
        "[FAILED] Failed to start cloud-init.service - Initial cloud-init job (metadata crawler).",
        "cloud-init-failed",
    ),
    (
        "cloud-init[383]: 2026-11-23 06:45:55,121 - util.py[WARNING]: Failed loading yaml blob. "
        "Invalid format at line 3",
        "cloud-config-unreadable",
    ),
    ("sshd: no hostkeys available -- exiting.", "no-host-keys"),
    (
        "[175] Nov 23 06:43:37 No hostkeys available. 'dropbear -R' may be useful or run "
        "dropbearkey.",
        "no-host-keys",
    ),
    ("imgforge-init: host key: ed25519 cannot be made: no", "no-host-keys"),
    (
        "[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.",
        "sshd-failed",
    ),
    ("[FAILED] Failed to start OpenSSH server daemon.", "sshd-failed"),
    ("/etc/ssh/sshd_config: line 3: Bad configuration option: Foo", "sshd-failed"),
    ("Missing privilege separation directory: /run/sshd", "sshd-failed"),
    ("[175] Nov 23 06:43:37 Failed listening on '22': Error listening", "sshd-failed"),
    (
        "Authentication refused: bad ownership or modes for directory /root/.ssh",
        "authorized-keys-mode",
    ),
    (
        "[180] Nov 23 06:43:37 /root/.ssh must be owned by user or root, and not writable by "
        "group or others",
        "authorized-keys-mode",
    ),
    ("Invalid user admin from 169.254.169.1 port 38662", "login-user-missing"),
    ("[180] Nov 23 06:43:37 Login attempt for nonexistent user", "login-user-missing"),
    ("[180] Nov 23 06:43:37 User 'root' has invalid shell, rejected", "login-user-locked"),
    ("User debian not allowed because account is locked", "login-user-locked"),
    ("/usr/lib/imgforge/start: line 9: echo: write error: No space left on device", "disk-full"),
    ("touch: /etc/x: Read-only file system", "root-read-only"),
    ("imgforge-init: the root file system stays read-only", "root-read-only"),
]

# What quotes such a text, or is another one.
QUOTES = [
    "the manual says: No space left on device means a full disk",
    "grep: pattern 'No space left on device' not found",
    "ci-info: Read-only file systems are listed below",
    "run-parts: EXT4-fs error (device vda1): is what a damaged disk says",
    "# a comment: Out of memory: Killed process 412 (sshd)",
    "motd: see FATAL: kernel too old in the manual",
    "[  OK  ] Started ssh.service - OpenBSD Secure Shell server.",
    "[    2.1] I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0",
    "[    2.1] EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none.",
    "cloud-init[9]: Cloud-init v. 22.4.2 finished at Mon. Datasource DataSourceEc2Local.  Up 1 s",
    "cloud-init[9]: grep DataSourceNone /var/log/cloud-init.log",
    "sshd[8]: Connection closed by invalid user admin 10.0.0.1 port 22",
    "echo: can't run '/bin/true'",
]


def _watch(text: str, *, pending: bool = False, first: str = "") -> Watch:
    watch = Watch(boot_method=BootMethod.BIOS)
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
    assert found.id.startswith("initramfs-")
    assert found.stage is StageName.INITRAMFS
    assert found.text == text
    assert _watch(text, first="imgforge-init: started").settle() is None


def test_every_sign_of_the_table_is_tried_by_these_tests() -> None:
    tried = {sign for _, sign in (*FATAL_LINES, *FATAL_PENDING, *CAUSE_LINES)} | {"grub-error"}
    assert tried == {sign.id for sign in SIGNS}


def test_every_row_of_the_table_is_tried_by_these_tests() -> None:
    lines = [text for text, _ in (*FATAL_LINES, *FATAL_PENDING, *CAUSE_LINES)] + ["Error 15"]
    firsts = set()
    for line in lines:
        rows = [n for n, sign in enumerate(SIGNS) if sign.pattern.search(line)]
        assert rows, line
        firsts.add(rows[0])
        assert all(SIGNS[n].needle in line for n in rows)
    assert [SIGNS[n] for n in range(len(SIGNS)) if n not in firsts] == []


def _silence() -> SeenSign:
    return sign_of_silence(Heard(""), at_s=90.0, limit_s=60)


@pytest.mark.parametrize(("text", "sign"), CAUSE_LINES)
def test_a_cause_ends_nothing_and_names_a_silence_after_it(text: str, sign: str) -> None:
    watch = _watch(text)
    assert watch.settle() is None
    named = watch.explain(_silence())
    assert (named.id, named.at_s) == (sign, 90.0)
    assert named.text == text
    assert named.meaning.endswith("then nothing was heard for 60 s")


@pytest.mark.parametrize("text", QUOTES)
def test_a_program_that_quotes_a_sign_shows_none(text: str) -> None:
    watch = _watch(text)
    assert watch.settle() is None
    assert watch.explain(_silence()).id == "silence"


def test_a_cause_names_the_symptom_that_follows_it() -> None:
    watch = _watch("[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz.")
    watch.take(ConsoleLine(2.1, "[DEPEND] Dependency failed for data.mount - /data."))
    watch.take(ConsoleLine(2.2, "You are in emergency mode. After logging in, type"))
    found = watch.settle()
    assert found is not None
    assert (found.id, found.stage, found.at_s) == ("fstab-device-missing", StageName.INIT, 2.2)
    assert "then systemd stopped in emergency mode" in found.meaning
    assert "nofail" in found.hint


def test_a_later_stage_beside_it_does_not_clear_what_a_stage_itself_failed_of() -> None:
    watch = _watch("[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz.")
    watch.take(
        MetadataAsked(2.1, MetadataRequest(2.1, "GET", "/latest/", "latest", False, 200, ""))
    )
    watch.take(ConsoleLine(2.2, "You are in emergency mode. After logging in, type"))
    found = watch.settle()
    assert found is not None
    assert found.id == "fstab-device-missing"


def test_what_explains_a_symptom_may_follow_it() -> None:
    watch = _watch("[    3.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100")
    watch.take(ConsoleLine(2.1, "switch_root: can't execute '/sbin/init': No such file"))
    watch.take(
        ConsoleLine(2.2, "[    3.4] ---[ end Kernel panic - not syncing: Attempted to kill ")
    )
    found = watch.settle()
    assert found is not None
    assert (found.id, found.at_s) == ("switch-root-failed", 2.0)
    assert found.meaning.endswith("then init ended, and the kernel panicked")


def test_a_symptom_that_follows_another_explains_nothing() -> None:
    watch = _watch("imgforge-initramfs: the kernel's command line has no root=")
    watch.take(ConsoleLine(2.1, "(initramfs) a shell follows; exit ends the machine"))
    found = watch.settle()
    assert found is not None
    assert found.id == "initramfs-no-root"


def test_a_cause_of_a_stage_that_was_passed_names_nothing() -> None:
    watch = _watch("modprobe: module virtio_net not found in modules.dep")
    watch.stages.reach(StageName.METADATA, 3.0)
    assert watch.explain(_silence()).id == "silence"


def test_what_is_only_slow_names_no_symptom_with_a_stage_of_its_own() -> None:
    watch = _watch("[   21.0] rcu: INFO: rcu_sched self-detected stall on CPU")
    watch.take(ConsoleLine(2.2, "You are in emergency mode. After logging in, type"))
    found = watch.settle()
    assert found is not None
    assert found.id == "emergency-mode"


def test_a_server_that_fails_again_and_again_is_fatal_at_the_third_time() -> None:
    watch = Watch(boot_method=BootMethod.BIOS)
    for number in range(3):
        assert watch.settle() is None
        watch.take(ConsoleLine(float(number), "sshd: no hostkeys available -- exiting."))
    found = watch.settle()
    assert found is not None
    assert (found.id, found.at_s) == ("no-host-keys", 2.0)


def test_an_empty_list_of_host_keys_is_fatal() -> None:
    watch = _watch("-----BEGIN SSH HOST KEY KEYS-----")
    assert watch.settle() is None
    watch.take(ConsoleLine(2.5, "-----END SSH HOST KEY KEYS-----"))
    found = watch.settle()
    assert found is not None
    assert (found.id, found.stage, found.at_s) == ("no-host-keys", StageName.SSH, 2.5)


def test_every_sign_says_what_it_means_and_what_to_do() -> None:
    for sign in SIGNS:
        assert sign.meaning
        assert sign.hint or sign.id == "grub-error"


@pytest.mark.parametrize("number", range(1, 36))
def test_a_grub_error_names_its_meaning_and_what_to_change(number: int) -> None:
    found = _watch(f"Error {number}: whatever GRUB says").settle()
    assert found is not None
    assert found.id == "grub-error"
    assert f"error {number} (" in found.meaning
    assert "does not have" not in found.meaning
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


def test_pv_grub_goes_on_to_the_fallback_entry_after_ten_seconds() -> None:
    watch = Watch(boot_method=BootMethod.XEN_GRUB)
    watch.take(ConsoleLine(1.0, "error: couldn't load file /boot/gone."))
    watch.take(ConsoleLine(1.1, "Press any key to continue..."))
    assert watch.sign is None
    assert watch.settles_at_s is not None
    assert watch.settles_at_s > 11.0
    watch.take(ConsoleLine(11.2, "Booting `the old kernel'"))
    assert watch.settles_at_s is None


def test_pv_grub_may_load_the_fallbacks_kernel_for_minutes_without_a_word() -> None:
    watch = Watch(boot_method=BootMethod.XEN_GRUB)
    watch.take(ConsoleLine(1.0, "error: couldn't load file /boot/gone."))
    assert watch.settles_at_s is not None
    assert watch.settles_at_s > 180.0
    watch.take(KernelStarted(180.0))
    assert watch.settle() is None


def test_pv_grub_without_a_fallback_is_told_by_what_it_could_not_load() -> None:
    watch = Watch(boot_method=BootMethod.XEN_GRUB)
    watch.take(ConsoleLine(1.0, "error: couldn't load file /boot/gone."))
    watch.take(ConsoleLine(1.1, "Press any key to continue..."))
    watch.take(ConsoleLine(11.1, "Failed to boot both default and fallback entries."))
    sign = watch.settle()
    assert sign is not None
    assert (sign.id, sign.stage) == ("grub-no-entry-boots", StageName.BOOTLOADER)
    assert sign.text == "error: couldn't load file /boot/gone."


def test_what_pv_grub_could_not_load_is_forgotten_once_it_hands_over() -> None:
    watch = Watch(boot_method=BootMethod.XEN_GRUB)
    watch.take(ConsoleLine(1.0, "error: couldn't load file /boot/gone."))
    watch.take(KernelStarted(20.0))
    assert watch.settle() is None
    assert not watch.is_loading


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


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.id)
def test_hints_leave_room_for_the_reason_in_ten_lines_of_a_narrow_terminal(sign: Sign) -> None:
    reason = f"Rejected at stage bootloader: {sign.meaning}: " + "a line of the console " * 3
    told = f"Sign {sign.id}. {sign.hint}"
    assert len(textwrap.wrap(reason, 50)) + len(textwrap.wrap(told, 50)) <= 10


def test_a_hostile_line_is_looked_at_in_no_time() -> None:
    watch = Watch(boot_method=BootMethod.BIOS, must_show=["never"])
    for text in ("Error " * 200_000, "a" * 1_000_000, "[ " * 500_000, ": " * 500_000, "\0" * 9999):
        watch.take(ConsoleLine(1.0, text))
        watch.take(ConsoleBytes(1.0, text))
    assert watch.settle() is None
    assert sum(len(line) for line in watch.console_lines) < 10_000
