"""The quarantine file: what it lets pass, for how long, and how mistakes in it are told."""

from datetime import date
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.report import TestOutcome
from imgforge.testing.quarantine import Quarantine, load_quarantine

TODAY = date(2026, 11, 23)
GOOD = """
[[quarantine]]
test = "tests/test_a.py::test_b[1]"
reason = "issue 7"
expires = 2026-11-23

[[quarantine]]
test = "tests/*::test_slow_*"
reason = "issue 8"
expires = 2026-11-22
"""


def loaded(folder: Path, text: str) -> Quarantine:
    path = folder / "quarantine.toml"
    path.write_text(text, encoding="utf-8")
    return load_quarantine(path, today=TODAY)


def told(folder: Path, text: str) -> list[str]:
    with pytest.raises(BadInputError) as caught:
        loaded(folder, text)
    assert "expires = 2027-01-31" in caught.value.hint
    return str(caught.value).splitlines()


def test_an_entry_holds_through_its_last_day(tmp_path: Path) -> None:
    quarantine = loaded(tmp_path, GOOD)
    assert quarantine.reason_of("tests/test_a.py::test_b[1]") == "issue 7 (until 2026-11-23)"
    assert quarantine.reason_of("tests/test_a.py::test_slow_boot") == ""
    assert quarantine.reason_of("tests/test_a.py::test_b[2]") == ""


def test_an_empty_file_lets_nothing_pass(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").reason_of("x") == ""


def test_what_should_go_from_the_file_is_told(tmp_path: Path) -> None:
    quarantine = loaded(tmp_path, GOOD)
    failed = {"tests/test_a.py::test_b[1]": TestOutcome.QUARANTINED}
    assert quarantine.remarks(failed) == [
        "tests/*::test_slow_* (issue 8): expired on 2026-11-22: it counts no more."
    ]
    passed = {"tests/test_a.py::test_b[1]": TestOutcome.PASSED}
    assert quarantine.remarks(passed)[0].endswith("(issue 7): it passes: take it out.")
    assert quarantine.remarks({})[0].endswith("no test of this run has such a name.")


def test_a_flaky_test_is_not_told_to_pass(tmp_path: Path) -> None:
    quarantine = loaded(tmp_path, GOOD)
    outcomes = {"tests/test_a.py::test_b[1]": TestOutcome.FLAKY}
    assert not any("passes" in remark for remark in quarantine.remarks(outcomes))


def test_each_broken_rule_is_told_with_its_line(tmp_path: Path) -> None:
    problems = told(
        tmp_path,
        '[[quarantine]]\ntest = 3\nreson = "x"\n\n'
        '[[quarantine]]\ntest = ""\nreason = "y"\nexpires = "tomorrow"\n',
    )
    path = tmp_path / "quarantine.toml"
    assert problems == [
        f"{path}:2: quarantine[0].test: input should be a valid string; found 3",
        f"{path}:1: 'quarantine[0].reason' is missing",
        f"{path}:1: 'quarantine[0].expires' is missing",
        f"{path}:3: unknown key 'quarantine[0].reson'; allowed here: test, reason, expires",
        f'{path}:6: quarantine[1].test: string should have at least 1 character; found ""',
        f'{path}:8: quarantine[1].expires: must be a date such as 2027-01-31; found "tomorrow"',
    ]


@pytest.mark.parametrize(
    "text",
    [
        "quarantine",
        "[[quarantine",
        "quarantine = 3",
        "[quarantine]\ntest = 'x'",
        "[other]",
        "[[quarantine]]\ntest = 'x'\nreason = 'y'\nexpires = 2026-11-23T10:00:00Z",
        "a = " + "[" * 5000,
    ],
)
def test_what_is_no_quarantine_is_refused(tmp_path: Path, text: str) -> None:
    assert str(tmp_path / "quarantine.toml") in told(tmp_path, text)[0]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="No such file"):
        load_quarantine(tmp_path / "none.toml", today=TODAY)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match="UTF-8"):
        load_quarantine(tmp_path / "x.toml", today=TODAY)
