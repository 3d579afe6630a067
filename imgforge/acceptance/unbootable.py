"""The record of a disk that nothing could be started from: there was no boot to watch."""

from imgforge.acceptance.outside_signs import OUTSIDE_SIGNS
from imgforge.acceptance.record import BootMethod, BootRecord, Stage, StageName
from imgforge.machine import Accelerator


def record_unbootable(
    reason: str, *, accelerator: Accelerator, boot_method: BootMethod
) -> BootRecord:
    """Return the record of a disk whose boot loader would start nothing, with the reason."""
    reached_none = tuple(
        Stage(name, reached=False, seconds=None)
        for name in StageName
        if name not in {StageName.FIRMWARE, StageName.CLOUD_INIT}
    )
    return BootRecord(
        stages=reached_none,
        sign=OUTSIDE_SIGNS["nothing-to-start"].seen(text=reason, at_s=0.0),
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
