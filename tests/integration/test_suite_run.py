"""The process that runs the suite, where it comes to no result."""

import asyncio
import json
from pathlib import Path

import pytest

from imgforge.accelerator import Accelerator, AcceleratorKind
from imgforge.disk import Disk
from imgforge.errors import HostError
from imgforge.recipe import ExpectPart
from imgforge.suite import SuiteRun, choose_tests, discard_tests, run_tests


def run_on(disk: Path, folder: Path) -> SuiteRun:
    return SuiteRun(
        wish=choose_tests("hostname-is-the-metadata-services"),
        disk=Disk(path=disk, sha256="a" * 64, size_bytes=1),
        folder=folder,
        expect=ExpectPart(),
        accelerator=Accelerator(AcceleratorKind.TCG, "max", ""),
    )


def test_a_run_without_results_is_the_hosts_failure_and_says_what_pytest_said(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "test"
    folder.mkdir()
    # As an earlier run that was killed may have left it.
    (folder / "results.json").write_text(json.dumps({"tests": [], "not_collected": []}))
    with pytest.raises(HostError) as told:
        asyncio.run(run_tests(run_on(tmp_path / "none.raw", folder)))
    assert "no such file or directory" in str(told.value)
    assert "pytest.log" in told.value.hint
    assert not (folder / "results.json").exists()


def test_what_an_earlier_suite_left_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "pytest.log").touch()
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "mine.txt").touch()
    discard_tests(tmp_path)
    assert (tests / "mine.txt").exists()
    assert not (tmp_path / "pytest.log").exists()
    (tests / ".imgforge-tests").touch()
    discard_tests(tmp_path)
    assert not (tests / "mine.txt").exists()
    discard_tests(tmp_path / "nowhere")
