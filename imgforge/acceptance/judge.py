"""What was seen of a boot becomes a verdict. Pure: no clock, no machine, no file."""

from collections.abc import Iterator
from datetime import datetime

from imgforge.acceptance.outside_signs import HOST_ENDS
from imgforge.acceptance.record import (
    BootRecord,
    CommandResult,
    LoginAttempt,
    LoginId,
    LoginOutcome,
    SeenSign,
    StageName,
)
from imgforge.acceptance.verdict import (
    AcceleratorReport,
    Check,
    DiskReport,
    SignReport,
    SkippedCheck,
    StageReport,
    Verdict,
    WayReport,
)
from imgforge.acceptance.watch import is_key_answer
from imgforge.errors import HostError
from imgforge.machine import EndReason
from imgforge.recipe import ExpectPart

_PASSWORD_METHODS = frozenset({"password", "keyboard-interactive"})
_SUPER_USER = "root"
_HOST_HINT = "Run it again, or with --accel tcg; `imgforge doctor` looks at the host."
_DISK_FULL_HINT = "Free some there, or give another folder."
_KEY_FETCHED = "key-fetched"
_STAGE_OF_CHECK = {
    "booted": StageName.SSH,
    "host-key-on-console": StageName.SSH,
    _KEY_FETCHED: StageName.METADATA,
    "other-key-refused": StageName.SSH,
    "password-refused": StageName.SSH,
    "root-password-refused": StageName.SSH,
}


def host_failure(record: BootRecord) -> str | None:
    """Tell what of the host ended a boot; None where the end, if any, was the guest's own doing.

    Such a record says nothing of the image: `judge` refuses it.
    """
    ended = record.ended
    if ended is None or ended.reason not in HOST_ENDS:
        return None
    return f"{ended.reason.value} after {ended.at_s:.1f} s: {ended.detail}"


def _ended_by_full_disk(record: BootRecord) -> bool:
    return record.ended is not None and record.ended.reason is EndReason.HOST_DISK_FULL


def judge(
    record: BootRecord,
    *,
    expect: ExpectPart,
    disk: DiskReport,
    recipe_sha256: str,
    lock_sha256: str,
    created: datetime,
) -> Verdict:
    """Judge a boot: accepted where every check holds, and no fatal sign was seen.

    Raises HostError for a boot that the host ended: that is never a verdict on the image.
    """
    if failure := host_failure(record):
        raise HostError(
            f"The boot was ended by the host, not by the image: {failure}.",
            hint=_DISK_FULL_HINT if _ended_by_full_disk(record) else _HOST_HINT,
        )
    skipped = tuple(_skipped(record))
    left_out = {check.id for check in skipped}
    every = _checks(record, expect=expect, disk=disk)
    checks = tuple(check for check in every if check.id not in left_out)
    failed = [check for check in checks if not check.passed]
    accepted = not failed and record.sign is None
    failed_stage = None if accepted else _failed_stage(record, failed)
    sign = record.sign
    return Verdict(
        accepted=accepted,
        reason=_reason(record, failed=failed, failed_stage=failed_stage, count=len(checks)),
        disk=disk,
        recipe_sha256=recipe_sha256,
        lock_sha256=lock_sha256,
        accelerator=AcceleratorReport(
            kind=record.accelerator.kind.value, reason=record.accelerator.reason
        ),
        qemu_version=record.qemu_version,
        boot_method=record.boot_method,
        seconds=round(record.seconds, 3),
        stages=tuple(
            StageReport(name=stage.name, seconds=_round(stage.seconds), reached=stage.reached)
            for stage in record.stages
        ),
        checks=checks,
        failed_stage=failed_stage,
        sign=None if sign is None else _report_sign(sign),
        skipped=skipped,
        created=created,
        metadata_way=_way(record),
    )


def judge_tests(
    verdict: Verdict,
    *,
    checks: tuple[Check, ...],
    skipped: tuple[SkippedCheck, ...],
    sha256_after: str,
) -> Verdict:
    """Return the verdict on an accepted boot whose disk was tested further.

    It stays accepted where each of `checks` holds, and the disk is the same after them.
    """
    disk = verdict.disk.model_copy(update={"sha256_after": sha256_after})
    unchanged = _disk_unchanged(disk)
    of_boot = tuple(unchanged if check.id == unchanged.id else check for check in verdict.checks)
    all_checks = (*of_boot, *checks)
    failed = [check for check in all_checks if not check.passed]
    if not verdict.accepted:
        raise ValueError("only an accepted boot is tested further")
    if failed:
        reason = _reason_of_checks(failed, where="")
    else:
        began = verdict.reason.partition(", and all ")[0]
        apart = f" ({len(skipped)} do not count)" if skipped else ""
        reason = f"{began}, and all {len(all_checks)} checks hold{apart}."
    return verdict.model_copy(
        update={
            "accepted": not failed,
            "reason": reason,
            "disk": disk,
            "checks": all_checks,
            "skipped": (*verdict.skipped, *skipped),
        }
    )


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _report_sign(sign: SeenSign) -> SignReport:
    return SignReport(
        id=sign.id,
        meaning=sign.meaning,
        text=sign.text,
        seconds=round(sign.at_s, 3),
        hint=sign.hint,
    )


def _checks(record: BootRecord, *, expect: ExpectPart, disk: DiskReport) -> Iterator[Check]:
    """Yield every check, made or not: what was not looked at does not hold (see `_skipped`)."""
    logins = {attempt.id: attempt for attempt in record.logins}
    user = expect.login_user
    root = LoginId.OTHER_KEY if user == _SUPER_USER else LoginId.OTHER_KEY_ROOT
    yield _booted(record, logins.get(LoginId.OWNER))
    yield _host_key(record)
    yield _key_fetched(record)
    yield _other_key_refused([logins.get(way) for way in dict.fromkeys((LoginId.OTHER_KEY, root))])
    yield _password_refused("password-refused", logins.get(LoginId.OTHER_KEY))
    yield _password_refused("root-password-refused", logins.get(root))
    yield _disk_unchanged(disk)
    for seen in record.must_show:
        evidence = "not on the console" if seen.line is None else seen.line
        yield Check(
            id=f"console-shows:{seen.pattern}", passed=seen.line is not None, evidence=evidence
        )
    for seen in record.must_not_show:
        evidence = "not on the console" if seen.line is None else seen.line
        yield Check(
            id=f"console-does-not-show:{seen.pattern}", passed=seen.line is None, evidence=evidence
        )
    for number, line in enumerate(expect.commands):
        result = record.commands[number] if number < len(record.commands) else None
        yield _command(number + 1, line, result)


def _skipped(record: BootRecord) -> Iterator[SkippedCheck]:
    """Yield the checks that do not apply to a boot."""
    if record.service_off:
        yield SkippedCheck(id=_KEY_FETCHED, reason=record.service_off)


def _booted(record: BootRecord, attempt: LoginAttempt | None) -> Check:
    if attempt is not None and attempt.let_in:
        reached = [stage for stage in record.stages if stage.name is StageName.SSH]
        seconds = reached[0].seconds if reached else None
        when = "" if seconds is None else f" {seconds:.1f} s after power-on"
        return Check(
            id="booted", passed=True, evidence=f"{attempt.user} was logged in by SSH{when}"
        )
    said = "SSH was not tried" if attempt is None else f"ssh: {attempt.evidence}"
    return Check(id="booted", passed=False, evidence=said)


def _host_key(record: BootRecord) -> Check:
    kinds = ", ".join(key.split()[0] for key in record.host_keys)
    return Check(
        id="host-key-on-console",
        passed=bool(record.host_keys),
        evidence=f"the console showed {kinds}" if kinds else "the console showed no SSH host key",
    )


def _key_fetched(record: BootRecord) -> Check:
    fetched = next((request for request in record.requests if is_key_answer(request)), None)
    evidence = (
        f"GET {fetched.path} after {fetched.at_s:.1f} s, by {fetched.user_agent or 'no user agent'}"
        if fetched
        else f"{len(record.requests)} metadata requests, none of them for the public key"
    )
    return Check(id=_KEY_FETCHED, passed=fetched is not None, evidence=evidence)


def _other_key_refused(attempts: list[LoginAttempt | None]) -> Check:
    made = [attempt for attempt in attempts if attempt is not None]
    refused = len(made) == len(attempts) and all(
        attempt.outcome is LoginOutcome.REFUSED for attempt in made
    )
    evidence = "; ".join(f"{attempt.user}: {attempt.evidence}" for attempt in made)
    return Check(id="other-key-refused", passed=refused, evidence=evidence or "not tried")


def _password_refused(id: str, attempt: LoginAttempt | None) -> Check:  # noqa: A002
    if attempt is None:
        return Check(id=id, passed=False, evidence="not tried")
    offered = _PASSWORD_METHODS.intersection(attempt.methods)
    # Without a list of methods nothing is known, and what is not known does not hold.
    passed = attempt.outcome is LoginOutcome.REFUSED and bool(attempt.methods) and not offered
    evidence = (
        f"{attempt.user} is offered: {', '.join(attempt.methods)}"
        if attempt.methods
        else f"{attempt.user}: {attempt.evidence}"
    )
    return Check(id=id, passed=passed, evidence=evidence)


def _disk_unchanged(disk: DiskReport) -> Check:
    same = disk.sha256_before == disk.sha256_after
    evidence = (
        f"SHA-256 {disk.sha256_before} before and after"
        if same
        else f"SHA-256 {disk.sha256_before} before, {disk.sha256_after} after"
    )
    return Check(id="disk-unchanged", passed=same and bool(disk.sha256_before), evidence=evidence)


def _command(number: int, line: str, result: CommandResult | None) -> Check:
    if result is None:
        return Check(id=f"command:{number}", passed=False, evidence=f"{line}: not run")
    code = "no exit code" if result.exit_code is None else f"exit code {result.exit_code}"
    return Check(
        id=f"command:{number}",
        passed=result.exit_code == 0,
        evidence=f"{line}: {code}\n{result.evidence}",
    )


def _failed_stage(record: BootRecord, failed: list[Check]) -> StageName | None:
    if record.sign is not None and record.sign.stage is not None:
        return record.sign.stage
    missing = next((stage.name for stage in record.stages if not stage.reached), None)
    if missing is not None:
        return missing
    return next(
        (_STAGE_OF_CHECK[check.id] for check in failed if check.id in _STAGE_OF_CHECK), None
    )


def _reason(
    record: BootRecord, *, failed: list[Check], failed_stage: StageName | None, count: int
) -> str:
    where = "" if failed_stage is None else f" at stage {failed_stage.value}"
    if record.sign is not None:
        return f"Rejected{where}: {record.sign.meaning}: {_first_line(record.sign.text)}"
    if failed:
        return _reason_of_checks(failed, where=where)
    booted = next(stage for stage in record.stages if stage.name is StageName.SSH)
    seconds = "" if booted.seconds is None else f" {booted.seconds:.1f} s after power-on"
    return f"Accepted: logged in by SSH{seconds}, and all {count} checks hold."


def _reason_of_checks(failed: list[Check], *, where: str) -> str:
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    evidence = _first_line(failed[0].evidence)
    return f"Rejected{where}: {failed[0].id} does not hold{others}: {evidence}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def _way(record: BootRecord) -> WayReport | None:
    way = record.metadata_way
    return None if way is None else WayReport(way=way.way.value, reason=way.reason)
