"""What a trial leaves for people and for CI, beside its verdict: report.html and junit.xml."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from imgforge import host
from imgforge.acceptance import BootRecord, Verdict
from imgforge.disk import Disk
from imgforge.progress import warn
from imgforge.report import (
    SCREENSHOT,
    CommandEntry,
    DiskEntry,
    PastBoot,
    Report,
    TestEntry,
    append_boot,
    append_summary,
    history_path,
    past_boot,
    read_boot,
    read_history,
    write_junit,
    write_report,
)

REPORT_FILE = "report.html"
JUNIT_FILE = "junit.xml"


def discard_report(folder: Path) -> None:
    """Remove what an earlier trial left in `folder`: it would look like this one's."""
    for name in (REPORT_FILE, JUNIT_FILE, SCREENSHOT):
        (folder / name).unlink(missing_ok=True)


def report_trial(
    disk: Disk,
    record: BootRecord,
    verdict: Verdict,
    *,
    folder: Path,
    instance_type: str,
    tests: Sequence[TestEntry] = (),
) -> Report:
    """Write report.html and junit.xml into `folder`; add the boot to its recipe's history.

    `verdict` is on the boot alone; `tests` are those that came after it.
    """
    boot = read_boot(
        folder,
        name=disk.path.stem,
        verdict=verdict,
        commands=[
            CommandEntry(command.command, command.exit_code, command.evidence)
            for command in record.commands
        ],
        instance_type=instance_type,
    )
    history = history_of(disk)
    report = Report(
        title=disk.path.name,
        created=verdict.created,
        disk=disk_entry(disk),
        tests=tuple(tests),
        boots=(boot,),
        history=read_history(history) if history else (),
    )
    write_report(report, folder / REPORT_FILE)
    write_junit(report, folder / JUNIT_FILE)
    past = past_boot(boot, recipe_sha256=disk.recipe_sha256)
    if history is not None and past is not None:
        remember(history, [past])
    return report


def disk_entry(disk: Disk) -> DiskEntry:
    """Return what a report tells of the disk that was tested."""
    return DiskEntry(
        path=str(disk.path),
        sha256=disk.sha256,
        layout=disk.layout.value if disk.layout else "",
        recipe=disk.recipe.name if disk.recipe else "",
        recipe_sha256=disk.recipe_sha256,
    )


def history_of(disk: Disk) -> Path | None:
    """Return where the boots of a disk's recipe are kept; None where no recipe is known."""
    # By the recipe's name, whatever it says now: a changed recipe is compared with itself before.
    return history_path(disk.recipe.name) if disk.recipe else None


def remember(history: Path, boots: Iterable[PastBoot]) -> None:
    """Add boots to a history; where it cannot be written that is a warning."""
    try:
        for boot in boots:
            append_boot(history, boot)
    except OSError as error:  # what was found of the image does not depend on it
        warn(f"History {history}: cannot be written: {error.strerror}.")


def summarize(reports: Sequence[Report]) -> None:
    """Append reports to the summary of a GitHub step, where one is wanted."""
    path = host.step_summary()
    if path is None:
        return
    try:
        whole = all(append_summary(report, path) for report in reports)
    except OSError as error:
        warn(f"Step summary {path}: cannot be written: {error.strerror}.")
        return
    if not whole:
        warn(f"Step summary {path}: is full; each report is in its test's folder.")
