"""JUnit XML and GitHub's step summary tell what the page tells, and a guest breaks neither."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from imgforge.report import (
    BootEntry,
    BootOutcome,
    CheckEntry,
    ConsoleExcerpt,
    ConsoleLine,
    Report,
    SignEntry,
    TestEntry,
    TestOutcome,
    append_summary,
    render_junit,
    render_summary,
    write_junit,
)

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REJECTED = BootEntry(
    "minimal-hvm-mbr",
    outcome=BootOutcome.REJECTED,
    reason="Rejected at stage bootloader: GRUB Legacy stopped",
    sign=SignEntry("grub-error", "GRUB Legacy stopped", "Error 15", "Check the paths."),
    checks=(CheckEntry("booted", False, "SSH was not tried"), CheckEntry("disk-unchanged", True)),
    console=ConsoleExcerpt((ConsoleLine(0.1, "Booting"), ConsoleLine(0.2, "Error 15"))),
    seconds=3.5,
)
ACCEPTED = replace(
    REJECTED, outcome=BootOutcome.ACCEPTED, sign=None, checks=(CheckEntry("booted", True, "yes"),)
)
TESTS = tuple(
    TestEntry(f"tests/test_a.py::test_{outcome.name}", outcome, 1.0, "broken", "a reason")
    for outcome in TestOutcome
)
EVIL = "]]> <b> \x00 \x1b[2J \ud800 \uffff \u202e ``` ~~~ | [x](y) @all\n````\n# head\n| a | b |"


def report_of(*boots: BootEntry, tests: tuple[TestEntry, ...] = ()) -> Report:
    return Report("minimal", CREATED, boots=boots, tests=tests)


def test_each_check_is_a_case_and_so_is_the_verdict() -> None:
    root = ET.fromstring(render_junit(report_of(REJECTED)))
    assert root.attrib == {
        "name": "minimal",
        "tests": "3",
        "failures": "2",
        "errors": "0",
        "skipped": "0",
        "time": "3.500",
    }
    [suite] = root
    assert [case.get("name") for case in suite] == ["verdict", "booted", "disk-unchanged"]
    failure = suite[0].find("failure")
    assert failure is not None
    assert failure.get("message") == REJECTED.reason
    assert "Check the paths." in str(failure.text)
    assert "[    0.200] Error 15" in str(failure.text)


def test_an_accepted_boot_has_no_failure() -> None:
    root = ET.fromstring(render_junit(report_of(ACCEPTED)))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "0", "0")


def test_a_failure_of_the_host_is_an_error_and_no_failure() -> None:
    boot = BootEntry("gate", outcome=BootOutcome.HOST_FAILED, reason="QEMU was killed")
    root = ET.fromstring(render_junit(report_of(boot)))
    assert (root.get("failures"), root.get("errors")) == ("0", "1")


def test_a_test_ends_in_junit_as_it_ended() -> None:
    root = ET.fromstring(render_junit(report_of(tests=TESTS)))
    [suite] = root
    assert [[child.tag for child in case] for case in suite] == [
        [],
        ["failure"],
        ["error"],
        ["flakyFailure"],
        ["skipped"],
        ["skipped"],
    ]
    assert suite[0].attrib == {
        "classname": "tests/test_a.py",
        "name": "test_PASSED",
        "time": "1.000",
    }


def test_hostile_text_is_still_xml() -> None:
    boot = replace(
        REJECTED,
        name=EVIL,
        reason=EVIL,
        checks=(CheckEntry(EVIL, False, EVIL),),
        console=ConsoleExcerpt((ConsoleLine(1.0, EVIL),)),
    )
    tests = tuple(replace(test, name=EVIL, failure=EVIL, reason=EVIL) for test in TESTS)
    text = render_junit(Report(EVIL, CREATED, boots=(boot,), tests=tests))
    root = ET.fromstring(text)
    assert root.get("tests") == "8"
    assert "\x1b" not in text


def test_junit_is_written_as_utf_8(tmp_path: Path) -> None:
    path = write_junit(report_of(replace(REJECTED, name="größe")), tmp_path / "junit.xml")
    assert ET.parse(path).getroot()[0].get("name") == "größe"


def test_the_summary_tells_the_sign_what_to_do_and_the_consoles_end() -> None:
    text = render_summary(report_of(REJECTED))
    assert text.startswith("## ❌ minimal: rejected\n")
    assert "**Sign**: grub&#45;error: GRUB Legacy stopped\n" in text
    assert "**What to do**: Check the paths&#46;\n" in text
    assert "| ❌ | <code>booted</code> | <code>SSH was not tried</code> |" in text
    assert "```text\n[    0.100] Booting\n[    0.200] Error 15\n```\n" in text


def test_the_summary_of_an_accepted_boot_leaves_the_console_out() -> None:
    text = render_summary(report_of(ACCEPTED))
    assert "```" not in text
    assert "✅ minimal&#45;hvm&#45;mbr: accepted" in text


def test_the_summary_tells_failed_tests_before_passed_ones() -> None:
    text = render_summary(report_of(tests=TESTS))
    assert text.index("test&#95;IMAGE") < text.index("test&#95;PASSED")
    many = tuple(TestEntry(f"test_{number}", TestOutcome.PASSED) for number in range(500))
    text = render_summary(report_of(tests=(*many, TESTS[1])))
    assert "test&#95;IMAGE" in text
    assert "301 more are in the report." in text


@pytest.mark.parametrize("fence", ["```", "````", "`" * 50, "~~~"])
def test_console_text_cannot_end_its_block(fence: str) -> None:
    lines = (
        ConsoleLine(None, fence + "x"),
        ConsoleLine(1.0, EVIL),
        ConsoleLine(None, f"{fence} 1"),
    )
    text = render_summary(report_of(replace(REJECTED, console=ConsoleExcerpt(lines))))
    [(opened, inside)] = re.findall(r"^(`{3,})text\n(.*?)\n\1\n", text, re.DOTALL | re.MULTILINE)
    assert opened not in inside
    assert text.rstrip().endswith(opened)
    assert "\x1b" not in text


def test_hostile_text_stays_in_its_cell() -> None:
    check = CheckEntry(EVIL, False, EVIL)
    text = render_summary(report_of(replace(REJECTED, checks=(check,), console=None, reason=EVIL)))
    rows = [line for line in text.split("\n") if line.startswith("|")]
    assert len(rows) == 3
    assert all(row.count("|") == 4 for row in rows)
    assert "<b>" not in text
    assert not [line for line in text.split("\n") if line.startswith(("# ", "````", "~~~"))]


def test_the_summary_is_appended_as_long_as_it_fits(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    assert append_summary(report_of(REJECTED), path)
    assert path.read_text().startswith("before\n## ❌ minimal")
    path.write_bytes(bytes(2**20 - 100))
    assert not append_summary(report_of(REJECTED), path)
    assert path.stat().st_size == 2**20 - 100
