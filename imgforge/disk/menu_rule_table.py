"""The rules that menu.lst is held against, each with its need and where the guide says so."""

from types import MappingProxyType

from imgforge.disk.menu_finding import Rule, Weight

_KERNELS = "User Provided Kernels"
_LIMITS = f"{_KERNELS}: Limitations of PV-GRUB"
_PV = f"{_KERNELS}: Configuring GRUB for Paravirtual AMIs"
_HVM = f"{_KERNELS}: Configuring GRUB for HVM AMIs"
_AKIS = f"{_KERNELS}: Amazon PV-GRUB Kernel Image IDs"
_GRUB = "GRUB manual 0.97"
_E, _W, _N = Weight.ERROR, Weight.WARNING, Weight.NOTE
_LISTED = (
    # The file
    (
        "menu-missing",
        _E,
        "a menu.lst in one of the places that are looked at",
        "Put it at /boot/grub/menu.lst of the root file system.",
        _PV,
    ),
    (
        "menu-unreadable",
        _E,
        "a file that GRUB can read, of at most 1 MiB",
        "Shorten menu.lst, or write it, or the disk, again.",
        _PV,
    ),
    (
        "menu-name",
        _E,
        "the name menu.lst: PV-GRUB reads no grub.conf",
        "Make menu.lst a symbolic link to it.",
        _PV,
    ),
    (
        "menu-place-1.03",
        _E,
        "menu.lst in the one place that PV-GRUB 1.03 and earlier look at",
        "Use a newer AKI: imgforge aki find.",
        _PV,
    ),
    (
        "menu-shadowed",
        _N,
        "one menu.lst: the first place wins",
        "Remove the others, lest somebody edits them.",
        _PV,
    ),
    (
        "menu-without-entry",
        _E,
        "a title with commands",
        "Add an entry (imgforge menu-lst edit); write the file again where it is no text.",
        _PV,
    ),
    (
        "menu-circle",
        _E,
        "a configfile that leads to a menu with a kernel",
        "Name kernels in menu.lst itself.",
        _GRUB,
    ),
    ("configfile-missing", _E, "a configfile that is on the disk", "Correct its path.", _GRUB),
    # Its lines
    ("file-too-large", _W, "at most 256 KiB", "Remove old entries.", _GRUB),
    ("entries-too-many", _W, "at most 256 entries", "Remove old entries.", _GRUB),
    ("command-unknown", _W, "a command of GRUB 0.97", "Correct or remove the line.", _GRUB),
    (
        "command-patched",
        _N,
        "a command of GRUB 0.97: this one is a distribution's",
        "Nothing, where it is for looks alone.",
        _GRUB,
    ),
    (
        "command-misplaced",
        _W,
        "default, fallback, timeout and hiddenmenu before the first title, "
        "an entry's commands behind one",
        "Move the line.",
        _GRUB,
    ),
    (
        "title-empty",
        _W,
        "a command below each title: default and fallback count without it",
        "Remove the title, or complete it.",
        _GRUB,
    ),
    ("number-bad", _W, "numbers alone", "Correct the line.", _GRUB),
    ("line-too-long", _W, "lines of less than 1500 bytes", "Shorten it.", _GRUB),
    ("line-with-nul", _W, "text without NUL", "Write the file again.", _GRUB),
    # What is set
    (
        "default-range",
        _W,
        "the number of an entry, from 0",
        "Correct default: GRUB takes the fallback, without one the first entry.",
        _PV,
    ),
    (
        "default-saved",
        _N,
        "a number: which entry was saved last is not in menu.lst",
        "Write default 0.",
        _GRUB,
    ),
    ("fallback-range", _W, "numbers of entries, from 0", "Correct fallback.", _PV),
    (
        "fallback-missing",
        _N,
        "a fallback when a new kernel is tested",
        "Add fallback 1, and an entry that boots.",
        _PV,
    ),
    ("fallback-same", _W, "another entry than the default one", "Correct fallback.", _PV),
    (
        "timeout-missing",
        _E,
        "a timeout: without one GRUB waits at its menu for a key",
        "Add timeout 0.",
        _PV,
    ),
    (
        "serial-missing",
        _N,
        "serial and terminal lines, to see GRUB on the console",
        "Add serial --unit=0 --speed=9600 and terminal --dumb --timeout=5 serial console.",
        _HVM,
    ),
    ("hiddenmenu", _N, "no hiddenmenu when a kernel is tested", "Delete the line.", _HVM),
    (
        "serial-ignored",
        _N,
        "nothing: PV-GRUB has the guest's console alone",
        "Delete serial and terminal lines.",
        _PV,
    ),
    # The place of root
    ("root-unknown", _E, "root (hd0), (hd0,0) to (hd0,3)", "Correct root.", _PV),
    (
        "root-layout",
        _E,
        "(hd0) for a file system on the whole disk, (hd0,0) for the first partition",
        "Correct root.",
        _PV,
    ),
    # The kernel
    ("kernel-unnamed", _E, "a kernel line", "Add one to the entry.", _PV),
    (
        "kernel-missing",
        _E,
        "a kernel that is on the disk, seen from the entry's root",
        "Correct the path.",
        _PV,
    ),
    (
        "initrd-missing",
        _E,
        "an initrd that is on the disk, seen from the entry's root",
        "Correct the path.",
        _PV,
    ),
    ("initrd-before-kernel", _E, "kernel, then initrd", "Swap the lines.", _HVM),
    ("kernel-none", _E, "a Linux kernel", "Name a kernel: GRUB ends with error 13.", _HVM),
    ("kernel-damaged", _E, "a whole kernel", "Install the kernel again.", _KERNELS),
    ("kernel-container", _E, "a bzImage", "Install a kernel that is one.", _HVM),
    (
        "kernel-compression",
        _E,
        "gzip, bzip2, lzo or xz",
        "Pack the kernel again with one of these, or take one that is.",
        _LIMITS,
    ),
    (
        "kernel-compression-unknown",
        _W,
        "gzip, bzip2, lzo or xz",
        "Look at how the kernel was built.",
        _LIMITS,
    ),
    (
        "kernel-not-for-xen",
        _E,
        "Xen's ELF note XEN_ELFNOTE_ENTRY",
        "Take a kernel with CONFIG_XEN_PV; cloud kernels often lack it.",
        _PV,
    ),
    (
        "kernel-notes-unread",
        _N,
        "a compression that is read here: gzip, bzip2, xz",
        "Boot it to know: imgforge test.",
        _PV,
    ),
    (
        "kernel-bits",
        _E,
        "a kernel as wide as the AKI's architecture",
        "Take the other AKI: imgforge aki find --architecture.",
        _LIMITS,
    ),
    # Its command line
    ("root-argument-missing", _W, "root= on the kernel's command line", "Add root=LABEL=…", _PV),
    (
        "root-argument-device",
        _E,
        "a device that this virtualization type has",
        "Write root=LABEL=… or root=UUID=…",
        _PV,
    ),
    (
        "root-argument-fragile",
        _W,
        "root=LABEL= or root=UUID=: names differ between instance types",
        "Write root=LABEL=…",
        _HVM,
    ),
    (
        "root-argument-label",
        _E,
        "the label of a file system on the disk",
        "Correct root=LABEL=, or label the file system.",
        _PV,
    ),
    ("root-argument-uuid", _E, "the UUID of a file system on the disk", "Correct root=UUID=.", _PV),
    (
        "root-argument-lvm",
        _W,
        "a boot partition outside of the logical volumes, and an initrd that finds them",
        "Keep /boot on a partition of its own.",
        _LIMITS,
    ),
    (
        "console-missing",
        _W,
        "console=hvc0 (PV) or console=ttyS0 (HVM): else EC2 shows no output",
        "Add it, last.",
        _PV,
    ),
    (
        "command-line-long",
        _W,
        "at most 2047 bytes: Linux reads no more",
        "Shorten it.",
        "Documentation/arch/x86/boot.rst",
    ),
    # Commands of an entry
    ("chainloader", _E, "a kernel: PV-GRUB loads no boot sector", "Name the kernel itself.", _PV),
    (
        "entry-waits",
        _E,
        "an entry that needs nobody at the keyboard",
        "Remove the command.",
        _GRUB,
    ),
    (
        "entry-pauses",
        _E,
        "an entry that needs nobody at the keyboard: GRUB waits for a key, and takes no fallback",
        "Remove pause.",
        _GRUB,
    ),
    (
        "entry-ends",
        _E,
        "an entry that starts a kernel: this one switches the machine off or starts it anew",
        "Remove halt and reboot.",
        _GRUB,
    ),
    (
        "command-fails",
        _E,
        "commands that succeed: GRUB ends the entry at the first that fails",
        "Remove the command, or correct its path.",
        _GRUB,
    ),
    (
        "savedefault",
        _N,
        "a default that nothing changes: PV-GRUB's disk is not to be written",
        "Remove savedefault.",
        _PV,
    ),
    # The disk
    (
        "boot-code-missing",
        _E,
        "a partition table, and GRUB in the first sector: a BIOS starts that",
        "Build it with a layout hvm-mbr or hvm-gpt, or install GRUB on it.",
        _HVM,
    ),
    (
        "gpt-1.03",
        _E,
        "MBR: PV-GRUB 1.03 and earlier know no GPT",
        "Use a newer AKI: imgforge aki find.",
        _LIMITS,
    ),
    (
        "lvm-without-boot",
        _E,
        "a boot partition outside of LVM",
        "Make a partition for /boot.",
        _LIMITS,
    ),
    (
        "file-system-untested",
        _W,
        "ext2, ext3, ext4, JFS, XFS or ReiserFS",
        "Put /boot on one of these.",
        _LIMITS,
    ),
    (
        "file-system-features",
        _W,
        "what GRUB 0.97 reads",
        "Make the file system without them.",
        _LIMITS,
    ),
    (
        "aki-place",
        _E,
        "an hd0 AKI for a file system on the whole disk, an hd00 AKI for the first partition: 1.03 "
        "and earlier look there alone",
        "Use the other AKI, or an hd0 one from 1.04 on, which looks at both.",
        _AKIS,
    ),
    (
        "aki-hd00",
        _W,
        "an hd0 AKI: new images are to have one, hd00 ones are kept for old images",
        "Use an hd0 AKI: imgforge aki find.",
        _AKIS,
    ),
    ("aki-outdated", _W, "the latest PV-GRUB", "imgforge aki update.", _AKIS),
    ("aki-for-hvm", _W, "no AKI: hvm images have none", "Leave it out.", _KERNELS),
)
RULES = MappingProxyType({row[0]: Rule(*row) for row in _LISTED})
