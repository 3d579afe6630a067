"""One disk's trial: it is booted the way EC2 would boot it, watched, and judged."""

import asyncio
import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgforge import host
from imgforge.acceptance import (
    VERDICT_FILE,
    BootMethod,
    BootRecord,
    DiskReport,
    Login,
    Verdict,
    discard_login,
    host_failure,
    judge,
    never_ticked,
    new_login,
    observe,
    record_unbootable,
    starvation,
    write_verdict,
)
from imgforge.claim import claimed
from imgforge.disk import Disk, PvBootFailure, disk_sha256, evaluate_pv_boot
from imgforge.errors import HostError
from imgforge.files import scratch_folder
from imgforge.identity_key import installation_signer
from imgforge.machine import (
    T3_NANO,
    Accelerator,
    AcceleratorKind,
    AcceleratorWish,
    BootSource,
    MachineSpec,
    StartError,
    choose_accelerator,
    find_proof_kernel,
    start_machine,
)
from imgforge.metadata import Instance
from imgforge.places import reserve
from imgforge.progress import report, warn
from imgforge.recipe import ExpectPart
from imgforge.report import Report, TestEntry
from imgforge.suite import (
    NO_TESTS,
    SuiteRun,
    SuiteWish,
    discard_tests,
    judge_further,
    run_tests,
)
from imgforge.trial_report import REPORT_FILE, discard_report, report_trial
from imgforge.usage import in_use

_INSTANCE_TYPE = T3_NANO
MACHINE_BYTES = 768 * 2**20
"""A machine of 512 MiB, and what QEMU itself takes for it on TCG."""
# Other runs of this user may have all places, each for as long as a boot may take.
_PLACE_LIMIT_S = 7200.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How machines are started: the accelerator wished for, and whether they get a network."""

    accelerator: AcceleratorWish = AcceleratorWish.AUTO
    network: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """A disk to be tried, where the evidence goes, and what is expected of the boot.

    `tests` come after a boot that was accepted.
    """

    disk: Disk
    folder: Path
    expect: ExpectPart
    surroundings: Surroundings
    tests: SuiteWish = NO_TESTS


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


@dataclass(frozen=True, slots=True)
class Start:
    """How the disk is started, or why it cannot be."""

    source: BootSource
    method: BootMethod
    failure: PvBootFailure | None = None
    notes: tuple[str, ...] = ()


def pick_accelerator(wish: AcceleratorWish) -> Accelerator:
    """Choose the accelerator with the kernels that are at hand; it may take some 20 s once."""
    cache = host.cache_dir()
    # The kernel may be of a cached root tree.
    with in_use(cache) if cache.is_dir() else nullcontext():
        return choose_accelerator(wish, kernel=find_proof_kernel(cache), cache=cache)


async def try_disk(
    trial: Trial, *, accelerator: Accelerator, turn: asyncio.Lock | None = None
) -> Tested:
    """Boot a disk on a throw-away overlay, judge it, and leave the evidence in its folder.

    The folder gets console.raw, console.log, metadata.jsonl, qemu.argv, report.html, junit.xml
    and, last, verdict.json; of a trial with tests also pytest.log and the folder `tests`.
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
    )


async def _try_boot(
    trial: Trial, *, accelerator: Accelerator, scratch: Path
) -> tuple[BootRecord, Verdict]:
    (trial.folder / VERDICT_FILE).unlink(missing_ok=True)
    discard_report(trial.folder)
    discard_tests(trial.folder)
    start = await asyncio.to_thread(find_start, trial.disk, scratch)
    async with reserve(memory_bytes=MACHINE_BYTES, limit_s=_PLACE_LIMIT_S):
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
    ).model_copy(update={"host_failure": failure, "notes": start.notes})
    report(verdict.reason)
    return record, verdict


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


def new_instance(login: Login, *, image_id: str = "") -> Instance:
    """Return a fresh instance whose metadata serves the key of `login`."""
    return Instance(
        instance_id=f"i-{secrets.token_hex(9)[:17]}",
        image_id=image_id or f"ami-{secrets.token_hex(9)[:17]}",
        public_keys={"imgforge": login.public_key},
        reservation_id=f"r-{secrets.token_hex(9)[:17]}",
        pending_time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


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
    if never_ticked(second):
        raise HostError(
            f"The machine was started twice, and {failure}.",
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
            instance=new_instance(login),
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


def find_start(disk: Disk, folder: Path) -> Start:
    """Decide how a disk is started: a PV one by its evaluated menu.lst, any other by its BIOS."""
    if disk.layout is None or not disk.layout.is_pv:
        return Start(BootSource(), BootMethod.BIOS)
    found = evaluate_pv_boot(disk.path, folder)
    if isinstance(found, PvBootFailure):
        return Start(BootSource(), BootMethod.DIRECT, found)
    for note in found.notes:
        warn(note)
    source = BootSource(found.kernel, found.initrd, _with_serial_console(found.command_line))
    return Start(source, BootMethod.DIRECT, notes=found.notes)


def _with_serial_console(command_line: str) -> str:
    """Return a PV command line with the console that QEMU has: there is no hvc0 without Xen."""
    words = command_line.split()
    return command_line if "console=ttyS0" in words else f"{command_line} console=ttyS0".strip()
