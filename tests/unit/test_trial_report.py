"""What a trial leaves beside its verdict, and what it adds to its recipe's history."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from imgforge.acceptance import (
    BootMethod,
    BootRecord,
    DiskReport,
    Stage,
    StageName,
    Verdict,
    judge,
)
from imgforge.disk import Disk
from imgforge.machine import Accelerator, AcceleratorKind
from imgforge.recipe import ExpectPart, Layout, Recipe
from imgforge.report import Overall, history_path, read_history
from imgforge.trial_report import discard_report, report_trial, summarize

RECORD = BootRecord(
    stages=(Stage(StageName.FIRMWARE, True, 0.1), Stage(StageName.SSH, False, None)),
    sign=None,
    ended=None,
    logins=(),
    commands=(),
    requests=(),
    host_keys=(),
    must_show=(),
    must_not_show=(),
    console_lines=(),
    accelerator=Accelerator(AcceleratorKind.TCG, "max", "there is no /dev/kvm"),
    qemu_version="7.2.22",
    boot_method=BootMethod.BIOS,
    seconds=12.0,
)
DISK = Disk(Path("/d/minimal-hvm-mbr.raw"), "a" * 64, 1024, Layout.HVM_MBR)


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "minimal.test"
    folder.mkdir()
    (folder / "console.log").write_text("[    0.100] SeaBIOS\n")
    return folder


def verdict_on(record: BootRecord) -> Verdict:
    return judge(
        record,
        expect=ExpectPart(),
        disk=DiskReport(sha256_before="a" * 64, sha256_after="a" * 64, layout=Layout.HVM_MBR),
        recipe_sha256="",
        lock_sha256="",
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )


def minimal_disk() -> Disk:
    recipe = Recipe.model_validate_json(
        json.dumps(
            {
                "name": "minimal",
                "rootfs": {"source": {"kind": "folder", "path": "tree"}},
                "disk": {"layouts": ["hvm-mbr"]},
                "boot": {"entries": [{"title": "a", "kernel": "/k", "command_line": ""}]},
                "image": {"name": "minimal"},
            }
        )
    )
    return replace(DISK, recipe=recipe)


def test_a_trial_leaves_a_page_and_junit_xml(folder: Path) -> None:
    told = report_trial(DISK, RECORD, verdict_on(RECORD), folder=folder, instance_type="t3.nano")
    assert told.overall is Overall.REJECTED
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "minimal-hvm-mbr.raw" in page
    assert "SeaBIOS" in page
    assert "t3.nano" in page
    suites = ET.parse(folder / "junit.xml").getroot()
    assert suites.get("failures") != "0"


def test_the_next_trial_of_a_recipe_is_compared_with_this_one(folder: Path) -> None:
    disk = minimal_disk()
    for _ in range(2):
        told = report_trial(
            disk, RECORD, verdict_on(RECORD), folder=folder, instance_type="t3.nano"
        )
    assert len(told.history) == 1
    assert [boot.layout for boot in read_history(history_path("minimal"))] == ["hvm-mbr"] * 2
    assert "median" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_disk_without_a_recipe_leaves_no_history(folder: Path, tmp_path: Path) -> None:
    report_trial(DISK, RECORD, verdict_on(RECORD), folder=folder, instance_type="t3.nano")
    assert not (tmp_path / "data").exists()


def test_a_history_that_cannot_be_written_is_no_failure_of_the_trial(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("a file stands where the folder should")
    report_trial(minimal_disk(), RECORD, verdict_on(RECORD), folder=folder, instance_type="t3.nano")
    assert (folder / "report.html").exists()
    assert "minimal.jsonl: cannot be written" in caplog.text


def test_nothing_of_an_earlier_trial_is_left(folder: Path) -> None:
    for name in ("report.html", "junit.xml", "screen.png"):
        (folder / name).write_text("old")
    discard_report(folder)
    discard_report(folder)
    assert [path.name for path in folder.iterdir()] == ["console.log"]


def test_the_summary_of_a_step_gets_each_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = report_trial(DISK, RECORD, verdict_on(RECORD), folder=folder, instance_type="t3.nano")
    summarize([told])  # nobody wants it: no error
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    summarize([told, told])
    assert summary.read_text(encoding="utf-8").count("## ❌") == 4


def test_a_summary_that_cannot_be_written_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = report_trial(DISK, RECORD, verdict_on(RECORD), folder=folder, instance_type="t3.nano")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    summarize([told])
    assert "cannot be written" in caplog.text
