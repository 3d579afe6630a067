"""What dom0 says on its console of the guest (guest/xen/init)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from imgforge.machine.event import EndReason

_SAID = re.compile(r"^imgforge-xen: (ready|loaded|ended|refused|failed)(?:[: ]+(.*))?$")
_NUMBER = re.compile(r"[0-9]{1,10}")
# xen/include/public/sched.h, SHUTDOWN_*. A guest may name any other number too.
_REASONS = {
    "0": (EndReason.GUEST_SHUTDOWN, "poweroff"),
    "1": (EndReason.GUEST_RESET, "reboot"),
    "2": (EndReason.GUEST_SHUTDOWN, "suspend"),
    "3": (EndReason.GUEST_PANIC, "crash"),
    "4": (EndReason.GUEST_PANIC, "watchdog"),
    "5": (EndReason.GUEST_RESET, "soft reset"),
}
# Xen's own, which a guest may not be able to tell any more.
_CRASH = re.compile(r"\(XEN\) .*(?:domain_crash|[Tt]riple fault|Unhandled|Domain \d+ .*crash)")


class Word(StrEnum):
    """What dom0 tells of the guest, in one word."""

    READY = "ready"
    LOADED = "loaded"
    ENDED = "ended"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Said:
    """A word of dom0's, and what came after it."""

    word: Word
    more: str = ""


def read_words(line: str) -> Said | None:
    """Return what a line of the appliance's console tells; None for any other line.

    What a guest writes there comes behind a mark of Xen's: it cannot speak for dom0.
    """
    match = _SAID.match(line)
    return None if match is None else Said(Word(match[1]), (match[2] or "").strip())


def judge_end(said: Said, *, trouble: str = "") -> tuple[EndReason, str]:
    """Return what an end is to the host, with words; `trouble` is Xen's last complaint."""
    match said:
        case Said(Word.REFUSED):
            return EndReason.KERNEL_REFUSED, f"Xen does not take the kernel: {said.more}"
        case Said(Word.ENDED) if _NUMBER.fullmatch(said.more):
            unknown = (EndReason.GUEST_SHUTDOWN, f"{said.more}, which is none of Xen's")
            reason, name = _REASONS.get(said.more, unknown)
            crashed = reason is EndReason.GUEST_PANIC
            more = f": {trouble}" if trouble and crashed else ""
            return reason, f"Xen's reason is {name}{more}"
        case _:
            return EndReason.APPLIANCE_FAILED, f"the Xen appliance: {said.word} {said.more}".strip()


def is_trouble(line: str) -> bool:
    """Tell whether a line is Xen's complaint about a guest that crashed."""
    return _CRASH.search(line) is not None
