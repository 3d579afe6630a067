"""The suite without a machine: which tests are chosen, how they are run, and judged."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgforge.accelerator import Accelerator, AcceleratorKind
from imgforge.acceptance import (
    DiskReport,
    SkippedCheck,
    Verdict,
    explain,
    judge_tests,
    read_verdict,
    write_verdict,
)
from imgforge.acceptance.record import BootMethod
from imgforge.acceptance.verdict import AcceleratorReport, Check
from imgforge.aki import parse_name
from imgforge.disk import Disk
from imgforge.errors import BadInputError, HostError
from imgforge.pipeline import plan_trial
from imgforge.pv_way import PvWay, PvWish
from imgforge.recipe import ExpectPart
from imgforge.report import TestEntry, TestOutcome
from imgforge.start import Surroundings
from imgforge.suite import (
    NO_TESTS,
    SuiteRun,
    SuiteWish,
    check_id,
    choose_tests,
    judge_further,
    pytest_arguments,
)
from imgforge.testing.built_in import SUITE_PACKAGE, functions_using, suite_tests

SHA256 = "a" * 64
ACCEPTED = Verdict(
    accepted=True,
    reason="Accepted: logged in by SSH 7.7 s after power-on, and all 2 checks hold.",
    disk=DiskReport(sha256_before=SHA256, sha256_after=SHA256, layout=None),
    recipe_sha256="",
    lock_sha256="",
    accelerator=AcceleratorReport(kind="tcg", reason="there is no /dev/kvm"),
    qemu_version="7.2.22",
    boot_method=BootMethod.BIOS,
    seconds=12.0,
    stages=(),
    checks=(
        Check(id="booted", passed=True, evidence="in"),
        Check(id="disk-unchanged", passed=True, evidence="same"),
    ),
    failed_stage=None,
    sign=None,
    created=datetime(2026, 1, 2, tzinfo=UTC),
)
PASSED = TestEntry("suite:one", TestOutcome.PASSED, 1.5)
SKIPPED = TestEntry("suite:two", TestOutcome.SKIPPED, reason="the image has no systemd")
FAILED = TestEntry(
    "suite:three",
    TestOutcome.IMAGE,
    2.0,
    failure="def test_three():\n>   assert x\nE   AssertionError: the clock is off\nE   assert 1",
)
COMMAND = TestEntry("test:a.py::b", TestOutcome.IMAGE, failure="test -e /x: must succeed, ended 1.")
BROKEN = TestEntry("suite:four", TestOutcome.HARNESS, failure="QEMU died")


def judged(*tests: TestEntry, sha256_after: str = SHA256) -> Verdict:
    return judge_further(ACCEPTED, tests, sha256_after=sha256_after)


def run_of(wish: SuiteWish) -> SuiteRun:
    disk = Disk(path=Path("x.raw"), sha256=SHA256, size_bytes=1)
    accelerator = Accelerator(AcceleratorKind.TCG, "max", "")
    return SuiteRun(wish, disk, Path("x.test"), ExpectPart(login_user="debian"), accelerator)


def test_the_full_suite_is_every_test_of_the_package() -> None:
    assert choose_tests("full").names == tuple(suite_tests())
    assert len(suite_tests()) > 20
    assert (
        suite_tests()["survives-a-reboot"] == f"{SUITE_PACKAGE}.test_life::test_survives_a_reboot"
    )


def test_no_suite_and_no_own_tests_are_no_tests() -> None:
    assert choose_tests("none") == NO_TESTS
    assert not choose_tests("none")
    assert choose_tests("none", [Path(__file__)])


def test_tests_are_chosen_by_name_and_by_group_each_once() -> None:
    chosen = choose_tests("survives-a-reboot, life,survives-a-reboot").names
    assert chosen[0] == "survives-a-reboot"
    assert len(chosen) == len(set(chosen))
    assert {suite_tests()[name].partition("::")[0] for name in chosen} == {
        f"{SUITE_PACKAGE}.test_life"
    }


@pytest.mark.parametrize("wanted", ["", "nope", "full,none", "life,,login", "../x", "\x1b[2J"])
def test_a_name_that_is_none_is_bad_input_told_with_all_there_are(wanted: str) -> None:
    with pytest.raises(BadInputError) as told:
        choose_tests(wanted)
    assert "survives-a-reboot" in told.value.hint


def test_own_tests_that_are_not_there_are_bad_input() -> None:
    with pytest.raises(BadInputError, match="no such file or folder"):
        choose_tests("none", [Path("/nowhere/test_x.py")])


def test_only_own_tests_bring_a_pytest_configuration() -> None:
    results = Path("/results.json")
    suite = pytest_arguments(run_of(choose_tests("login")), results=results)
    assert os.devnull in suite
    own = pytest_arguments(run_of(choose_tests("login", [Path(__file__)])), results=results)
    assert os.devnull not in own
    assert Path(__file__) in own
    for words in (suite, own):
        assert "--accel=tcg" in words
        (expect,) = (word for word in map(str, words) if word.startswith("--expect="))
        found = ExpectPart.model_validate_json(expect.removeprefix("--expect="))
        assert found == ExpectPart(login_user="debian")
        assert "--guest-network" not in words
        assert words[-1] == suite_tests()[choose_tests("login").names[-1]]


def test_user_data_reaches_the_machines_of_the_tests(tmp_path: Path) -> None:
    run = replace(run_of(choose_tests("login")), user_data=tmp_path / "user-data")
    assert f"--user-data={tmp_path}/user-data" in pytest_arguments(run, results=Path("r.json"))
    plain = pytest_arguments(run_of(choose_tests("login")), results=Path("r.json"))
    assert not [word for word in plain if str(word).startswith("--user-data")]


def test_a_verdict_on_an_image_with_user_data_says_so(tmp_path: Path) -> None:
    disk = Disk(path=tmp_path / "a.raw", sha256="a" * 64, size_bytes=1)
    trial = plan_trial(disk, surroundings=Surroundings(), user_data=b"#!/bin/sh\n")
    (note,) = trial.notes
    assert "10 bytes, SHA-256 " + hashlib.sha256(b"#!/bin/sh\n").hexdigest() in note
    assert trial.user_data_path == tmp_path / "a.test" / "user-data"
    assert plan_trial(disk, surroundings=Surroundings()).notes == ()


def test_the_tests_of_one_machine_are_those_that_use_it() -> None:
    assert "test_survives_a_reboot" in functions_using("life")
    assert "test_no_unit_has_failed" not in functions_using("life")


def test_tests_that_pass_leave_an_accepted_boot_accepted_and_are_counted() -> None:
    verdict = judged(PASSED, SKIPPED)
    assert verdict.accepted
    assert verdict.reason.endswith("7.7 s after power-on, and all 3 checks hold (1 do not count).")
    assert verdict.checks[-1] == Check(id="suite:one", passed=True, evidence="passed in 1.5 s")
    assert verdict.skipped == (SkippedCheck(id="suite:two", reason="the image has no systemd"),)


def test_a_test_that_fails_rejects_the_image_in_its_own_words() -> None:
    verdict = judged(PASSED, FAILED, COMMAND)
    assert not verdict.accepted
    assert verdict.failed_stage is None
    assert verdict.reason == "Rejected: suite:three does not hold (and 1 more): the clock is off"
    told = explain(verdict, ("the console says nothing of it",))
    assert "console" not in told
    assert "does not hold: test:a.py::b: test -e /x: must succeed, ended 1." in told
    assert told.endswith(verdict.reason)


def test_a_harness_failure_alone_is_no_verdict() -> None:
    with pytest.raises(HostError, match="suite:four: QEMU died"):
        judged(PASSED, BROKEN)


def test_beside_a_failure_of_the_image_what_was_not_looked_at_does_not_hold() -> None:
    checks = {check.id: check for check in judged(FAILED, BROKEN).checks}
    assert not checks["suite:four"].passed
    assert "the harness failed" in checks["suite:four"].evidence


def test_a_flaky_test_is_named_and_a_quarantined_one_is_not_counted() -> None:
    flaky = TestEntry("suite:f", TestOutcome.FLAKY, failure="x", reason="passed when run again")
    held = TestEntry("suite:q", TestOutcome.QUARANTINED, failure="x", reason="known (until …)")
    verdict = judged(flaky, held)
    assert verdict.checks[-1].evidence == "flaky: passed when run again"
    assert [check.id for check in verdict.skipped] == ["suite:q"]


def test_a_disk_that_is_another_after_the_tests_is_rejected() -> None:
    verdict = judged(PASSED, sha256_after="b" * 64)
    assert not verdict.accepted
    assert verdict.reason.startswith("Rejected: disk-unchanged does not hold")
    assert verdict.disk.sha256_after == "b" * 64


def test_only_an_accepted_boot_is_judged_further() -> None:
    rejected = ACCEPTED.model_copy(update={"accepted": False})
    with pytest.raises(ValueError, match="accepted boot"):
        judge_tests(rejected, checks=(), skipped=(), sha256_after=SHA256)


def test_a_verdict_with_tests_is_read_as_it_was_written_and_an_older_one_too(
    tmp_path: Path,
) -> None:
    verdict = judged(PASSED, SKIPPED)
    assert read_verdict(write_verdict(tmp_path, verdict)) == verdict
    path = write_verdict(tmp_path, ACCEPTED)
    text = path.read_text(encoding="utf-8").replace('"skipped": [],', "")
    assert "skipped" not in text
    path.write_text(text, encoding="utf-8")
    assert read_verdict(path) == ACCEPTED


def test_an_own_test_is_named_as_its_file_is_seen_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tests" / "deep" / "test_x.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    nodeid = "some/where/tests/deep/test_x.py::TestA::test_b[c::d]"
    monkeypatch.chdir(tmp_path)
    assert check_id(nodeid, file, own=(Path("tests"),)) == (
        "test:tests/deep/test_x.py::TestA::test_b[c::d]"
    )
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    assert check_id(nodeid, file, own=(tmp_path / "tests",)) == (
        "test:deep/test_x.py::TestA::test_b[c::d]"
    )
    assert check_id(nodeid, file, own=(file,)) == "test:test_x.py::TestA::test_b[c::d]"


def test_the_suites_machines_are_booted_as_the_gates_machine_was() -> None:
    run = run_of(choose_tests("login"))
    words = pytest_arguments(run, results=Path("r"))
    assert "--pv-boot=direct" in words
    assert not any(str(word).startswith("--aki") for word in words)
    pv = PvWish(PvWay.XEN_GRUB, parse_name("pv-grub-hd0_1.03-x86_64.gz"))
    words = pytest_arguments(replace(run, pv=pv), results=Path("r"))
    assert {"--pv-boot=xen-grub", "--aki=pv-grub-hd0_1.03-x86_64.gz"} <= {*map(str, words)}
