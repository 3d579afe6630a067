"""GitHub's step summary of a report, in Markdown that guest text cannot break out of.

https://docs.github.com/actions/reference/workflow-commands#adding-a-job-summary: GitHub Flavored
Markdown, up to 1 MiB a step; it is cut here far below that.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from imgforge.report.evidence import last_lines
from imgforge.report.report import (
    BootEntry,
    BootOutcome,
    ConsoleExcerpt,
    Overall,
    Report,
    TestEntry,
    TestOutcome,
)
from imgforge.report.text import console_text, cut, visible

STEP_LIMIT_BYTES = 1024 * 1024
_CELL_LIMIT = 300
_CONSOLE_LINES = 25
_MOST_ROWS = 200
_LINE_LIMIT = 400
_MARK = {
    Overall.ACCEPTED: "✅",
    Overall.REJECTED: "❌",
    Overall.HARNESS: "⚠️",
    Overall.EMPTY: "⚠️",
}
_TEST_MARK = {
    TestOutcome.PASSED: "✅",
    TestOutcome.IMAGE: "❌",
    TestOutcome.HARNESS: "⚠️",
    TestOutcome.FLAKY: "🔁",
    TestOutcome.QUARANTINED: "🚧",
    TestOutcome.SKIPPED: "⏭️",
}
_PLAIN = re.compile(r"[^0-9A-Za-z \u0080-\U0010ffff]")


def render_summary(report: Report) -> str:
    """Return the report as Markdown: the tests, each boot's checks, sign, hint, console's end."""
    parts = [f"## {_MARK[report.overall]} {_text(report.title)}: {report.overall}"]
    if report.tests:
        counted = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
        parts += [f"{counted}.", _table(("", "test", "seconds", "why"), _test_rows(report.tests))]
    if report.notes:
        parts.append("\n".join(f"- {_text(note)}" for note in report.notes[:_MOST_ROWS]))
    gates = [boot for boot in report.boots if not boot.tests]
    failed = [boot for boot in report.boots if boot.tests and (boot.sign or boot.failed_stage)]
    for boot in [*gates, *failed][:_MOST_ROWS]:
        parts += _boot(boot)
    return "\n\n".join(parts) + "\n\n"


def append_summary(report: Report, path: Path) -> bool:
    """Append the report to a step's summary; tell whether it still fitted GitHub's 1 MiB."""
    data = render_summary(report).encode("utf-8")
    with path.open("ab") as file:
        if file.tell() + len(data) > STEP_LIMIT_BYTES:
            return False
        file.write(data)
    return True


def _test_rows(tests: Sequence[TestEntry]) -> Iterator[tuple[str, ...]]:
    # The failed ones first: rows beyond the most are left out.
    order = [*(outcome for outcome in TestOutcome if outcome is not TestOutcome.PASSED)]
    for outcome in [*order, TestOutcome.PASSED]:
        for test in tests:
            if test.outcome is outcome:
                seconds = "" if test.seconds is None else f"{test.seconds:.1f}"
                why = test.reason or test.why or test.failure
                yield f"{_TEST_MARK[outcome]} {outcome}", _code(test.name), seconds, _code(why)


def _boot(boot: BootEntry) -> Iterator[str]:
    mark = {BootOutcome.ACCEPTED: "✅", BootOutcome.REJECTED: "❌"}.get(boot.outcome, "⚠️")
    yield f"### {mark} {_text(boot.name)}: {boot.outcome}"
    if boot.reason:
        yield _text(boot.reason)
    if boot.sign is not None:
        yield f"**Sign**: {_text(boot.sign.id)}: {_text(boot.sign.meaning)}"
    if boot.sign is not None and boot.sign.hint:
        yield f"**What to do**: {_text(boot.sign.hint)}"
    if boot.checks:
        rows = (
            ("✅" if check.passed else "❌", _code(check.id), _code(check.evidence))
            for check in boot.checks
        )
        yield _table(("", "check", "evidence"), rows)
    if boot.console is not None and boot.outcome is not BootOutcome.ACCEPTED:
        yield "The console's end:"
        yield _fenced(boot.console)


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    told = list(rows)
    lines = [head, ["---"] * len(head), *told[:_MOST_ROWS]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left_out = len(told) - _MOST_ROWS
    return f"{table}\n\n{left_out} more are in the report." if left_out > 0 else table


def _text(text: str) -> str:
    """Return text on one line with no Markdown or HTML in it.

    A character that is written as its number is never part of the structure (CommonMark 0.31.2,
    section 2.5, "Entity and numeric character references").
    """
    line = " ".join(visible(cut(text, _CELL_LIMIT)).split())
    return _PLAIN.sub(lambda found: f"&#{ord(found[0])};", line)


def _code(text: str) -> str:
    # GitHub makes no mention or reference of what stands in <code>.
    told = _text(text)
    return f"<code>{told}</code>" if told else ""


def _fenced(console: ConsoleExcerpt) -> str:
    """Return the console's end as a code block: its fence is longer than any in the text."""
    lines = console_text(last_lines(console, _CONSOLE_LINES)).split("\n")
    text = "\n".join(line[:_LINE_LIMIT] for line in lines)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
