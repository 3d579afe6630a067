"""One boot's entry in the report: from its verdict and the folder of its evidence."""

from collections.abc import Sequence
from pathlib import Path

from imgforge.acceptance import Verdict
from imgforge.report.evidence import read_console, read_requests, read_screenshot
from imgforge.report.report import (
    BootEntry,
    BootOutcome,
    CheckEntry,
    CommandEntry,
    PastBoot,
    SignEntry,
    StageEntry,
)

_LOGIN_STAGE = "ssh"
_LOGIN_CHECK = "booted"


def read_boot(
    folder: Path,
    *,
    name: str,
    verdict: Verdict | None = None,
    commands: Sequence[CommandEntry] = (),
    instance_type: str = "",
    tests: Sequence[str] = (),
) -> BootEntry:
    """Return what a folder's files and, where there is one, a verdict tell of a boot.

    What is missing in the folder (a machine that died early) is missing in the entry.
    """
    seen = BootEntry(
        name=name,
        tests=tuple(tests),
        requests=read_requests(folder),
        commands=tuple(commands),
        console=read_console(folder),
        screenshot=read_screenshot(folder),
        instance_type=instance_type,
    )
    return seen if verdict is None else _judged(seen, verdict)


def _judged(seen: BootEntry, verdict: Verdict) -> BootEntry:
    stages = tuple(
        StageEntry(name=stage.name.value, reached=stage.reached, seconds=stage.seconds)
        for stage in verdict.stages
    )
    let_in = any(check.id == _LOGIN_CHECK and check.passed for check in verdict.checks)
    login_s = next((stage.seconds for stage in stages if stage.name == _LOGIN_STAGE), None)
    repeated = verdict.host_failure
    return BootEntry(
        name=seen.name,
        tests=seen.tests,
        outcome=BootOutcome.ACCEPTED if verdict.accepted else BootOutcome.REJECTED,
        reason=verdict.reason,
        failed_stage=verdict.failed_stage.value if verdict.failed_stage else "",
        sign=_sign(verdict),
        stages=stages,
        checks=tuple(
            CheckEntry(check.id, check.passed, check.evidence) for check in verdict.checks
        ),
        requests=seen.requests,
        commands=seen.commands,
        console=seen.console,
        screenshot=seen.screenshot,
        facts=_facts(verdict, seen.instance_type),
        notes=(
            *((f"An earlier boot was ended by the host: {repeated}",) if repeated else ()),
            *verdict.notes,
            *(f"{check.id} does not apply: {check.reason}." for check in verdict.skipped),
        ),
        created=verdict.created,
        seconds=verdict.seconds,
        login_s=login_s if let_in else None,
        accelerator=verdict.accelerator.kind,
        layout=verdict.disk.layout.value if verdict.disk.layout else "",
        boot_method=verdict.boot_method.value,
        instance_type=seen.instance_type,
    )


def _sign(verdict: Verdict) -> SignEntry | None:
    sign = verdict.sign
    if sign is None:
        return None
    return SignEntry(
        id=sign.id,
        meaning=sign.meaning,
        text=sign.text,
        hint=sign.hint,
        stage=verdict.failed_stage.value if verdict.failed_stage else "",
        at_s=sign.seconds,
    )


def _facts(verdict: Verdict, instance_type: str) -> tuple[tuple[str, str], ...]:
    way = verdict.metadata_way
    facts = (
        ("layout", verdict.disk.layout.value if verdict.disk.layout else "not recognised"),
        ("started by", verdict.boot_method.value),
        ("PV-GRUB", verdict.pv_grub or ""),
        ("instance type", instance_type),
        ("accelerator", f"{verdict.accelerator.kind}: {verdict.accelerator.reason}"),
        ("QEMU", verdict.qemu_version),
        ("metadata by", f"{way.way}: {way.reason}" if way else ""),
        ("disk SHA-256", verdict.disk.sha256_before),
        ("recipe SHA-256", verdict.recipe_sha256),
    )
    return tuple((name, value) for name, value in facts if value)


def past_boot(boot: BootEntry, *, recipe_sha256: str = "") -> PastBoot | None:
    """Return what the history keeps of a boot; None of one that was not judged."""
    if boot.created is None or boot.outcome not in {BootOutcome.ACCEPTED, BootOutcome.REJECTED}:
        return None
    return PastBoot(
        created=boot.created,
        accepted=boot.outcome is BootOutcome.ACCEPTED,
        login_s=boot.login_s,
        stages=tuple(
            (stage.name, stage.seconds) for stage in boot.stages if stage.seconds is not None
        ),
        accelerator=boot.accelerator,
        layout=boot.layout,
        boot_method=boot.boot_method,
        instance_type=boot.instance_type,
        recipe_sha256=recipe_sha256,
    )
