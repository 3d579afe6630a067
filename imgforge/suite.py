"""The tests of an accepted boot: the built-in suite and the user's own, run by pytest beside us."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgforge import host
from imgforge.acceptance import Check, SkippedCheck, Verdict, judge_tests
from imgforge.command import Process, Setting, Streams, spawn
from imgforge.disk import Disk
from imgforge.errors import BadInputError, HostError
from imgforge.machine import Accelerator
from imgforge.progress import report, warn
from imgforge.pv_way import DIRECTLY, PvWish
from imgforge.recipe import ExpectPart
from imgforge.report import TestEntry, TestOutcome
from imgforge.testing.built_in import RESULT_SIGN, SUITE_FOLDER, check_name, suite_tests
from imgforge.testing.evidence import evidence_folder
from imgforge.testing.told import reason_of

TESTS_FOLDER = "tests"
LOG_FILE = "pytest.log"
_RESULTS_FILE = "results.json"
_LIMIT_S = 4 * 3600.0
_REAP_LIMIT_S = 30.0
_CLEAN_LIMIT_S = 15.0
_LOG_LINES = 12
_NOT_MADE = frozenset({TestOutcome.SKIPPED, TestOutcome.QUARANTINED})


@dataclass(frozen=True, slots=True)
class SuiteWish:
    """The tests wanted: those of the suite by name, and files or folders of the user's own."""

    names: tuple[str, ...] = ()
    own: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.own)


NO_TESTS = SuiteWish()


def choose_tests(wanted: str, own: Sequence[Path] = ()) -> SuiteWish:
    """Return the wish that "full", "none" or names separated by commas stand for.

    A name is a test's or that of a file of the suite ("login"). Raises BadInputError.
    """
    known = suite_tests()
    for path in own:
        if not path.exists():
            raise BadInputError(f"Tests {path}: there is no such file or folder.")
    if wanted in {"full", "none"}:
        return SuiteWish(tuple(known) if wanted == "full" else (), tuple(own))
    groups: dict[str, list[str]] = {}
    for name, place in known.items():
        groups.setdefault(place.partition("::")[0].rpartition(".test_")[2], []).append(name)
    names: list[str] = []
    for word in (word.strip() for word in wanted.split(",")):
        if word not in known and word not in groups:
            raise BadInputError(
                f"Suite {word!r}: is no test, and no group of tests.",
                hint=f"There are full, none; {', '.join(groups)}; {', '.join(known)}.",
            )
        names += groups.get(word, [word])
    return SuiteWish(tuple(dict.fromkeys(names)), tuple(own))


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """What is run, on what, and where its evidence goes."""

    wish: SuiteWish
    disk: Disk
    folder: Path
    expect: ExpectPart
    accelerator: Accelerator
    network: bool = False
    user_data: Path | None = None
    pv: PvWish = DIRECTLY

    @property
    def tests_folder(self) -> Path:
        """Where the evidence of the tests goes."""
        return self.folder / TESTS_FOLDER

    @property
    def log(self) -> Path:
        """What pytest said."""
        return self.folder / LOG_FILE


def pytest_arguments(run: SuiteRun, *, results: Path) -> list[str | Path]:
    """Return the arguments of Python that run the tests.

    The suite is named as a package, so that only the user's own tests decide which pytest.ini is
    theirs; without any there is none.
    """
    known = suite_tests()
    own = [path.absolute() for path in run.wish.own]
    options: list[str | Path] = [
        *("-m", "pytest", "-p", "imgforge.testing.results"),
        *("-p", "no:cacheprovider", "-n", "auto", "-ra"),
        # In one word each: pytest takes other words that are paths for tests of ours.
        *(f"--image={run.disk.path.absolute()}", f"--expect={run.expect.model_dump_json()}"),
        f"--accel={run.accelerator.kind.value}",
        f"--pv-boot={run.pv.way.value}",
        *(f"--evidence={run.tests_folder.absolute()}", f"--results={results}"),
    ]
    if run.pv.pv_grub is not None:
        options.append(f"--aki={run.pv.pv_grub.name}")
    if run.network:
        options.append("--guest-network")
    if run.user_data is not None:
        options.append(f"--user-data={run.user_data.absolute()}")
    if not own:
        options += ["-c", os.devnull, f"--rootdir={SUITE_FOLDER}"]
    return [*options, *own, "--pyargs", *(known[name] for name in run.wish.names)]


def discard_tests(folder: Path) -> None:
    """Remove what earlier tests left in a trial's folder: it would look like these ones'."""
    (folder / LOG_FILE).unlink(missing_ok=True)
    tests = folder / TESTS_FOLDER
    if tests.is_dir():
        # What is none of ours stays, until tests are to be run there: then they refuse.
        with suppress(BadInputError), evidence_folder(tests):
            pass


async def run_tests(run: SuiteRun) -> tuple[TestEntry, ...]:
    """Run the tests of an image in a process of their own; return how each ended.

    pytest.log gets what pytest said, `tests` the evidence. Raises HostError where the run came to
    no end of its own, BadInputError where it found no test.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    results = run.folder.absolute() / _RESULTS_FILE
    results.unlink(missing_ok=True)
    arguments = pytest_arguments(run, results=results)
    report(f"suite: {len(run.wish.names)} tests, {len(run.wish.own)} files or folders of your own")
    context = copy_context()  # what it says is about the same disk, in whatever thread

    def tell(line: str) -> None:
        context.run(_tell, line, run.wish.own)

    with run.log.open("wb") as log:
        process = spawn(
            sys.executable,
            arguments,
            streams=Streams(stdout=log, on_stderr=tell),
            setting=Setting(environment=host.own_environment()),
        )
        try:
            await process.gone(_LIMIT_S)
            exit_code = process.wait(_REAP_LIMIT_S)
        except BaseException as error:
            process.interrupt()
            with suppress(TimeoutError):  # it takes away what its machines wrote
                await process.gone(_CLEAN_LIMIT_S)
            if isinstance(error, TimeoutError):
                raise HostError(
                    f"The suite did not end: {error}.",
                    hint=f"{run.log} has what it said; --suite takes less of it at a time.",
                ) from None
            raise
        finally:
            process.kill()
    try:
        return _read_results(run, results)
    except FileNotFoundError:
        raise _failed(run, process, exit_code) from None
    finally:
        results.unlink(missing_ok=True)


def judge_further(verdict: Verdict, tests: Sequence[TestEntry], *, sha256_after: str) -> Verdict:
    """Return the verdict on an accepted boot and the tests after it; the disk's digest after all.

    Raises HostError where the harness failed and the image in no test: that is no verdict.
    """
    broken = [test for test in tests if test.outcome is TestOutcome.HARNESS]
    if broken and all(test.outcome is not TestOutcome.IMAGE for test in tests):
        raise HostError(
            f"The harness failed in {broken[0].name}: {broken[0].failure.strip()}",
            hint="It says nothing of the image; run it again.",
        )
    checks = tuple(_check(test) for test in tests if test.outcome not in _NOT_MADE)
    skipped = tuple(
        SkippedCheck(id=test.name, reason=_why_not_counted(test))
        for test in tests
        if test.outcome in _NOT_MADE
    )
    return judge_tests(verdict, checks=checks, skipped=skipped, sha256_after=sha256_after)


def _why_not_counted(test: TestEntry) -> str:
    if test.outcome is not TestOutcome.QUARANTINED:
        return test.reason
    return f"quarantined, its failure does not count: {test.reason}: {test.failure[-1000:]}"


def _check(test: TestEntry) -> Check:
    seconds = "" if test.seconds is None else f" in {test.seconds:.1f} s"
    match test.outcome:
        case TestOutcome.PASSED:
            return Check(id=test.name, passed=True, evidence=f"passed{seconds}")
        case TestOutcome.FLAKY:
            return Check(id=test.name, passed=True, evidence=f"flaky: {test.reason}")
        case TestOutcome.HARNESS:
            evidence = f"not looked at, the harness failed: {test.failure}"
            return Check(id=test.name, passed=False, evidence=evidence)
        case _:
            return Check(id=test.name, passed=False, evidence=_said(test.failure))


def _said(failure: str) -> str:
    """Return why a test failed: of a traceback, the lines that pytest marks with an E."""
    marked = [line[1:].strip() for line in failure.splitlines() if line.startswith("E  ")]
    told = "\n".join(marked).removeprefix("AssertionError: ")
    return told or "\n".join(reason_of(failure)) or failure


def _tell(line: str, own: tuple[Path, ...]) -> None:
    """Pass on what a test run says on its stderr: the end of a test, or a warning."""
    line = line.rstrip("\n")
    if line.startswith(RESULT_SIGN):
        entry = _entry(json.loads(line.removeprefix(RESULT_SIGN)), own)
        report(f"{entry.name}: {entry.outcome}{f' ({entry.reason})' if entry.reason else ''}")
    elif line.strip():
        warn(line)


def _read_results(run: SuiteRun, path: Path) -> tuple[TestEntry, ...]:
    """Read the file that imgforge.testing.results writes."""
    values = json.loads(path.read_bytes())
    if values["not_collected"]:
        raise BadInputError(
            f"Tests: pytest does not take them: {values['not_collected'][0]}",
            hint=f"{run.log} has all that pytest said.",
        )
    entries = tuple(_entry(value, run.wish.own) for value in values["tests"])
    if not entries:
        raise BadInputError(
            "Tests: pytest found none.", hint=f"{run.log} has all that pytest said."
        )
    return entries


def _entry(values: dict[str, Any], own: tuple[Path, ...]) -> TestEntry:
    return TestEntry(
        name=check_id(values["nodeid"], Path(values["path"]), own=own),
        outcome=TestOutcome(values["outcome"]),
        seconds=values["seconds"],
        failure=values["failure"],
        reason=values["reason"],
    )


def _failed(run: SuiteRun, process: Process, exit_code: int) -> HostError:
    lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    lines += process.output()[1].decode(errors="replace").splitlines()[-_LOG_LINES:]
    told = "".join(f"\n  {line}" for line in lines)
    return HostError(
        f"The suite came to no end of its own: pytest's exit code was {exit_code}.{told}",
        hint=f"{run.log} has all it said. It says nothing of the image.",
    )


def check_id(nodeid: str, path: Path, *, own: tuple[Path, ...]) -> str:
    """Return how a verdict names a test, from pytest's node id and the test's file.

    One of the user's own is named by its file as seen from the working folder or, elsewhere, from
    what holds all of `own`: pytest's node id would begin wherever both happen to meet.
    """
    test = nodeid.partition("::")[2]
    if path.parent == SUITE_FOLDER:
        return f"suite:{check_name(test)}"
    holders = [wanted.absolute() for wanted in own]
    base = os.path.commonpath([each if each.is_dir() else each.parent for each in holders])
    seen_from = Path.cwd() if path.is_relative_to(Path.cwd()) else base
    return f"test:{os.path.relpath(path, seen_from)}::{test}"
