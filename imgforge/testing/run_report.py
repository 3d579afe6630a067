"""The report of a test run: from how its tests ended, and what their machines' folders hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from imgforge import host
from imgforge.files import tidy
from imgforge.report import (
    CONSOLE_LOG,
    BootEntry,
    PastBoot,
    Report,
    TestEntry,
    past_boot,
    read_boot,
    read_history,
    write_junit,
    write_report,
)
from imgforge.testing.machine_files import (
    BOOTS_FILE,
    MachineFacts,
    read_boots,
    read_commands,
    read_facts,
)
from imgforge.testing.outcome import Conclusion
from imgforge.testing.plan import Image
from imgforge.testing.replay import REPLAY_FOLDER
from imgforge.testing.session import FIRST_BOOTS
from imgforge.testing.told import reason_of, replay_line, shortened
from imgforge.trial_report import (
    JUNIT_FILE,
    REPORT_FILE,
    disk_entry,
    history_of,
    remember,
    summarize,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A machine of the run, and its folder; `is_first` of a boot that was frozen, not tested."""

    folder: Path
    facts: MachineFacts
    is_first: bool = False

    @property
    def was_on(self) -> bool:
        """Whether it was powered on: none is, where the first boot of its image failed."""
        return (self.folder / CONSOLE_LOG).exists() or (self.folder / BOOTS_FILE).exists()


def report_run(
    image: Image, evidence: Path, *, ended: Mapping[str, Conclusion], notes: Sequence[str]
) -> Report:
    """Write report.html and junit.xml into the evidence folder; add to step summary and history.

    `ended` is by node id; `notes` are about the whole run. It is no copy of pytest's --junitxml,
    which has a test that was run again twice, and has no word for the harness.
    """
    machines = list(_machines(evidence))
    disk = image.disk
    history = history_of(disk)
    report = Report(
        title=image.ami_id or disk.path.name,
        created=datetime.now(UTC),
        disk=disk_entry(disk),
        tests=tuple(_tests(ended, machines)),
        boots=tuple(_boot(machine, machines) for machine in machines if machine.was_on),
        history=read_history(history) if history else (),
        notes=tuple(notes),
    )
    write_report(report, evidence / REPORT_FILE)
    write_junit(report, evidence / JUNIT_FILE)
    summarize([report])
    if history is not None:
        remember(history, _cold_boots(machines, recipe_sha256=disk.recipe_sha256))
    return report


def tidy_after_workers(evidence: Path) -> None:
    """Remove what workers that were killed left half made."""
    for folder in (*evidence.glob("*"), *(evidence / FIRST_BOOTS).glob("*")):
        tidy(folder)
    tidy(host.runtime_parent())


def _machines(evidence: Path) -> Iterator[Seen]:
    first = [(folder, True) for folder in (evidence / FIRST_BOOTS).glob("*")]
    found = [*first, *((folder, False) for folder in evidence.glob("*"))]
    seen = [
        Seen(folder, facts, is_first)
        for folder, is_first in found
        if (facts := read_facts(folder)) is not None
    ]
    yield from sorted(seen, key=lambda machine: (machine.facts.began, machine.folder))


def _tests(ended: Mapping[str, Conclusion], machines: Sequence[Seen]) -> Iterator[TestEntry]:
    """Yield how the tests ended, in the order they did; what failed alike is told in full once."""
    told: dict[str, str] = {}
    for name, conclusion in ended.items():
        text = conclusion.failure
        first = told.setdefault(text, name)
        kept = [
            machine.folder
            for machine in machines
            if name in machine.facts.tests and (machine.folder / REPLAY_FOLDER).is_dir()
        ]
        yield TestEntry(
            name=name,
            outcome=conclusion.outcome,
            seconds=conclusion.seconds,
            failure=text if first == name else shortened(text, told_for=first),
            why=" ".join(reason_of(text)[:2]),
            reason=conclusion.reason,
            replay=replay_line(kept[-1]) if kept and text else "",
        )


def _boot(machine: Seen, machines: Sequence[Seen]) -> BootEntry:
    facts = machine.facts
    verdicts = read_boots(machine.folder)
    entry = read_boot(
        machine.folder,
        name=facts.name,
        verdict=verdicts[-1] if verdicts else None,
        commands=read_commands(machine.folder),
        instance_type=facts.instance_type,
        tests=_users(machine, machines),
    )
    known = (("instance id", facts.instance_id), ("evidence", str(machine.folder)))
    more = tuple((name, value) for name, value in known if value)
    boots = f"It was booted {len(verdicts)} times; this is the last." if len(verdicts) > 1 else ""
    return replace(
        entry,
        facts=(*entry.facts, *more),
        notes=(*entry.notes, *facts.notes, *([boots] if boots else [])),
    )


def _users(machine: Seen, machines: Sequence[Seen]) -> tuple[str, ...]:
    """Return the tests that a machine was for; of a first boot, those that went on from it."""
    if not machine.is_first:
        return machine.facts.tests
    clones = (other.facts for other in machines if other.facts.frozen == machine.folder.name)
    return tuple(dict.fromkeys(test for facts in clones for test in facts.tests))


def _cold_boots(machines: Sequence[Seen], *, recipe_sha256: str) -> Iterator[PastBoot]:
    """Yield the boots that only the image and the hardware decided, from a fresh disk."""
    for machine in machines:
        facts = machine.facts
        boots = read_boots(machine.folder)
        if not boots or not facts.is_plain or (facts.frozen and not machine.is_first):
            continue
        entry = read_boot(
            machine.folder, name=facts.name, verdict=boots[0], instance_type=facts.instance_type
        )
        past = past_boot(entry, recipe_sha256=recipe_sha256)
        if past is not None:
            yield past
