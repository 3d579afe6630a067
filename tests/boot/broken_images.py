"""The table of broken images: each is the minimal guest, broken in one way, and what names it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from imgforge.recipe import Layout
from tests.boot.patient import PARTITION_START, Patient

_PANIC_WORDS = "panic=-1"
_INIT = "/usr/sbin/init"
_START = "/usr/lib/imgforge/start"
# An ELF file for ARM (e_machine 40): no program here.
_FOREIGN = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x28\x00" + bytes(200)
_ROOT = "root=LABEL=root"
_HOG = "(echo -1000 >/proc/self/oom_score_adj; exec /bin/busybox tail /dev/zero)"


@dataclass(frozen=True, slots=True)
class BrokenImage:
    """A row: how the guest is broken, and the stage, the sign and a word that must tell it.

    `is_slow`: it takes a limit's time, or another row already shows most of it.
    """

    name: str
    layout: Layout
    harm: Callable[[Patient], object]
    stage: str
    sign: str
    told: str = ""
    is_slow: bool = False


def _menu(old: str, new: str) -> Callable[[Patient], object]:
    return lambda patient: patient.change_menu(old, new)


def _start(old: str, new: str) -> Callable[[Patient], object]:
    return lambda patient: patient.change_start(old, new)


def _first(*lines: str) -> Callable[[Patient], object]:
    return lambda patient: patient.before_start(*lines)


def _print(*lines: str) -> Callable[[Patient], object]:
    # Nothing more comes, as on the machines that these lines were taken from.
    return _first(*(f"echo '{line}'" for line in lines), "exec /bin/busybox sleep 1000")


def _log(*lines: str) -> Callable[[Patient], object]:
    return _first(*(f"echo '<0>{line}' >/dev/kmsg" for line in lines))


def _remove(path: str) -> Callable[[Patient], object]:
    return lambda patient: patient.remove(path)


def _end_boot_sector(patient: Patient) -> None:
    patient.poke(0, bytes(512))


def _end_superblock(patient: Patient) -> None:
    patient.poke(PARTITION_START + 1024, bytes(1024))


def _name_text_as_kernel(patient: Patient) -> None:
    patient.write(patient.find("/boot", "vmlinuz"), "no kernel\n" * 10_000)


def _remove_kernel(patient: Patient) -> None:
    patient.remove(patient.find("/boot", "vmlinuz"))


def _cut_kernel(patient: Patient) -> None:
    kernel = patient.find("/boot", "vmlinuz")
    patient.write(kernel, patient.read(kernel)[:2_000_000])


def _damage_kernel(patient: Patient) -> None:
    kernel = patient.find("/boot", "vmlinuz")
    data = bytearray(patient.read(kernel))
    data[4_000_000:4_100_000] = Random(1).randbytes(100_000)
    patient.write(kernel, bytes(data))


def _damage_kernel_told_early(patient: Patient) -> None:
    _damage_kernel(patient)
    patient.change_menu(_PANIC_WORDS, "earlyprintk=ttyS0 panic=0")


def _boot_without_initrd(words: str) -> Callable[[Patient], object]:
    def harm(patient: Patient) -> None:
        patient.change_menu("initrd ", "#initrd ")
        patient.change_menu(_ROOT, words)

    return harm


def _damage_initrd(patient: Patient) -> None:
    patient.write("/boot/initrd.img", b"070701" + Random(1).randbytes(100_000))


def _write_init(content: str | bytes, *, mode: int = 0o755) -> Callable[[Patient], object]:
    return lambda patient: patient.write(_INIT, content, mode=mode)


def _remove_module(patient: Patient) -> None:
    (modules,) = [patient.find("/usr/lib/modules", "6")]
    patient.remove(patient.find(f"{modules}/kernel/drivers/net", "virtio_net"))


def _lose_inode(patient: Patient) -> None:
    patient.debugfs("clri /usr/sbin/dropbear")


def _forbid_writing(patient: Patient) -> None:
    patient.debugfs("feature read-only")


def _remove_root_user(patient: Patient) -> None:
    patient.change("/etc/passwd", "root:", "chief:")


def _take_roots_shell(patient: Patient) -> None:
    patient.change("/etc/passwd", ":/bin/sh", ":/bin/none")


_MBR, _PV = Layout.HVM_MBR, Layout.PV
_FILL = "/bin/busybox mount -o remount,rw /; /bin/busybox cat /dev/zero >/fill 2>/dev/null"
_TIMED_OUT = "[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz."
_DEPEND = "[DEPEND] Dependency failed for data.mount - /data."
_EMERGENCY = 'You are in emergency mode. After logging in, type "journalctl -xb" to view'
_SSH_FAILED = "[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server."
_NO_SOURCE = (
    "[  120.7] cloud-init[470]: Cloud-init v. 22.4.2 finished at Mon, 23 Nov 2026 06:46:26 +0000. "
    "Datasource DataSourceNone.  Up 120.66 seconds"
)

BROKEN_IMAGES: tuple[BrokenImage, ...] = (
    # The firmware and GRUB Legacy: a second or two each.
    BrokenImage("boot sector empty", _MBR, _end_boot_sector, "firmware", "firmware-no-boot-device"),
    BrokenImage(
        "stage2 removed", _MBR, _remove("/boot/grub/stage2"), "bootloader", "grub-error", "stage2"
    ),
    BrokenImage("file system gone", _MBR, _end_superblock, "bootloader", "grub-error", "error 17"),
    BrokenImage(
        "menu.lst removed", _MBR, _remove("/boot/grub/menu.lst"), "bootloader", "grub-prompt"
    ),
    BrokenImage("kernel removed", _MBR, _remove_kernel, "bootloader", "grub-error", "error 15"),
    BrokenImage(
        "kernel is text", _MBR, _name_text_as_kernel, "bootloader", "grub-error", "error 13"
    ),
    BrokenImage("kernel cut short", _MBR, _cut_kernel, "kernel", "silent-reset", "cut short"),
    BrokenImage(
        "initrd removed",
        _MBR,
        _remove("/boot/initrd.img"),
        "bootloader",
        "grub-error",
        "error 15",
    ),
    BrokenImage(
        "another partition",
        _MBR,
        _menu("root (hd0,0)", "root (hd0,1)"),
        "bootloader",
        "grub-error",
        "error 22",
    ),
    BrokenImage(
        "another disk",
        _MBR,
        _menu("root (hd0,0)", "root (hd1,0)"),
        "bootloader",
        "grub-error",
        "error 21",
    ),
    BrokenImage(
        "a whole disk as root",
        _MBR,
        _menu("root (hd0,0)", "root (hd0)"),
        "bootloader",
        "grub-error",
        "error 17",
    ),
    BrokenImage(
        "misspelt command",
        _MBR,
        _menu("kernel /", "kernal /"),
        "bootloader",
        "grub-error",
        "spelling",
    ),
    BrokenImage(
        "no kernel line",
        _MBR,
        _menu("kernel /", "#kernel /"),
        "bootloader",
        "grub-error",
        "error 19",
    ),
    BrokenImage(
        "relative path",
        _MBR,
        _menu("kernel /", "kernel "),
        "bootloader",
        "grub-error",
        "error 1 ",
    ),
    # The kernel and the initramfs.
    BrokenImage(
        "kernel damaged, told early",
        _MBR,
        _damage_kernel_told_early,
        "kernel",
        "kernel-damaged",
    ),
    BrokenImage("kernel damaged", _MBR, _damage_kernel, "kernel", "silent-kernel", is_slow=True),
    BrokenImage("no initrd", _MBR, _boot_without_initrd(_ROOT), "kernel", "panic-no-root"),
    BrokenImage(
        "init= missing, no initrd",
        _MBR,
        _boot_without_initrd("root=/dev/nvme0n1p1 init=/none"),
        "init",
        "panic-no-init",
    ),
    BrokenImage("initrd damaged", _PV, _damage_initrd, "kernel", "initrd-damaged"),
    BrokenImage("no root=", _PV, _menu(_ROOT, ""), "initramfs", "initramfs-no-root"),
    BrokenImage(
        "wrong rootfstype=",
        _PV,
        _menu(_ROOT, f"{_ROOT} rootfstype=xfs"),
        "initramfs",
        "initramfs-cannot-mount",
        "cannot be mounted",
    ),
    BrokenImage(
        "another label",  # the initramfs waits 30 s for it
        _PV,
        _menu(_ROOT, "root=LABEL=boot"),
        "initramfs",
        "initramfs-no-root",
        "not found within",
        is_slow=True,
    ),
    # init.
    BrokenImage(
        "no init", _PV, lambda p: p.debugfs(f"rm {_INIT}"), "initramfs", "initramfs-no-init"
    ),
    BrokenImage(
        "init without x bit",
        _PV,
        _write_init("#!/bin/sh\n", mode=0o644),
        "initramfs",
        "initramfs-no-init",
        "has no",
    ),
    BrokenImage(
        "init for another processor", _PV, _write_init(_FOREIGN), "init", "init-wrong-format"
    ),
    BrokenImage(
        "init without its interpreter",
        _PV,
        _write_init("#!/bin/none\n"),
        "init",
        "switch-root-failed",
    ),
    BrokenImage(
        "init ends", _PV, _write_init("#!/bin/busybox sh\nexit 3\n"), "init", "panic-init-killed"
    ),
    BrokenImage("start script removed", _PV, _remove(_START), "ssh", "inittab-program-missing"),
    BrokenImage("init reboots", _PV, _first("/bin/busybox reboot -f"), "init", "guest-reset"),
    BrokenImage(
        "init switches off", _PV, _first("/bin/busybox poweroff -f"), "init", "guest-shutdown"
    ),
    BrokenImage(
        "init hangs",
        _PV,
        _first("exec /bin/busybox sleep 1000"),
        "init",
        "silence",
        is_slow=True,
    ),
    # The kernel, later on.
    BrokenImage(
        "kernel crashes", _PV, _first("echo c >/proc/sysrq-trigger"), "kernel", "kernel-panic"
    ),
    BrokenImage(
        "memory runs out",
        _PV,
        _first(_HOG),
        "kernel",
        "panic-out-of-memory",
        "ran out of memory",
        is_slow=True,
    ),
    BrokenImage("directory entry damaged", _PV, _lose_inode, "ssh", "filesystem-error"),
    BrokenImage("file system read-only", _PV, _forbid_writing, "ssh", "root-read-only"),
    BrokenImage("disk full", _PV, _first(_FILL), "ssh", "disk-full"),
    # Network and metadata.
    BrokenImage("network driver removed", _PV, _remove_module, "network", "module-missing"),
    BrokenImage(
        "DHCP script removed",
        _PV,
        _remove("/usr/share/udhcpc/default.script"),
        "network",
        "no-dhcp",
    ),
    BrokenImage(
        "DHCP on another interface",
        _PV,
        _start('udhcpc -i "$interface" -t 6', "udhcpc -i lo -t 1"),
        "network",
        "no-dhcp",
    ),
    BrokenImage(
        "metadata behind a wrong route",
        _PV,
        _start("tries=10", "tries=2\n    ip route add blackhole 169.254.169.254\n"),
        "metadata",
        "metadata-unreachable",
    ),
    # SSH.
    BrokenImage("SSH server removed", _PV, _remove("/usr/sbin/dropbear"), "ssh", "sshd-missing"),
    BrokenImage(
        "no program that makes host keys",
        _PV,
        _remove("/usr/bin/dropbearkey"),
        "ssh",
        "no-host-keys",
    ),
    BrokenImage(
        "host keys not printed",
        _PV,
        _start("\nprint_host_keys\n", "\n"),
        "ssh",
        "host-keys-not-shown",
        is_slow=True,
    ),
    BrokenImage(
        "others may write to .ssh",
        _PV,
        _start("\nprint_host_keys\n", "\nchmod 0777 /root/.ssh\nprint_host_keys\n"),
        "ssh",
        "authorized-keys-mode",
    ),
    BrokenImage(
        "no user of that name", _PV, _remove_root_user, "ssh", "login-user-missing", is_slow=True
    ),
    BrokenImage(
        "shell does not exist", _PV, _take_roots_shell, "ssh", "login-user-locked", is_slow=True
    ),
    BrokenImage(
        "SSH server on another port",
        _PV,
        lambda p: p.change("/etc/inittab", "dropbear -F", "dropbear -p 2222 -F"),
        "ssh",
        "sshd-silent",
        is_slow=True,
    ),
    # What the minimal guest can only print: other programs' words, from real machines.
    BrokenImage(
        "Oops",
        _PV,
        _log("BUG: kernel NULL pointer dereference, address: 0000000000000000"),
        "kernel",
        "kernel-oops",
        is_slow=True,
    ),
    BrokenImage(
        "lockup",
        _PV,
        _log("watchdog: BUG: soft lockup - CPU#0 stuck for 45s! [modprobe:99]"),
        "kernel",
        "soft-lockup",
        is_slow=True,
    ),
    BrokenImage(
        "fstab names a missing device",
        _PV,
        _print(_TIMED_OUT, _DEPEND, _EMERGENCY),
        "init",
        "fstab-device-missing",
    ),
    BrokenImage("emergency mode", _PV, _print(_EMERGENCY), "init", "emergency-mode", is_slow=True),
    BrokenImage(
        "dhclient without an offer",
        _PV,
        _print("No DHCPOFFERS received."),
        "network",
        "no-dhcp",
        is_slow=True,
    ),
    BrokenImage(
        "cloud-init without a data source",
        _PV,
        _print(_NO_SOURCE),
        "cloud-init",
        "cloud-init-no-datasource",
    ),
    BrokenImage("OpenSSH fails", _PV, _print(*[_SSH_FAILED] * 3), "ssh", "sshd-failed"),
)
