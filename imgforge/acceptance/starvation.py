"""A machine that a busy host starved: emulated, it sees time go by and gets none of it."""

from imgforge.acceptance.record import BootRecord
from imgforge.machine import AcceleratorKind

# Linux counts ticks for 10 of them on the clock of the host (arch/x86/kernel/apic/io_apic.c,
# check_timer): on a host that is busy elsewhere none comes. Seen on TCG with a load of 8 on two
# processors; the kernel then waits for ever, or panics.
_NO_TICKS = ("8254 timer not connected to IO-APIC", "IO-APIC + timer doesn't work")
_STILL_SIGNS = frozenset({"soft-lockup", "hard-lockup"})
_LINES = 6


def starvation(record: BootRecord) -> str | None:
    """Tell how the host may have starved a machine; None where there is no sign of it.

    Only emulation (TCG) starves a machine in this way. Such a boot is worth a second one.
    """
    if record.sign is None or record.accelerator.kind is not AcceleratorKind.TCG:
        return None
    if never_ticked(record):
        return "the host was too busy for the machine's timer"
    if record.sign.id in _STILL_SIGNS:
        return "the host may have been too busy for the machine's processors"
    return None


def never_ticked(record: BootRecord) -> bool:
    """Tell whether the machine's timer never ticked: that is no doing of the image's."""
    last = record.console_lines[-_LINES:]
    return record.sign is not None and any(text in line for line in last for text in _NO_TICKS)
