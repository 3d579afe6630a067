"""What a sign is: a row of the table of what a console shows when a boot does not succeed."""

import re
from dataclasses import dataclass
from enum import StrEnum
from re import Pattern

from imgforge.acceptance.record import StageName


class Where(StrEnum):
    """Where a sign shows: in whole lines only, or also in a line without its end (a prompt)."""

    LINE = "line"
    EITHER = "either"


class Effect(StrEnum):
    """What a sign does to the boot.

    FATAL ends it, and names its failure. SYMPTOM ends it too, and is named by a cause seen before
    it, if there was one. TENTATIVE is fatal only if nothing boots after it: GRUB prints an error,
    then takes the fallback. CAUSE ends nothing, for a boot may survive it, but names a symptom,
    a machine's end, a refused login or a silence that comes after it. WEAK_CAUSE names only what
    has no stage of its own: it is often seen on a slow host and does no harm.
    """

    FATAL = "fatal"
    SYMPTOM = "symptom"
    TENTATIVE = "tentative"
    CAUSE = "cause"
    WEAK_CAUSE = "weak-cause"

    @property
    def ends_boot(self) -> bool:
        """Whether the sign alone ends the boot, sooner or later."""
        return self not in {Effect.CAUSE, Effect.WEAK_CAUSE}


@dataclass(frozen=True, slots=True)
class Sign:
    """A row of the table; several rows may share an id, a meaning and a hint.

    `needle` is plain text that every match contains: a flooding guest then costs one substring
    search for each sign and line, not one regular expression. `stage` is the stage that failed;
    None: the one that was not reached. The sign counts only until `until` is reached (GRUB is gone
    once a kernel runs). A cause is fatal when it is seen for the `fatal_after`th time: a server
    that is started again and again may come up in the end, or never.
    """

    id: str
    needle: str
    pattern: Pattern[str]
    stage: StageName | None
    meaning: str
    hint: str
    effect: Effect = Effect.FATAL
    where: Where = Where.LINE
    until: StageName | None = None
    fatal_after: int | None = None


# printk's or journald's time stamp; dropbear's number and syslog's date; a name, with its number.
_PROGRAM = (
    r"(?:^|login: )\s*(?:<\d+>)?(?:\[ *\d+\.\d+\] )?(?:\[\d+\] )?(?:\w{3} +\d+ [\d:]{8} )?"
    r"(?:[\w@.()/-]+(?:\[\d+\])?: )?"
)


def kernel_text(text: str) -> Pattern[str]:
    """Return a pattern for what the kernel itself says.

    printk begins a line or follows its time stamp; elsewhere it is a program quoting a kernel.
    """
    return re.compile(r"(?:^(?:<\d>)?|\] |\[ end )" + text)


def program_text(text: str) -> Pattern[str]:
    """Return a pattern for what a program says: with a time stamp, its name and number, or bare.

    Without the name, a program that quotes another one in the middle of a line is not taken for it.
    """
    return re.compile(_PROGRAM + text)


ROOT_HINT = (
    "Check root= on the kernel's command line against the file system's label, and that kernel or "
    "initrd have the drivers of the disk (nvme, virtio_blk, xen-blkfront) and the file system."
)
INIT_HINT = (
    "Check that the root tree has an executable /sbin/init, with its interpreter and libraries."
)
FORMAT_HINT = (
    "Check init with `file`: it is built for another processor, or is a script without its "
    "`#!` line."
)
MEMORY_HINT = "Give the machine more memory, or make the initrd and the services smaller."
KERNEL_HINT = "Try another kernel, or look for the driver named in the lines above."
FSTAB_HINT = "Check /etc/fstab: each file system it names must exist, or have `nofail`."
UNIT_HINT = "Look for the first unit that failed in the lines above. " + FSTAB_HINT
