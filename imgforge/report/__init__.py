"""What was tested, told: report.html, JUnit XML, GitHub's step summary, and earlier boots."""

from imgforge.report.boot import past_boot, read_boot
from imgforge.report.evidence import (
    CONSOLE_LOG,
    SCREENSHOT,
    read_console,
    read_requests,
    read_screenshot,
)
from imgforge.report.history import append_boot, history_path, read_history
from imgforge.report.junit import render_junit, write_junit
from imgforge.report.page import render_report, write_report
from imgforge.report.report import (
    BootEntry,
    BootOutcome,
    CheckEntry,
    CommandEntry,
    ConsoleExcerpt,
    ConsoleLine,
    DiskEntry,
    Overall,
    PastBoot,
    Report,
    RequestEntry,
    RequestLog,
    SignEntry,
    StageEntry,
    TestEntry,
    TestOutcome,
)
from imgforge.report.summary import append_summary, render_summary
from imgforge.report.text import visible

__all__ = [
    "CONSOLE_LOG",
    "SCREENSHOT",
    "BootEntry",
    "BootOutcome",
    "CheckEntry",
    "CommandEntry",
    "ConsoleExcerpt",
    "ConsoleLine",
    "DiskEntry",
    "Overall",
    "PastBoot",
    "Report",
    "RequestEntry",
    "RequestLog",
    "SignEntry",
    "StageEntry",
    "TestEntry",
    "TestOutcome",
    "append_boot",
    "append_summary",
    "history_path",
    "past_boot",
    "read_boot",
    "read_console",
    "read_history",
    "read_requests",
    "read_screenshot",
    "render_junit",
    "render_report",
    "render_summary",
    "visible",
    "write_junit",
    "write_report",
]
