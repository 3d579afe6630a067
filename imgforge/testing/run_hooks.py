"""How a run of pytest ends and is told: its hooks, registered only where an image is tested."""

import logging
from collections.abc import Generator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from imgforge.progress import LOG, warn
from imgforge.report import TestOutcome, visible
from imgforge.testing.evidence import new_folder
from imgforge.testing.lending import LOANS, Loan
from imgforge.testing.machine_files import note_warning, read_warnings
from imgforge.testing.outcome import (
    Conclusion,
    Phase,
    PhaseEnd,
    closing_lines,
    conclude,
    exit_code,
)
from imgforge.testing.plan import Image
from imgforge.testing.quarantine import Quarantine, load_quarantine
from imgforge.testing.run_report import report_run, tidy_after_workers
from imgforge.testing.told import (
    Failure,
    FailureKind,
    Told,
    describe,
    hide_our_frames,
    kind_of,
    near,
    reason_of,
    replay_line,
    seen_from,
    shortened,
)
from imgforge.trial_report import REPORT_FILE

_WIRE = "imgforge_failure"
_QUARANTINED = "imgforge_quarantined"
_PHASES = ("setup", "call", "teardown")
_CLOSING_LINES = 8  # with a heading and pytest's own last line: ten


class RunHooks:
    """What pytest asks, in a worker as in the main process; the main one concludes and tells."""

    def __init__(self, config: pytest.Config, evidence: Path) -> None:
        self._config = config
        self._evidence = evidence
        self._is_main = not hasattr(config, "workerinput")
        self._quarantine = _quarantine_of(config)
        self._phases: dict[str, list[Phase]] = {}
        self._told_for: dict[str, str] = {}
        self._listener = _WarningsListener(evidence)
        self.image: Image | None = None
        LOG.addHandler(self._listener)

    def pytest_unconfigure(self) -> None:
        """Hear no more warnings."""
        LOG.removeHandler(self._listener)

    # In the process that runs the test.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Forget the machines of an earlier attempt."""
        item.stash[LOANS] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep our frames out of tracebacks; note what failed, and what it left."""
        error = call.excinfo.value if call.excinfo is not None else None
        # By its traceback, as long as that has our frames.
        kind = kind_of(error) if error is not None else FailureKind.TEST
        if isinstance(error, Exception):
            hide_our_frames(error)
            if error.__traceback__ is not None:
                call.excinfo = pytest.ExceptionInfo.from_exception(error)
        report = yield
        self._note_use(item)
        if error is not None and report.failed:
            if isinstance(error, Exception) and kind is not FailureKind.TEST:
                failure = describe(error, kind)
            else:
                failure = Failure(FailureKind.TEST, report.longreprtext)
            setattr(report, _WIRE, failure.to_wire())
            if report.when != "teardown":
                self._leave_evidence(item, failure)
                report.sections += [
                    ("imgforge", f"Its machine, where it failed: {replay_line(loan.folder)}\n")
                    for loan in item.stash.get(LOANS, [])
                    if loan.lent is not None
                ]
        return report

    def _note_use(self, item: pytest.Item) -> None:
        for loan in self._shared(item):
            loan.used_by(item.nodeid)

    def _shared(self, item: pytest.Item) -> list[Loan]:
        wanted = getattr(item, "fixturenames", ())
        return [loan for loan in self._config.stash.get(LOANS, []) if loan.fixture in wanted]

    def _leave_evidence(self, item: pytest.Item, failure: Failure) -> None:
        text = str(Told(failure, root=self._config.rootpath))
        own = item.stash.get(LOANS, [])
        for loan in own:
            loan.failed = True
            loan.tell_failure(text)
        for loan in self._shared(item)[-1:] if not own else []:
            with suppress(OSError):
                loan.tell_failure(text, folder=new_folder(self._evidence, item.nodeid))

    # In both.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what pytest is about to count and show, and make of it what it is."""
        if report.when not in _PHASES:  # pytest-xdist: a worker has ended in this test
            text = f"{report.longrepr}; what it left is in {self._evidence}"
            setattr(report, _WIRE, Failure(FailureKind.HARNESS, text).to_wire())
        wire = getattr(report, _WIRE, None)
        failure = None if wire is None else Failure.from_wire(wire)
        if self._is_main:
            self._phases.setdefault(report.nodeid, []).append(_phase(report, failure))
            if failure is not None and failure.kind is not FailureKind.TEST:
                self._tell(report, failure)
        reason = self._quarantine.reason_of(report.nodeid)
        is_harness = failure is not None and failure.kind is FailureKind.HARNESS
        if report.outcome == "failed" and reason and not is_harness:
            # As pytest has it for what is expected to fail: it does not count.
            report.outcome = "skipped"
            report.wasxfail = f"quarantined: {reason}"
            setattr(report, _QUARANTINED, reason)

    def _tell(self, report: pytest.TestReport, failure: Failure) -> None:
        if failure.kind is FailureKind.IMAGE and report.when == "setup":
            report.when = "call"  # the image failed the test: no ERROR of its fixture
        if failure.kind is FailureKind.HARNESS:
            report.user_properties.append(("imgforge", "harness"))
        told_for = self._told_for.setdefault(failure.text, report.nodeid)
        if told_for != report.nodeid:
            text = shortened(failure.text, told_for=told_for)
            failure = Failure(failure.kind, text, failure.spots)
        place = (report.location[0], (report.location[1] or 0) + 1)
        told = Told(failure, root=self._config.rootpath, place=place)
        report.longrepr = told  # type: ignore[assignment]

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Name what pytest has no word for."""
        wire = getattr(report, _WIRE, None)
        if getattr(report, _QUARANTINED, ""):
            return "quarantined", "Q", ("QUARANTINED", {"yellow": True})
        if report.outcome == "failed" and wire and wire["kind"] == FailureKind.HARNESS:
            return "harness", "H", ("HARNESS", {"red": True})
        if report.outcome == "passed" and report.when == "call" and _attempt(report):
            return "flaky", "Y", ("FLAKY", {"yellow": True})
        return None

    # In the main process, at the end.

    def conclusions(self) -> dict[str, Conclusion]:
        """Return how each test ended that ran, by node id."""
        return {
            test: conclude(phases, quarantine=self._quarantine.reason_of(test))
            for test, phases in self._phases.items()
        }

    def remarks(self) -> list[str]:
        """Return what should be changed in the quarantine file."""
        outcomes = {test: ended.outcome for test, ended in self.conclusions().items()}
        return [f"Quarantine: {remark}" for remark in self._quarantine.remarks(outcomes)]

    @property
    def width(self) -> int:
        """The columns of the terminal."""
        return int(self._config.get_terminal_writer().fullwidth)

    def warnings(self) -> tuple[str, ...]:
        """Return what the harness warned of, in all processes."""
        heard = (*read_warnings(self._evidence), *self._listener.texts)
        return tuple(dict.fromkeys(heard))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report; end with 3 where only the harness failed."""
        if not self._is_main:
            return
        ended = self.conclusions()
        if self.image is not None:
            notes = [*self.warnings(), *self.remarks()]
            if session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
                notes.insert(0, "The run did not come to its end: not all tests ran.")
            try:
                tidy_after_workers(self._evidence)
                report_run(self.image, self._evidence, ended=ended, notes=notes)
            except OSError as error:
                warn(f"Report: cannot be written in {self._evidence}: {error.strerror}.")
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            session.exitstatus = exit_code(list(ended.values())) or session.exitstatus

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what failed that is not the image, what is flaky, and what was warned of."""
        if not self._is_main:
            return
        terminal = terminalreporter
        for report in terminal.stats.get("harness", []):
            if report is terminal.stats["harness"][0]:
                terminal.section("HARNESS: the host or imgforge failed, not the image", red=True)
            terminal.write_sep("_", report.nodeid, red=True)
            for line in str(report.longrepr).split("\n"):
                terminal.write_line(line)
        for title, lines in (
            ("FLAKY: failed, and passed when run again", self._told(TestOutcome.FLAKY)),
            ("QUARANTINED: failed, not counted", self._told(TestOutcome.QUARANTINED)),
            ("imgforge warns", [*self.warnings(), *self.remarks()]),
        ):
            if lines:
                terminal.section(title, yellow=True)
                for line in lines:
                    terminal.write_line(visible(line))

    def _told(self, outcome: TestOutcome) -> list[str]:
        lines = []
        for test, ended in self.conclusions().items():
            if ended.outcome is outcome:
                lines.append(f"{test}: {ended.reason}" if ended.reason else test)
                lines += [f"    {line}" for line in reason_of(ended.failure)[-1:]]
        return lines


class ClosingWords:
    """The last lines of all, below pytest's short summary."""

    def __init__(self, hooks: RunHooks, evidence: Path) -> None:
        self._hooks = hooks
        self._evidence = evidence

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Say what is wrong, and where the report is."""
        yield
        terminal = terminalreporter
        image = self._hooks.image
        if image is None:
            return
        width = self._hooks.width
        # As the tests can be named on a command line where the user stands.
        ended = {
            seen_from(test, root=terminal.config.rootpath): conclusion
            for test, conclusion in self._hooks.conclusions().items()
        }
        last = closing_lines(ended, width=width, most_lines=_CLOSING_LINES - 1)
        if last:
            terminal.write_sep("=", image.ami_id or image.disk.path.name, bold=True)
        for line in last:
            terminal.write_line(line)
        terminal.write_line(f"report: {near(self._evidence / REPORT_FILE, Path.cwd())}")


def _quarantine_of(config: pytest.Config) -> Quarantine:
    path = config.getoption("--quarantine")
    return load_quarantine(Path(path), today=date.today()) if path else Quarantine()


def _phase(report: pytest.TestReport, failure: Failure | None) -> Phase:
    end, kind, text, reason = PhaseEnd.PASSED, FailureKind.TEST, "", ""
    if failure is not None:
        end, kind, text = PhaseEnd.FAILED, failure.kind, failure.text
    elif report.failed:
        end, text = PhaseEnd.FAILED, report.longreprtext
    elif report.skipped:
        end, reason = PhaseEnd.SKIPPED, _why_skipped(report)
    return Phase(
        _attempt(report),
        end,
        report.duration,
        kind=kind,
        text=text,
        reason=reason,
        is_last=report.when not in {"setup", "call"},
    )


def _attempt(report: pytest.CollectReport | pytest.TestReport) -> int:
    """Return the number of an attempt, as pytest-rerunfailures counts: 0 is the first."""
    return int(vars(report).get("rerun", 0))


def _why_skipped(report: pytest.TestReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected}"
    found: Any = report.longrepr
    return str(found[2]).removeprefix("Skipped: ") if isinstance(found, tuple) else ""


class _WarningsListener(logging.Handler):
    """Keeps imgforge's warnings of this process for the whole run."""

    def __init__(self, evidence: Path) -> None:
        super().__init__(logging.WARNING)
        self._evidence = evidence
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one; a folder that cannot be written must not end a test."""
        self.texts.append(record.getMessage())
        with suppress(OSError):
            note_warning(self._evidence, record.getMessage())
