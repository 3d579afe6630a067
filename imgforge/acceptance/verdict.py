"""Accepted or rejected, and why: verdict.json."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgforge.acceptance.record import BootMethod, StageName
from imgforge.errors import BadInputError
from imgforge.files import appearing
from imgforge.recipe import Layout

VERDICT_SCHEMA: Literal[1] = 1
VERDICT_FILE = "verdict.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Check(_Part):
    """One thing looked at: whether it holds, and what was seen."""

    id: str
    passed: bool
    evidence: str


class SkippedCheck(_Part):
    """A check that does not apply to the image, and what the image lacks for it."""

    id: str
    reason: str


class StageReport(_Part):
    """A stage as verdict.json shows it.

    `seconds` count from power-on; None where the stage was not reached, or showed nothing itself.
    """

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


class WayReport(_Part):
    """How the guest came to its metadata service ("namespace" or "guestfwd"), and why so."""

    way: str
    reason: str


class SignReport(_Part):
    """The fatal sign that ended the boot: its id, what it means, its text, when, what to do."""

    id: str
    meaning: str
    text: str
    seconds: float
    hint: str


class Verdict(_Part):
    """verdict.json; the README documents it, and others build on it.

    `stages` lists those the boot method has: a direct boot has no firmware and bootloader.
    `host_failure` is set where an earlier boot of this disk was ended by the host's own failure
    and repeated; the verdict is on the repetition. `notes` are what would be different on EC2.
    `pv_grub` is the PV-GRUB by whose rules a PV disk was started: xen-grub stands in for it.
    `skipped` are checks that do not apply; they are not among `checks`.
    """

    schema_version: Literal[1] = Field(default=VERDICT_SCHEMA, alias="schema")
    accepted: bool
    reason: str
    disk: DiskReport
    recipe_sha256: str
    lock_sha256: str
    accelerator: AcceleratorReport
    qemu_version: str
    boot_method: BootMethod
    seconds: float
    stages: tuple[StageReport, ...]
    checks: tuple[Check, ...]
    failed_stage: StageName | None
    sign: SignReport | None
    host_failure: str | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[SkippedCheck, ...] = ()
    created: datetime
    metadata_way: WayReport | None = None
    pv_grub: str | None = None


def write_verdict(folder: Path, verdict: Verdict) -> Path:
    """Write `verdict` as verdict.json in `folder`, whole or not at all; return its path."""
    path = folder / VERDICT_FILE
    with appearing(path) as new:
        text = verdict.model_dump_json(by_alias=True, indent=2)
        new.write_text(text + "\n", encoding="utf-8")
    return path


def read_verdict(path: Path) -> Verdict:
    """Read a verdict.json.

    Raises BadInputError for a file that is not there or is none.
    """
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInputError(
            f"Verdict {path}: cannot be read: {error.strerror}.",
            hint="imgforge test DISK makes one.",
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise BadInputError(
            f"Verdict {path}: is no verdict of schema {VERDICT_SCHEMA}: {place}: {first['msg']}.",
            hint="imgforge test DISK makes one.",
        ) from None
