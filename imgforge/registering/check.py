"""What is looked at before EC2 is asked: all that it would refuse, at once."""

from collections.abc import Iterable

from imgforge.acceptance import BootMethod, Verdict
from imgforge.catalog import Finding, Severity
from imgforge.errors import BadInputError
from imgforge.preflight import PreflightFinding
from imgforge.progress import report, warn


def refuse_or_warn(
    name: str, findings: Iterable[PreflightFinding | Finding], *, verdict: Verdict | None
) -> None:
    """Raise BadInputError with all that keeps an image out; tell the rest.

    What would not boot on EC2 is only told where the gate is open (no `verdict`): whoever registers
    it knows. It is only told, too, of a PV disk that booted without any PV-GRUB.
    """
    is_strict = verdict is not None and verdict.boot_method is not BootMethod.DIRECT
    kept_out = []
    for one in findings:
        words = f"{one.rule}: found {one.found}; {one.needed}"
        if one.severity is Severity.REFUSED:
            kept_out.append(words)
        elif one.severity is Severity.BROKEN:
            if is_strict:
                kept_out.append(words)
            else:
                warn(f"{name}: it would not boot on EC2: {words}")
        elif one.severity is Severity.WARNED:
            report(f"{name}: {words}")
    if kept_out:
        lines = [f"Image {name!r} cannot be registered:", *(f"  {one}." for one in kept_out)]
        raise BadInputError(
            "\n".join(lines), hint="imgforge preflight tells of each rule where it is written."
        )
