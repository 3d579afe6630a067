"""The record of a disk that nothing could be started from: there was no boot to watch."""

from imgforge.acceptance.record import BootRecord, SeenSign, Stage, StageName
from imgforge.machine import Accelerator

_HINT = "A kernel and menu.lst are looked for where PV-GRUB would: in its nine places, in order."


def record_unbootable(reason: str, *, accelerator: Accelerator, boot_method: str) -> BootRecord:
    """Return the record of a disk whose boot loader would start nothing, with the reason."""
    reached_none = tuple(
        Stage(name, reached=False, seconds=None)
        for name in StageName
        if name is not StageName.FIRMWARE
    )
    return BootRecord(
        stages=reached_none,
        sign=SeenSign(
            id="nothing-to-start",
            meaning="the boot loader would start nothing",
            text=reason,
            at_s=0.0,
            hint=_HINT,
            stage=StageName.BOOTLOADER,
        ),
        ended=None,
        logins=(),
        commands=(),
        requests=(),
        host_keys=(),
        must_show=(),
        must_not_show=(),
        console_lines=(),
        accelerator=accelerator,
        qemu_version="",
        boot_method=boot_method,
        seconds=0.0,
    )
