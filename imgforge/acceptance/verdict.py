"""Accepted or rejected, and why: verdict.json."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from imgforge.acceptance.record import StageName
from imgforge.recipe import Layout

VERDICT_SCHEMA: Literal[1] = 1


class BootMethod(StrEnum):
    """How the disk was started; a lesser way is never passed off as a better one."""

    BIOS = "bios"
    DIRECT = "direct"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Check(_Part):
    """One thing looked at: whether it holds, and what was seen."""

    id: str
    passed: bool
    evidence: str


class StageReport(_Part):
    """A stage as verdict.json shows it; seconds from power-on, None where not reached."""

    name: StageName
    seconds: float | None
    reached: bool


class DiskReport(_Part):
    """The disk's digests around the boot: they must be equal."""

    sha256_before: str
    sha256_after: str
    layout: Layout | None


class AcceleratorReport(_Part):
    """What ran the guest's instructions, and why."""

    kind: str
    reason: str


class Verdict(_Part):
    """verdict.json; the README documents it, and others build on it."""

    schema_version: Literal[1] = Field(default=VERDICT_SCHEMA, alias="schema")
    accepted: bool
    reason: str
    disk: DiskReport
    recipe_sha256: str
    lock_sha256: str
    accelerator: AcceleratorReport
    qemu_version: str
    boot_method: BootMethod
    stages: tuple[StageReport, ...]
    checks: tuple[Check, ...]
    failed_stage: StageName | None
    created: datetime
