"""JUnit XML of a report, for CI systems: a suite of the tests, and one of each boot's checks.

The format is that of the Jenkins xUnit plugin's junit-10.xsd, with surefire's flakyFailure.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from imgforge.files import appearing
from imgforge.report.evidence import last_lines
from imgforge.report.report import BootEntry, BootOutcome, Report, TestEntry, TestOutcome
from imgforge.report.text import console_text, cut, visible

_TEXT_LIMIT = 20_000
_CONSOLE_LINES = 40


def render_junit(report: Report) -> str:
    """Return the report as JUnit XML: each test, and each check of the boots that were judged."""
    suites = [_boot_suite(boot) for boot in report.boots if not boot.tests]
    if report.tests:
        suites.insert(0, _suite(report.title, [_test_case(test) for test in report.tests]))
    root = ET.Element("testsuites", {"name": visible(report.title), **_totals(suites)})
    for suite in suites:
        suite.set("timestamp", report.created.isoformat(timespec="seconds"))
        root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def write_junit(report: Report, path: Path) -> Path:
    """Write the report as JUnit XML, whole or not at all; return its path."""
    with appearing(path) as new:
        new.write_text(render_junit(report), encoding="utf-8")
    return path


def _suite(name: str, cases: Sequence[ET.Element]) -> ET.Element:
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    seconds = sum(float(case.get("time", 0)) for case in cases)
    suite = ET.Element("testsuite", {"name": visible(name)})
    for key, count in counts.items():
        suite.set(key, str(count))
    suite.set("time", f"{seconds:.3f}")
    suite.extend(cases)
    return suite


def _totals(suites: Sequence[ET.Element]) -> dict[str, str]:
    totals = {
        key: str(sum(int(suite.get(key, 0)) for suite in suites))
        for key in ("tests", "failures", "errors", "skipped")
    }
    return {**totals, "time": f"{sum(float(suite.get('time', 0)) for suite in suites):.3f}"}


def _case(name: str, *, group: str, seconds: float | None) -> ET.Element:
    values = {"classname": visible(group), "name": visible(name)}
    return ET.Element("testcase", {**values, "time": f"{seconds or 0.0:.3f}"})


def _tell(case: ET.Element, kind: str, *, message: str, text: str = "") -> None:
    told = ET.SubElement(case, kind, {"message": visible(message.partition("\n")[0][:500])})
    if kind != "skipped":
        told.set("type", "HarnessError" if kind == "error" else "ImageFailure")
    told.text = visible(cut(text, _TEXT_LIMIT))


def _test_case(test: TestEntry) -> ET.Element:
    group, _, name = test.name.rpartition("::")
    case = _case(name, group=group, seconds=test.seconds)
    match test.outcome:
        case TestOutcome.IMAGE:
            _tell(case, "failure", message=test.why or test.failure, text=test.failure)
        case TestOutcome.HARNESS:
            _tell(case, "error", message=test.why or test.failure, text=test.failure)
        case TestOutcome.SKIPPED:
            _tell(case, "skipped", message=test.reason)
        case TestOutcome.QUARANTINED:
            _tell(case, "skipped", message=f"quarantined: {test.reason}", text=test.failure)
        case TestOutcome.FLAKY:
            _tell(case, "flakyFailure", message=test.why or test.failure, text=test.failure)
        case TestOutcome.PASSED:
            pass
    return case


def _boot_suite(boot: BootEntry) -> ET.Element:
    verdict = _case("verdict", group=boot.name, seconds=boot.seconds)
    if boot.outcome is BootOutcome.HOST_FAILED:
        _tell(verdict, "error", message=boot.reason, text=boot.reason)
    elif boot.outcome is BootOutcome.REJECTED:
        _tell(verdict, "failure", message=boot.reason, text=_why(boot))
    cases = [verdict]
    for check in boot.checks:
        case = _case(check.id, group=boot.name, seconds=None)
        if not check.passed:
            _tell(case, "failure", message=check.evidence, text=check.evidence)
        cases.append(case)
    return _suite(boot.name, cases)


def _why(boot: BootEntry) -> str:
    lines = last_lines(boot.console, _CONSOLE_LINES) if boot.console else ()
    parts = [boot.reason, boot.sign.hint if boot.sign else "", console_text(lines)]
    return "\n\n".join(part for part in parts if part)
