"""Each result, as a person reads it and as --json prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from imgforge.cli.tables import human_size, print_rows

# For their names alone: `imgforge build` need not load what boots and judges.
if TYPE_CHECKING:
    from imgforge.acceptance import Verdict
    from imgforge.convert import Artifact
    from imgforge.disk import Disk
    from imgforge.doctor import HostReport
    from imgforge.launch import Launched
    from imgforge.pipeline import RunResult
    from imgforge.reproducibility import Comparison
    from imgforge.trial import Tested


def disk_values(disk: Disk) -> dict[str, Any]:
    """Return what `build --json` prints of a disk; the README promises these keys."""
    return {
        "disk": str(disk.path),
        "sha256": disk.sha256,
        "layout": disk.layout,
        "size_bytes": disk.size_bytes,
        "recipe_sha256": disk.recipe_sha256,
        "lock_sha256": disk.lock_sha256,
    }


def disks(console: Console, built: Sequence[Disk]) -> None:
    """Show the disks that were built."""
    rows = [
        (disk.layout or "", human_size(disk.size_bytes), disk.sha256, str(disk.path))
        for disk in built
    ]
    print_rows(console, ("layout", "size", "sha256", "disk"), rows)


def run_values(result: RunResult) -> dict[str, Any]:
    """Return what `run --json` prints of a layout; the README promises the first six keys."""
    tested = result.tested
    return {
        "layout": tested.disk.layout,
        "verdict": str(tested.verdict_path),
        "accepted": tested.verdict.accepted,
        "image_id": result.image.image_id if result.image else None,
        "seconds": tested.verdict.seconds,
        "report": str(tested.report_path),
        "disk": str(tested.disk.path),
        "sha256": tested.disk.sha256,
        "artifacts": [artifact_values(artifact) for artifact in result.artifacts],
    }


def run_results(console: Console, results: Sequence[RunResult]) -> None:
    """Show what became of each layout, and of a rejected one why."""
    from imgforge.acceptance import StageName

    for result in results:
        if not result.tested.verdict.accepted:
            console.print(f"[bold]{result.tested.disk.layout}[/bold]")
            tested(console, result.tested)
            console.print()
    console.print("[bold]seconds from power-on to each stage[/bold]")
    verdicts = [result.tested.verdict for result in results]
    listed = {stage.name for verdict in verdicts for stage in verdict.stages}
    # Most machines have no cloud-init: their table has no column of its own for it.
    names = [name for name in StageName if name in listed or name is not StageName.CLOUD_INIT]
    stages = [("layout", *map(str, names))]
    stages += [
        (str(result.tested.disk.layout), *_stage_cells(result.tested.verdict, names))
        for result in results
    ]
    print_rows(console, stages[0], stages[1:])
    console.print()
    rows = [
        (
            str(result.tested.disk.layout),
            _word(result.tested.verdict),
            human_size(result.tested.disk.size_bytes),
            result.image.image_id if result.image else "-",
            result.tested.disk.sha256,
        )
        for result in results
    ]
    print_rows(console, ("layout", "verdict", "size", "image", "sha256"), rows)
    console.print()
    for result in results:
        console.print(f"report  {result.tested.report_path}", markup=False, soft_wrap=True)


def tested(console: Console, tested: Tested) -> None:
    """Show a verdict: its stages, checks that do not hold, and for a rejection the console."""
    from imgforge.acceptance import explain

    verdict = tested.verdict
    console.print(f"stages  {_stage_seconds(verdict)}", markup=False)
    passed = sum(check.passed for check in verdict.checks)
    apart = f", {len(verdict.skipped)} do not count" if verdict.skipped else ""
    console.print(f"checks  {passed} of {len(verdict.checks)} hold{apart}", markup=False)
    console.print(f"details {tested.verdict_path}", markup=False, soft_wrap=True)
    console.print(f"report  {tested.report_path}", markup=False, soft_wrap=True)
    words = explain(verdict, tested.console_lines, width=max(40, console.width))
    console.print(words, markup=False, soft_wrap=True)


def artifact_values(artifact: Artifact) -> dict[str, Any]:
    """Return what `convert --json` prints."""
    return {
        "path": str(artifact.path),
        "format": artifact.format,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "virtual_size_bytes": artifact.virtual_size_bytes,
        "disk_sha256": artifact.disk_sha256,
    }


def artifact(console: Console, made: Artifact) -> None:
    """Show an artifact."""
    size = human_size(made.size_bytes)
    print_rows(
        console,
        ("format", "size", "sha256", "path"),
        [(made.format, size, made.sha256, str(made.path))],
    )


def launched_values(launched: Launched) -> dict[str, Any]:
    """Return what `launch --json` prints."""
    return {
        "instance_id": launched.instance_id,
        "image_id": launched.image_id,
        "ssh": launched.ssh,
        "ssh_port": launched.ssh_port,
        "console": str(launched.console),
    }


def launched(console: Console, launched: Launched) -> None:
    """Show the way in."""
    console.print(launched.ssh, markup=False, soft_wrap=True)


def comparisons(console: Console, found: Sequence[Comparison]) -> None:
    """Show whether each layout came out the same twice."""
    for comparison in found:
        if comparison.difference is None:
            console.print(f"{comparison.layout}: the same twice, {comparison.sha256}", markup=False)
        else:
            console.print(f"{comparison.layout}: {comparison.difference}", markup=False)


def comparison_values(comparison: Comparison) -> dict[str, Any]:
    """Return what `verify-reproducible --json` prints of a layout."""
    difference = None if comparison.difference is None else str(comparison.difference)
    return {
        "layout": comparison.layout,
        "reproducible": comparison.difference is None,
        "sha256": comparison.sha256,
        "difference": difference,
    }


def host_report(console: Console, report: HostReport) -> None:
    """Show what doctor found."""
    rows = [
        (
            state.name,
            "MISSING"
            if state.is_missing and state.required
            else state.version or state.path or "-",
            state.purpose,
        )
        for state in report.programs
    ]
    print_rows(console, ("program", "version", "what it is for"), rows)
    console.print()
    for finding in report.findings:
        mark = "ok" if finding.good else ("MISSING" if finding.required else "note")
        console.print(f"{mark:8}{finding.name}: {finding.found}", markup=False)
        if not finding.good and finding.needed:
            console.print(f"        needed: {finding.needed}", markup=False)
    if line := report.install_line():
        console.print(f"\nInstall what is missing: {line}", markup=False)
    console.print("\nready" if report.ready else "\nNOT ready", markup=False)


def _stage_seconds(verdict: Verdict) -> str:
    reached = [stage for stage in verdict.stages if stage.reached]
    shown = [
        f"{stage.name} {stage.seconds:.1f}" if stage.seconds is not None else f"{stage.name} yes"
        for stage in reached
    ]
    return ", ".join(shown) or "none"


def _stage_cells(verdict: Verdict, names: Sequence[str]) -> tuple[str, ...]:
    """Return a cell for each stage: its seconds, "yes" where it was passed unseen, "-" if not."""
    known = {str(stage.name): stage for stage in verdict.stages}
    cells = []
    for name in names:
        stage = known.get(str(name))
        if stage is None or not stage.reached:
            cells.append("-")
        else:
            cells.append("yes" if stage.seconds is None else f"{stage.seconds:.1f}")
    return tuple(cells)


def _word(verdict: Verdict) -> str:
    return "accepted" if verdict.accepted else f"REJECTED at {verdict.failed_stage or 'checks'}"
