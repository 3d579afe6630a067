"""What the processes of a test run hand to each other of its machines: files in their folders.

A line or a file each, as soon as it is known: what a killed worker wrote is there for the report.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imgforge.acceptance import Verdict
from imgforge.errors import HostError
from imgforge.files import appearing
from imgforge.progress import warn
from imgforge.report import CommandEntry

MACHINE_FILE = "machine.json"
BOOTS_FILE = "boots.jsonl"
COMMANDS_FILE = "commands.jsonl"
FAILURE_FILE = "failure.txt"
WARNINGS_FILE = "warnings.jsonl"
_LARGEST_BYTES = 64 * 2**20
_OUTPUT_LIMIT = 20_000


class MachineFacts(BaseModel):
    """machine.json: whose machine it is, and what is known of it.

    `tests` are node ids, more than one of a shared machine. `is_plain` says that nothing but the
    image decides how long its boot takes (no user data, no faults); `frozen` is the key of the
    first boot that it goes on from, "" for a machine that boots itself.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    tests: tuple[str, ...] = ()
    instance_type: str = ""
    instance_id: str = ""
    notes: tuple[str, ...] = ()
    is_plain: bool = False
    frozen: str = ""
    began: datetime


def new_facts(name: str) -> MachineFacts:
    """Return what is known of a machine before it is there."""
    return MachineFacts(name=name, began=datetime.now(UTC))


def write_facts(folder: Path, facts: MachineFacts) -> None:
    """Write machine.json, whole or not at all."""
    with appearing(folder / MACHINE_FILE) as new:
        new.write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_facts(folder: Path) -> MachineFacts | None:
    """Read machine.json; None where there is none, or what is there is none."""
    try:
        return MachineFacts.model_validate_json((folder / MACHINE_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def note_boot(folder: Path, verdict: Verdict) -> None:
    """Add a boot that was watched from its power-on. Raises HostError where it cannot be kept."""
    try:
        _append(folder / BOOTS_FILE, verdict.model_dump_json(by_alias=True))
    except OSError as error:
        raise HostError(f"Evidence {folder}: cannot be written: {error.strerror}.") from None


def read_boots(folder: Path) -> tuple[Verdict, ...]:
    """Return the boots of a machine that were watched; lines that are none are skipped."""
    boots = []
    for line in _lines(folder / BOOTS_FILE):
        try:
            boots.append(Verdict.model_validate_json(line))
        except ValidationError:
            continue
    return tuple(boots)


def note_command(folder: Path, command: CommandEntry) -> None:
    """Add a command that ran in the machine to commands.jsonl, or warn where that cannot be."""
    try:
        _append(folder / COMMANDS_FILE, json.dumps(asdict(command)))
    except OSError as error:
        warn(f"Evidence {folder}: cannot be written: {error.strerror}.")


def read_commands(folder: Path) -> tuple[CommandEntry, ...]:
    """Return the commands of a machine; lines that are none are skipped."""
    found = []
    for line in _lines(folder / COMMANDS_FILE):
        match _value(line):
            case {
                "command": str(command),
                "status": int() | None as status,
                "output": str(output),
                "seconds": float() | int() as seconds,
            }:
                output = output[:_OUTPUT_LIMIT]
                found.append(CommandEntry(command, status, output, float(seconds)))
    return tuple(found)


def note_warning(root: Path, text: str) -> None:
    """Add a warning to those of the whole run."""
    _append(root / WARNINGS_FILE, json.dumps(text))


def read_warnings(root: Path) -> tuple[str, ...]:
    """Return the warnings of a run, each once, in the order of their first time."""
    texts = (_value(line) for line in _lines(root / WARNINGS_FILE))
    return tuple(dict.fromkeys(text for text in texts if isinstance(text, str)))


def _append(path: Path, line: str) -> None:
    # One write to a file opened for appending: lines of several processes do not mix.
    with path.open("ab", buffering=0) as file:
        file.write(line.encode("utf-8", errors="replace") + b"\n")


def _lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return [line for line in file.read(_LARGEST_BYTES).split(b"\n") if line]
    except OSError:
        return []


def _value(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
