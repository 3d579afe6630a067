"""conversion.json: which steps are done, what they made, and whether that still stands."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from imgforge.conversion_step import StepName
from imgforge.disk import FileIdentity, identify
from imgforge.errors import BadInputError
from imgforge.files import appearing

RECORD_FILE = "conversion.json"


class StepRecord(BaseModel):
    """A step that is done.

    `key` is the digest of all that went into it, `value` what it made. `files` are those of the
    folder that it wrote, as they were at its end; None for one that it took away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    value: dict[str, JsonValue]
    files: dict[str, FileIdentity | None] = Field(default_factory=dict)


class ConversionRecord(BaseModel):
    """The content of conversion.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    source: str
    steps: dict[StepName, StepRecord] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepShape:
    """What of a step the record's rules need: its key now, and what it builds upon."""

    name: StepName
    key: str
    needs: Sequence[StepName]


def read_record(folder: Path, *, source: str) -> ConversionRecord:
    """Read a folder's record; an empty one where there is none.

    Raises BadInputError for a record that is none, or of another bundle.
    """
    path = folder / RECORD_FILE
    try:
        record = ConversionRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return ConversionRecord(source=source)
    except OSError as error:
        raise BadInputError(f"Conversion {path}: cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise BadInputError(
            f"Conversion {path}: is no record of one: {place}: {first['msg']}.",
            hint=f"Remove {folder} to begin anew, or name another folder with --out.",
        ) from None
    if record.source != source:
        raise BadInputError(
            f"Conversion {path}: is that of {record.source}, not of {source}.",
            hint="Name another folder with --out.",
        )
    return record


def write_record(folder: Path, record: ConversionRecord) -> None:
    """Write a record, whole or not at all."""
    values = record.model_dump(mode="json", by_alias=True)
    with appearing(folder / RECORD_FILE) as new:
        new.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def look(folder: Path, names: Iterable[str]) -> dict[str, FileIdentity | None]:
    """Return what files of the folder are now; None for what is not there."""
    found: dict[str, FileIdentity | None] = {}
    for name in names:
        try:
            found[name] = identify((folder / name).lstat())
        except FileNotFoundError:
            found[name] = None
    return found


def standing(
    record: ConversionRecord, shapes: Sequence[StepShape], *, folder: Path
) -> Mapping[StepName, StepRecord]:
    """Return the steps that are done and still hold.

    A step holds where nothing that went into it changed, what it builds upon holds, and each file
    is as the last step that wrote it left it: what a kill interrupted is known by its file.
    """
    held = {
        shape.name: record.steps[shape.name]
        for shape in shapes
        if shape.name in record.steps and record.steps[shape.name].key == shape.key
    }
    while broken := _broken(held, shapes, folder):
        for name in broken:
            del held[name]
    return held


def _broken(
    held: Mapping[StepName, StepRecord], shapes: Sequence[StepShape], folder: Path
) -> set[StepName]:
    broken = {
        shape.name
        for shape in shapes
        if shape.name in held and any(needed not in held for needed in shape.needs)
    }
    owners: dict[str, StepName] = {}
    for shape in shapes:
        if shape.name in held:
            owners.update(dict.fromkeys(held[shape.name].files, shape.name))
    now = look(folder, owners)
    return broken | {
        owner for file, owner in owners.items() if held[owner].files[file] != now[file]
    }


def without(
    held: Mapping[StepName, StepRecord], name: StepName, shapes: Sequence[StepShape]
) -> dict[StepName, StepRecord]:
    """Return what is left where a step is to be done again: not it, nor what builds upon it."""
    gone = {name}
    for shape in shapes:
        if gone.intersection(shape.needs):
            gone.add(shape.name)
    return {step: record for step, record in held.items() if step not in gone}
