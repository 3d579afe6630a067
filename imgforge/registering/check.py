"""What is looked at before EC2 is asked: all that it would refuse, at once."""

from collections.abc import Iterable

from imgforge.catalog import Finding, Gate, Severity
from imgforge.errors import BadInputError
from imgforge.preflight import PreflightFinding
from imgforge.progress import report, warn


def refuse_or_warn(
    name: str, findings: Iterable[PreflightFinding | Finding], *, gate: Gate
) -> None:
    """Raise BadInputError with all that keeps an image out; tell the rest.

    With the gate open, what would not boot is a warning: whoever registers it knows.
    """
    kept_out = []
    for one in findings:
        words = f"{one.rule}: found {one.found}; {one.needed}"
        if one.severity is Severity.REFUSED:
            kept_out.append(words)
        elif one.severity is Severity.BROKEN:
            if gate is Gate.VERDICT:
                kept_out.append(words)
            else:
                warn(f"{name}: {words}")
        elif one.severity is Severity.WARNED:
            report(f"{name}: {words}")
    if kept_out:
        lines = [f"Image {name!r} cannot be registered:", *(f"  {one}." for one in kept_out)]
        raise BadInputError(
            "\n".join(lines), hint="imgforge preflight tells of each rule where it is written."
        )
