"""A machine that a busy host starved: emulated, it sees time go by and gets none of it."""

from imgforge.acceptance.record import BootRecord
from imgforge.machine import AcceleratorKind

# Linux counts ticks for 10 of them on the clock of the host (arch/x86/kernel/apic/io_apic.c,
# check_timer): on a host that is busy elsewhere none comes. Seen on TCG with a load of 8 on two
# processors; the kernel then waits for ever, or panics.
_NO_TICK, _NO_TIMER = ("8254 timer not connected to IO-APIC", "IO-APIC + timer doesn't work")
_STILL_SIGNS = frozenset({"soft-lockup", "hard-lockup"})
_SILENT_SIGNS = frozenset({"silence", "silent-kernel", "boot-limit"})
_LINES = 6
_WAITED_SHARE = 0.5


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
    if was_kept_waiting(record):
        return (
            f"the host was busy: for {record.waited_s:.0f} of {record.seconds:.0f} s the machine "
            "waited for a processor"
        )
    return None


def never_ticked(record: BootRecord) -> bool:
    """Tell whether the machine's timer never ticked: that is no doing of the image's."""
    if record.sign is None:
        return False
    # The kernel tries other timers after the first words, and panics with the second.
    last = record.console_lines[-_LINES:]
    panicked = any(_NO_TIMER in line for line in record.console_lines)
    return panicked or any(_NO_TICK in line for line in last)


def was_kept_waiting(record: BootRecord) -> bool:
    """Tell whether a machine that was not heard of in time had no processor for half of it."""
    silent = record.sign is not None and record.sign.id in _SILENT_SIGNS
    return silent and record.waited_s > record.seconds * _WAITED_SHARE
