"""A disk's menu.lst checked by EC2's rules: read, then judged."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from imgforge.aki import PvGrub
from imgforge.disk.menu_facts import DiskFacts, gather_facts
from imgforge.disk.menu_finding import MenuFinding, Weight, World
from imgforge.disk.menu_rules import Case, booting_entry, judge
from imgforge.disk.partition import recognise_layout

_ORDER = tuple(Weight)  # the gravest first


@dataclass(frozen=True, slots=True)
class MenuExamination:
    """What a disk's menu.lst is, and what is to be said of it.

    `boots` is the entry, from 0, that would boot as far as can be told from here; None where none
    would.
    """

    world: World
    facts: DiskFacts
    findings: tuple[MenuFinding, ...]
    boots: int | None

    @property
    def has_error(self) -> bool:
        """Whether anything that is tried at boot fails."""
        return any(finding.weight is Weight.ERROR for finding in self.findings)


def examine_menu(
    disk: Path, *, world: World | None = None, pv_grub: PvGrub | None = None
) -> MenuExamination:
    """Check the menu.lst of a raw disk as EC2 would read it; the disk is only read.

    Without a `world`, that of the disk's layout; one that is not recognised is taken for PV's,
    which needs no boot code. Raises BadInputError for a partition table that points outside it.
    """
    with tempfile.TemporaryDirectory(prefix="imgforge-menu-") as folder:
        facts = gather_facts(disk, Path(folder))
    layout = recognise_layout(disk)
    chosen = world or (World.HVM if layout is not None and not layout.is_pv else World.PV)
    case = Case(facts, chosen, pv_grub)
    findings = tuple(sorted(judge(case), key=lambda finding: _ORDER.index(finding.weight)))
    return MenuExamination(chosen, facts, findings, booting_entry(case, findings))
