"""The table of disks wrong in one way each: what `menu-lst check` says, and what truly boots.

`booted` was seen, not reckoned: tests/boot/test_menu_boots.py boots each row and compares.
"""
# ruff: noqa: E501 - the rows of its table

import gzip
from dataclasses import dataclass, field
from pathlib import Path

from imgforge.disk import World
from imgforge.disk.menu_place import MENU_PLACES, place_name
from tests.kernel_files import (
    PACKERS,
    make_bzimage,
    make_elf,
    make_running_bzimage,
    make_running_elf,
)
from tests.menu_disks import make_disk, make_hvm_disk

BEGIN = "<!-- menu boots: made by scripts/readme-menu-boots, do not edit -->"
END = "<!-- menu boots: end -->"
_HEAD = "| disk | `menu-lst check` | real boot | where they differ |\n|---|---|---|---|"
ELF = make_running_elf()
KERNEL = make_running_bzimage(gzip.compress(ELF))
NEW = "title new\nroot (hd0)\nkernel /boot/k root=LABEL=root console=hvc0 entry=0\ninitrd /boot/i\n"
OLD = "title old\nroot (hd0)\nkernel /boot/old root=LABEL=root console=hvc0 entry=1\n"
HEAD = "default 0\nfallback 1\ntimeout 0\n"
MENU = HEAD + NEW + OLD
HVM_HEAD = (
    "default 0\nfallback 1\ntimeout 0\nserial --unit=0 --speed=115200\nterminal --dumb serial\n"
)
HVM_MENU = HVM_HEAD + (NEW + OLD).replace("(hd0)", "(hd0,0)").replace("hvc0", "ttyS0")
AKI = "pv-grub-hd0_1.05-x86_64.gz"
_GONE = b"gone"


def _files(menu: str = MENU, **others: bytes) -> dict[str, bytes]:
    files = {"boot/k": KERNEL, "boot/i": b"initrd" * 99, "boot/old": KERNEL}
    files["boot/grub/menu.lst"] = menu.encode()
    return files | {name.replace("__", "/"): data for name, data in others.items()}


@dataclass(frozen=True, slots=True)
class MenuBoot:
    """A disk, wrong in one way, and what comes of it.

    `rule` is what the checker must say first and foremost ("" for nothing that matters),
    `checked` the entry that it expects to boot, `booted` the one whose kernel started. `sign` is the
    verdict's where none did. `why` explains a difference. `way` is how it boots: by the BIOS,
    xen-grub or xen-direct.
    """

    name: str
    files: dict[str, bytes] = field(repr=False)
    rule: str
    checked: int | None
    booted: int | None
    sign: str = ""
    why: str = ""
    aki: str = AKI
    way: str = "xen-grub"
    partitions: int = 0
    at: int = 1
    is_quick: bool = False

    @property
    def world(self) -> World:
        """What reads its menu.lst."""
        return World.HVM if self.way == "bios" else World.PV

    def make(self, folder: Path) -> Path:
        """Make the disk in an empty folder."""
        if self.way == "bios":
            return make_hvm_disk(folder, self.files)
        return make_disk(folder, self.files, partitions=self.partitions, at=self.at)


def _pv(
    name: str,
    menu: str = MENU,
    rule: str = "",
    *,
    checked: int | None = 0,
    booted: int | None = 0,
    sign: str = "",
    why: str = "",
    aki: str = AKI,
    way: str = "xen-grub",
    partitions: int = 0,
    at: int = 1,
    is_quick: bool = False,
    files: dict[str, bytes] | None = None,
) -> MenuBoot:
    return MenuBoot(
        name,
        _files(menu) if files is None else files,
        rule,
        checked,
        booted,
        sign,
        why,
        aki,
        way,
        partitions,
        at,
        is_quick,
    )


def _hvm(
    name: str,
    old: str = "",
    new: str = "",
    rule: str = "",
    *,
    checked: int | None = 0,
    booted: int | None = 0,
    sign: str = "",
    why: str = "",
    menu: str = HVM_MENU,
    files: dict[str, bytes] | None = None,
    is_quick: bool = False,
) -> MenuBoot:
    assert old in menu, name
    every = _files(menu.replace(old, new, 1) if old else menu) | (files or {})
    kept = {path: data for path, data in every.items() if data != _GONE}
    return MenuBoot(name, kept, rule, checked, booted, sign, why, "", "bios", is_quick=is_quick)


def _packed(
    name: str,
    way: str,
    *,
    checked: int,
    booted: int | None,
    rule: str = "",
    why: str = "",
    is_elf: bool = False,
) -> MenuBoot:
    packed = PACKERS[name](ELF)
    size = None if name in {"none", "gzip"} else len(ELF)
    kernel = packed if is_elf else make_running_bzimage(packed, size=size)
    what = "an ELF" if is_elf else "a bzImage"
    title = f"{what}, {name}" if name != "none" else f"{what}, not compressed"
    return _pv(
        f"{title}, by {way}",
        rule=rule,
        checked=checked,
        booted=booted,
        why=why,
        way=way,
        files=_files(boot__k=kernel),
    )


def _place(number: int, folder: str) -> MenuBoot:
    root = f"(hd0,{number - 1})" if number else "(hd0)"
    files = _files()
    files[f"{folder[1:]}/menu.lst"] = files.pop("boot/grub/menu.lst").replace(
        b"(hd0)", root.encode()
    )
    aki = AKI if number == 0 else AKI.replace("hd0_", "hd00_")
    return _pv(
        f"menu.lst in {place_name(number, folder)}",
        files=files,
        partitions=4 if number else 0,
        at=max(number, 1),
        aki=aki,
        is_quick=number == 0,
    )


def _new(old: str, new: str) -> str:
    assert old in NEW
    return HEAD + NEW.replace(old, new) + OLD


_HD00 = AKI.replace("hd0_", "hd00_")
_PARTITION = MENU.replace("(hd0)", "(hd0,0)")
_NO_INITRD = "GRUB 2 goes on without it; GRUB 0.97 ends the entry (error 15, as on HVM below)"
_UNREAD = "GRUB 2 does not unpack it; PV-GRUB does, says the guide"
_READ = "libxl unpacks it; PV-GRUB does not, says the guide"
_LONG = "imgforge reads no menu.lst of more than 1 MiB; GRUB has no limit of its own"
_ENTRY = "without the note Xen takes the ELF's own entry, which is this kernel's; Linux has none for Xen there"
_WIDTH = "the stand-in starts it, and it crashes; the guide says only that it cannot be started"
_PAUSE = "GRUB 2 goes on by itself; GRUB 0.97 waits for a key"
_NO_ROOT = "this table's kernel looks for no root; Linux finds none there, and ends"
PV_BOOTS = (
    *(_place(number, folder) for number, folder in MENU_PLACES),
    _pv("no menu.lst", rule="menu-missing", checked=None, booted=None, files={"boot/k": KERNEL}, sign="pv-grub-no-menu"),
    _pv("grub.conf alone", rule="menu-name", checked=None, booted=None, files={"boot/grub/grub.conf": MENU.encode(), "boot/k": KERNEL, "boot/i": b"i", "boot/old": KERNEL}, sign="pv-grub-no-menu"),
    _pv("menu.lst without a title", "default 0\ntimeout 0\n", "menu-without-entry", checked=None, booted=None, sign="pv-grub-starts-nothing"),
    _pv("menu.lst of NULs and noise", "\x00\x7f\n" * 99, "menu-without-entry", checked=None, booted=None, sign="pv-grub-starts-nothing"),
    _pv("menu.lst with a NUL in a line", _new("(hd0)", "(hd0)\0 x"), "line-with-nul"),
    _pv("menu.lst of 2 MiB, comments behind the entries", MENU + ("#" * 1400 + "\n") * 1500, "menu-unreadable", checked=None, why=_LONG),
    _pv("kernel not there, fallback", _new("/boot/k", "/boot/none"), "kernel-missing", checked=1, booted=1, is_quick=True),
    _pv("kernel not there, no fallback", _new("/boot/k", "/boot/none").replace("fallback 1\n", ""), "kernel-missing", checked=None, booted=None, sign="grub-no-entry-boots"),
    _pv("initrd not there", _new("/boot/i", "/boot/none"), "initrd-missing", checked=1, booted=0, why=_NO_INITRD),
    _pv("no kernel line", _new("kernel", "#"), "kernel-unnamed", checked=1, booted=1),
    _pv("text for a kernel", rule="kernel-none", checked=1, booted=1, files=_files(boot__k=b"text" * 999)),
    _pv("kernel cut short", rule="kernel-damaged", checked=1, booted=1, files=_files(boot__k=KERNEL[:1300])),
    _packed("none", "xen-grub", checked=0, booted=0, is_elf=True),
    _packed("gzip", "xen-grub", checked=0, booted=0, is_elf=True),
    _packed("gzip", "xen-grub", checked=0, booted=0),
    _packed("xz", "xen-grub", checked=0, booted=0),
    _packed("bzip2", "xen-grub", checked=0, booted=1, why=_UNREAD),
    _packed("lzo", "xen-grub", checked=0, booted=1, why=_UNREAD),
    _packed("lz4", "xen-grub", checked=1, booted=1, rule="kernel-compression"),
    _packed("zstd", "xen-grub", checked=1, booted=1, rule="kernel-compression"),
    _packed("bzip2", "xen-direct", checked=0, booted=0),
    _packed("lzo", "xen-direct", checked=0, booted=0),
    _packed("lz4", "xen-direct", checked=1, booted=0, rule="kernel-compression", why=_READ),
    _packed("zstd", "xen-direct", checked=1, booted=0, rule="kernel-compression", why=_READ),
    _pv("kernel without Xen's notes", rule="kernel-not-for-xen", checked=1, booted=0, files=_files(boot__k=make_running_bzimage(gzip.compress(make_running_elf(is_for_xen=False)))), why=_ENTRY),
    _pv("32-bit kernel, 64-bit AKI", rule="kernel-bits", checked=1, booted=None, files=_files(boot__k=make_bzimage(gzip.compress(make_elf(bits=32)), bits=32)), sign="guest-panic", why=_WIDTH),
    _pv("root (hd0,0), whole disk", _new("(hd0)", "(hd0,0)"), "root-layout", checked=1, booted=1),
    _pv("root (hd0), partition", _PARTITION.replace("(hd0,0)", "(hd0)", 1), "root-layout", checked=1, booted=1, partitions=1, aki=_HD00),
    _pv("root (hd1)", _new("(hd0)", "(hd1)"), "root-unknown", checked=1, booted=1),
    _pv("chainloader", _new("kernel", "chainloader +1\n#"), "chainloader", checked=1, booted=1),
    _pv("lock, no password", _new("kernel", "lock\nkernel"), "", checked=0, booted=1, why="GRUB 2 stops at it; GRUB 0.97 passes over a lock without a password (HVM below)"),
    _pv("pause", _new("kernel", "pause\nkernel"), "entry-pauses", checked=None, booted=0, why=_PAUSE),
    _pv("configfile not there", _new("kernel", "configfile /none\n#"), "configfile-missing", checked=1, booted=1),
    _pv("configfile in a circle", _new("kernel", "configfile /boot/grub/menu.lst\n#"), "menu-circle", checked=None, booted=None, sign="boot-limit"),
    _pv("default out of range", MENU.replace("default 0", "default 5"), "default-range", checked=1, booted=0, why="GRUB 2 takes the first entry; GRUB 0.97 the fallback (HVM below)"),
    _pv("fallback out of range, kernel not there", _new("/boot/k", "/none").replace("fallback 1", "fallback 5"), "fallback-range", checked=None, booted=None, sign="pv-grub-error"),
    _pv("fallback on itself, kernel not there", _new("/boot/k", "/none").replace("fallback 1", "fallback 0"), "fallback-same", checked=None, booted=None, sign="pv-grub-error"),
    _pv("no timeout", MENU.replace("timeout 0\n", ""), "timeout-missing", checked=None, booted=None, sign="boot-limit"),
    _pv("a misspelt command", MENU.replace("timeout", "timeuot\ntimeout"), "command-unknown"),
    _pv("hd00 AKI 1.05, whole disk", rule="aki-hd00", aki=_HD00),
    _pv("hd00 AKI 1.03, whole disk", rule="aki-place", checked=None, booted=None, aki=_HD00.replace("1.05", "1.03"), sign="pv-grub-no-menu"),
    _pv("hd0 AKI 1.03, partition", _PARTITION, "aki-place", checked=None, booted=None, aki=AKI.replace("1.05", "1.03"), partitions=1, sign="pv-grub-no-menu"),
    _pv("hd00 AKI 1.03, partition", _PARTITION, "aki-outdated", aki=_HD00.replace("1.05", "1.03"), partitions=1),
    _pv("root=LABEL= of no file system", _new("LABEL=root", "LABEL=none"), "root-argument-label", checked=None, why=_NO_ROOT),
    _pv("root=UUID= of no file system", _new("LABEL=root", "UUID=00000000-0000-4000-8000-000000000000"), "root-argument-uuid", checked=None, why=_NO_ROOT),
    _pv("root=/dev/sda2", _new("LABEL=root", "/dev/sda2"), "root-argument-device", checked=None, why=_NO_ROOT),
    _pv("root=/dev/xvda1", _new("LABEL=root", "/dev/xvda1")),
    _pv("no root=", _new("root=LABEL=root ", ""), "root-argument-missing"),
    _pv("console=ttyS0", _new("hvc0", "ttyS0"), "console-missing"),
    _pv("a title without commands", HEAD + "title empty\n" + NEW + OLD, "title-empty"),
    _pv("default behind a title", "timeout 0\n" + NEW + "default 0\n" + OLD, "entry-waits", checked=None, why="GRUB 2 passes over it; GRUB 0.97 ends the entry (a timeout in one, HVM below)"),
    _pv("a timeout that is no number", MENU.replace("timeout 0", "timeout soon"), "timeout-missing", checked=None, why="GRUB 2 goes on by itself; GRUB 0.97 waits at its menu (HVM below)"),
    _pv("64-bit kernel, 32-bit AKI", rule="kernel-bits", checked=None, booted=None, aki=AKI.replace("x86_64", "i386"), sign="grub-no-entry-boots"),
)  # fmt: skip
HVM_BOOTS = (
    _hvm("a good disk", is_quick=True),
    _hvm("grub.conf alone", checked=0, booted=None, sign="grub-prompt", why="which name GRUB Legacy looks for stands in its stage2: Debian's is menu.lst, Red Hat's grub.conf", files={"boot/grub/grub.conf": HVM_MENU.encode(), "boot/grub/menu.lst": _GONE}),
    _hvm("no title", rule="menu-without-entry", checked=None, booted=None, sign="grub-prompt", menu=HVM_HEAD),
    _hvm("kernel not there, fallback", "/boot/k", "/none", "kernel-missing", checked=1, booted=1, is_quick=True),
    _hvm("kernel not there, no fallback", "/boot/k", "/none", "kernel-missing", checked=None, booted=None, sign="grub-error", menu=HVM_MENU.replace("fallback 1\n", "")),
    _hvm("initrd not there", "/boot/i", "/none", "initrd-missing", checked=1, booted=1),
    _hvm("initrd before kernel", "kernel /boot/k", "initrd /boot/i\nkernel /boot/k", "initrd-before-kernel", checked=1, booted=1),
    _hvm("text for a kernel", rule="kernel-none", checked=1, booted=1, files={"boot/k": b"text" * 999}),
    _hvm("an ELF for a kernel", rule="kernel-container", checked=1, booted=1, files={"boot/k": ELF}),
    _hvm("kernel cut short", rule="kernel-damaged", checked=None, booted=0, files={"boot/k": KERNEL[:1300]}, why="the kernel of this table ends before it would miss what was cut away"),
    _hvm("an lz4 kernel", files={"boot/k": make_running_bzimage(PACKERS["lz4"](ELF))}),
    _hvm("root (hd0), as in the guide", "root (hd0,0)", "root (hd0)", "root-layout", checked=1, booted=1),
    _hvm("root (hd1,0)", "root (hd0,0)", "root (hd1,0)", "root-unknown", checked=1, booted=1),
    _hvm("lock, no password", "kernel /boot/k", "lock\nkernel /boot/k", "", checked=0, booted=0),
    _hvm("pause", "kernel /boot/k", "pause\nkernel /boot/k", "entry-pauses", checked=None, booted=None, sign="silence"),
    _hvm("timeout in the entry", "kernel /boot/k", "timeout 0\nkernel /boot/k", "entry-waits", checked=1, booted=1),
    _hvm("configfile not there", "kernel /boot/k", "configfile /none\n#", "configfile-missing", checked=1, booted=1),
    _hvm("configfile in a circle", "kernel /boot/k", "configfile /boot/grub/menu.lst\n#", "menu-circle", checked=None, booted=None, sign="boot-limit"),
    _hvm("default out of range", "default 0", "default 5", "default-range", checked=1, booted=1),
    _hvm("no timeout", "timeout 0\n", "", "timeout-missing", checked=None, booted=None, sign="silence"),
    _hvm("a timeout that is no number", "timeout 0", "timeout x", "timeout-missing", checked=None, booted=None, sign="silence"),
    _hvm("root=LABEL= of no file system", "LABEL=root", "LABEL=none", "root-argument-label", checked=None, why=_NO_ROOT),
    _hvm("root=/dev/hdb1", "LABEL=root", "/dev/hdb1", "root-argument-device", checked=None, why=_NO_ROOT),
    _hvm("root=/dev/xvda1", "LABEL=root", "/dev/xvda1", "root-argument-fragile"),
    _hvm("console=hvc0", "ttyS0", "hvc0", "console-missing"),
    _hvm("no serial lines", "serial --unit=0 --speed=115200\nterminal --dumb serial\n", "", "serial-missing"),
    _hvm("hiddenmenu", "timeout 0\n", "timeout 0\nhiddenmenu\n", "hiddenmenu"),
)  # fmt: skip
MENU_BOOTS = (*PV_BOOTS, *HVM_BOOTS)


def menu_boot_table() -> str:
    """Return the Markdown between the README's two marks, both included."""
    parts = [BEGIN, "\n**PV**, 64-bit hd0 AKI 1.05 unless another is named\n\n" + _HEAD]
    parts += [_row(row) for row in PV_BOOTS]
    parts.append("\n**HVM**\n\n" + _HEAD)
    parts += [_row(row) for row in HVM_BOOTS]
    return "\n".join((*parts, "", END))


def _row(row: MenuBoot) -> str:
    rule = f"`{row.rule}`: " if row.rule else ""
    booted = _entry(row.booted) + (f", `{row.sign}`" if row.sign else "")
    return f"| {row.name} | {rule}{_entry(row.checked)} | {booted} | {row.why} |"


def _entry(number: int | None) -> str:
    return "nothing boots" if number is None else f"entry {number} boots"
