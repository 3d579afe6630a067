"""One disk's trial: it is booted the way EC2 would boot it, watched, and judged."""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from imgforge.acceptance import (
    VERDICT_FILE,
    BootRecord,
    DiskReport,
    Verdict,
    discard_login,
    host_failure,
    judge,
    never_ticked,
    new_login,
    observe,
    record_unbootable,
    starvation,
    was_kept_waiting,
    write_verdict,
)
from imgforge.claim import claimed
from imgforge.disk import Disk, disk_sha256
from imgforge.errors import HostError
from imgforge.files import scratch_folder
from imgforge.identity_key import installation_signer
from imgforge.machine import (
    T3_NANO,
    Accelerator,
    AcceleratorKind,
    AcceleratorWish,
    MachineSpec,
    StartError,
    outer_memory_mib,
    start_machine,
)
from imgforge.places import reserve
from imgforge.progress import report, warn
from imgforge.recipe import ExpectPart
from imgforge.report import Report, TestEntry
from imgforge.start import Start, Surroundings, find_start, new_instance
from imgforge.suite import NO_TESTS, SuiteRun, SuiteWish, discard_tests, judge_further, run_tests
from imgforge.trial_report import REPORT_FILE, discard_report, report_trial

USER_DATA_FILE = "user-data"
_INSTANCE_TYPE = T3_NANO
MACHINE_BYTES = 768 * 2**20
"""A machine of 512 MiB, and what QEMU itself takes for it on TCG."""
# Other runs of this user may have all places, each for as long as a boot may take.
_PLACE_LIMIT_S = 7200.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A disk to be tried, where the evidence goes, and what is expected of the boot.

    `tests` come after a boot that was accepted. `user_data` is what all its machines are launched
    with, the tests' too. `remarks` are sentences that its verdict notes.
    """

    disk: Disk
    folder: Path
    expect: ExpectPart
    surroundings: Surroundings
    tests: SuiteWish = NO_TESTS
    user_data: bytes | None = None
    remarks: tuple[str, ...] = ()

    @property
    def user_data_path(self) -> Path | None:
        """Where the evidence has its user data; None where there is none."""
        return None if self.user_data is None else self.folder / USER_DATA_FILE

    @property
    def notes(self) -> tuple[str, ...]:
        """What a verdict has to say beside the boot, as that it is on the image with user data."""
        if self.user_data is None:
            return self.remarks
        digest = hashlib.sha256(self.user_data).hexdigest()
        size = f"{len(self.user_data)} bytes, SHA-256 {digest}"
        told = f"The machines had user data ({size}): the verdict is on the image with it."
        return (*self.remarks, told)


@dataclass(frozen=True, slots=True)
class Tested:
    """A disk, its verdict and the folder that holds the evidence."""

    disk: Disk
    verdict: Verdict
    folder: Path
    console_lines: tuple[str, ...]
    report: Report

    @property
    def verdict_path(self) -> Path:
        """Where verdict.json stands."""
        return self.folder / VERDICT_FILE

    @property
    def report_path(self) -> Path:
        """Where report.html stands."""
        return self.folder / REPORT_FILE


async def try_disk(
    trial: Trial, *, accelerator: Accelerator, turn: asyncio.Lock | None = None
) -> Tested:
    """Boot a disk on a throw-away overlay, judge it, and leave the evidence in its folder.

    The folder gets console.raw, console.log, metadata.jsonl, qemu.argv, report.html, junit.xml
    and, last, verdict.json; of a trial with tests also pytest.log and the folder `tests`, of one
    with user data that.
    A boot that the host itself ended is repeated once on TCG, unless KVM was asked for by name;
    the verdict says so. A test that another run has going in the folder is waited for. The tests
    of trials that share a `turn` run one after the other: each takes all the host gives. Raises
    HostError where the host fails.
    """
    async with claimed(trial.folder, what="another test is running"):
        with scratch_folder(trial.folder) as scratch:
            record, verdict = await _try_boot(trial, accelerator=accelerator, scratch=scratch)
        tests: tuple[TestEntry, ...] = ()
        if verdict.accepted and trial.tests:
            async with turn or asyncio.Lock():
                tests = await run_tests(_suite_run(trial, record))
        return await _conclude(trial, record, verdict, tests=tests)


def _suite_run(trial: Trial, record: BootRecord) -> SuiteRun:
    return SuiteRun(
        wish=trial.tests,
        disk=trial.disk,
        folder=trial.folder,
        expect=trial.expect,
        accelerator=record.accelerator,
        network=trial.surroundings.network,
        user_data=trial.user_data_path,
        pv=trial.surroundings.pv,
    )


async def _try_boot(
    trial: Trial, *, accelerator: Accelerator, scratch: Path
) -> tuple[BootRecord, Verdict]:
    (trial.folder / VERDICT_FILE).unlink(missing_ok=True)
    discard_report(trial.folder)
    discard_tests(trial.folder)
    (trial.folder / USER_DATA_FILE).unlink(missing_ok=True)
    if trial.user_data is not None:
        (trial.folder / USER_DATA_FILE).write_bytes(trial.user_data)
    start = await asyncio.to_thread(find_start, trial.disk, scratch, pv=trial.surroundings.pv)
    async with reserve(memory_bytes=_memory_bytes(start), limit_s=_PLACE_LIMIT_S):
        record, failure = await _boot_twice(trial, start, accelerator=accelerator, scratch=scratch)
    after = await asyncio.to_thread(disk_sha256, trial.disk.path)
    verdict = judge(
        record,
        expect=trial.expect,
        disk=DiskReport(
            sha256_before=trial.disk.sha256, sha256_after=after, layout=trial.disk.layout
        ),
        recipe_sha256=trial.disk.recipe_sha256,
        lock_sha256=trial.disk.lock_sha256,
        created=datetime.now(UTC),
    ).model_copy(
        update={
            "host_failure": failure,
            "notes": (*start.notes, *trial.notes),
            "pv_grub": start.pv_grub.name if start.pv_grub else None,
        }
    )
    report(verdict.reason)
    return record, verdict


def _memory_bytes(start: Start) -> int:
    """Return what a machine may take: one in which Xen runs the guest takes more."""
    guest_mib = _INSTANCE_TYPE.memory_mib
    xen = start.source.xen
    more_mib = outer_memory_mib(guest_mib, bits=xen.bits) - guest_mib if xen else 0
    return MACHINE_BYTES + more_mib * 2**20


async def _conclude(
    trial: Trial, record: BootRecord, verdict: Verdict, *, tests: tuple[TestEntry, ...]
) -> Tested:
    """Leave the report and, last, the verdict on the boot and the tests after it."""
    whole = verdict
    if tests:
        after = await asyncio.to_thread(disk_sha256, trial.disk.path)
        whole = judge_further(verdict, tests, sha256_after=after)
    # In a thread: the consoles of other machines are read in this one.
    told = await asyncio.to_thread(
        report_trial,
        trial.disk,
        record,
        verdict,
        folder=trial.folder,
        instance_type=_INSTANCE_TYPE.name,
        tests=tests,
    )
    write_verdict(trial.folder, whole)
    if tests:
        report(whole.reason)
    return Tested(trial.disk, whole, trial.folder, record.console_lines, told)


async def _boot_twice(
    trial: Trial, start: Start, *, accelerator: Accelerator, scratch: Path
) -> tuple[BootRecord, str | None]:
    """Boot, and once more where it may have been the host that ended the first; tell how."""
    first, failure = await _boot_first(
        trial, start, accelerator=accelerator, scratch=scratch / "first"
    )
    if first is None or (failure and _may_repeat(trial, accelerator)):
        warn(f"the host failed ({failure}); once more on TCG")
        tcg = Accelerator(AcceleratorKind.TCG, "max", f"after KVM failed: {failure}")
        return await _boot(trial, start, accelerator=tcg, scratch=scratch / "second"), failure
    if failure or not (failure := starvation(first)):
        return first, failure
    warn(f"{failure}; once more")
    second = await _boot(trial, start, accelerator=accelerator, scratch=scratch / "second")
    if never_ticked(second) or was_kept_waiting(second):
        raise HostError(
            f"The machine was started twice, and {starvation(second)}.",
            hint="Run it again with less going on beside it, or with --accel kvm.",
        )
    return second, failure


async def _boot_first(
    trial: Trial, start: Start, *, accelerator: Accelerator, scratch: Path
) -> tuple[BootRecord | None, str | None]:
    """Boot; return the record and how the host failed, if it did.

    There is no record where QEMU did not even start, and may be started again on TCG.
    """
    try:
        record = await _boot(trial, start, accelerator=accelerator, scratch=scratch)
    except StartError as error:
        if not _may_repeat(trial, accelerator):
            raise
        return None, str(error).partition("\n")[0]
    return record, host_failure(record)


async def _boot(
    trial: Trial, start: Start, *, accelerator: Accelerator, scratch: Path
) -> BootRecord:
    if start.failure is not None:
        return record_unbootable(
            start.failure.reason, accelerator=accelerator, boot_method=start.method
        )
    login = await asyncio.to_thread(new_login, scratch, user=trial.expect.login_user)
    try:
        spec = MachineSpec(
            disk=trial.disk.path,
            accelerator=accelerator,
            instance=replace(new_instance(login), user_data=trial.user_data),
            folder=trial.folder,
            profile=_INSTANCE_TYPE,
            source=start.source,
            network=trial.surroundings.network,
            signer=await asyncio.to_thread(installation_signer),
        )
        async with start_machine(spec) as machine:
            return await observe(
                machine,
                expect=trial.expect,
                login=login,
                boot_method=start.method,
            )
    finally:
        discard_login(login)


def _may_repeat(trial: Trial, accelerator: Accelerator) -> bool:
    wish = trial.surroundings.accelerator
    return accelerator.kind is AcceleratorKind.KVM and wish is not AcceleratorWish.KVM
