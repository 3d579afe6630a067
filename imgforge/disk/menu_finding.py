"""What is to be said of a menu.lst: a rule, and what was found that breaks it."""

from dataclasses import dataclass
from enum import StrEnum


class World(StrEnum):
    """What reads menu.lst: GRUB Legacy on a virtual BIOS, or PV-GRUB."""

    HVM = "hvm"
    PV = "pv"


class Weight(StrEnum):
    """How much a finding matters: an error keeps the disk, or an entry, from booting on EC2."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its id, how much it matters, what is needed, what to do, and its source."""

    id: str
    weight: Weight
    needed: str
    hint: str
    section: str


@dataclass(frozen=True, slots=True)
class MenuFinding:
    """A broken rule: what was found, where in menu.lst (from 1), in which entry (from 0).

    `weight` is the rule's, or less where the entry is none that GRUB tries.
    """

    rule: Rule
    weight: Weight
    found: str
    entry: int | None = None
    line: int | None = None
    column: int | None = None
