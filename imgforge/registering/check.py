"""What is looked at before EC2 is asked: all that it would refuse, at once."""

from collections.abc import Iterable

from imgforge.acceptance import BootMethod, Verdict
from imgforge.catalog import Finding, Objection, Severity, refuse_together
from imgforge.preflight import PreflightFinding
from imgforge.progress import report, warn


def refuse_or_warn(
    name: str, findings: Iterable[PreflightFinding | Finding], *, verdict: Verdict | None
) -> None:
    """Raise BadInputError with all that keeps an image out; tell the rest.

    What would not boot on EC2 is only told where the gate is open (no `verdict`): whoever registers
    it knows. It is only told, too, of a PV disk that booted without any PV-GRUB.
    """
    known = list(findings)
    for one in known:
        if one.severity is Severity.BROKEN and not _is_strict(verdict):
            warn(f"{name}: it would not boot on EC2: {_words(one)}")
        elif one.severity is Severity.WARNED:
            report(f"{name}: {_words(one)}")
    refuse_together(object_to_registering(name, known, verdict=verdict))


def object_to_registering(
    name: str, findings: Iterable[PreflightFinding | Finding], *, verdict: Verdict | None
) -> list[Objection]:
    """Return all that keeps an image out, as one objection."""
    kept_out = tuple(
        _words(one)
        for one in findings
        if one.severity is Severity.REFUSED
        or (one.severity is Severity.BROKEN and _is_strict(verdict))
    )
    if not kept_out:
        return []
    hint = "imgforge preflight tells of each rule where it is written."
    return [Objection(f"Image {name!r} cannot be registered", kept_out, hint)]


def _words(one: PreflightFinding | Finding) -> str:
    return f"{one.rule}: found {one.found}; {one.needed}"


def _is_strict(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.boot_method is not BootMethod.DIRECT
