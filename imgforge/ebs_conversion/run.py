"""A conversion from its first step that does not stand to the last one wished for."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from imgforge.bundle import load_manifest
from imgforge.conversion_step import StepName
from imgforge.ebs_conversion.acts import architecture_of, check_size, wanted_gib
from imgforge.ebs_conversion.chain import CHAIN_FILE, Chain, chain_of, write_chain
from imgforge.ebs_conversion.job import Job
from imgforge.ebs_conversion.registration import check_early, warn_of_kernel
from imgforge.ebs_conversion.state import (
    RECORD_FILE,
    ConversionRecord,
    StepRecord,
    look,
    read_record,
    standing,
    without,
    write_record,
)
from imgforge.ebs_conversion.steps import STEPS, Step, shapes, values_of
from imgforge.ebs_conversion.values import Digests, Registered
from imgforge.ebs_conversion.wish import ConversionWish, Repeat
from imgforge.errors import BadInputError, HostError
from imgforge.files import lock_within, tidy, told_writing
from imgforge.progress import report

_LOCK_FILE = ".lock"
_FULL_HINT = (
    "Free some and run it again: it goes on where it was. Or name a place elsewhere with --out."
)
_NAMES = tuple(step.name for step in STEPS)


class StepState(StrEnum):
    """How a step stands: done before, done by this run, or still to do."""

    STANDS = "stands"
    DONE = "done"
    TO_DO = "to-do"


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step, in words, and how it stands."""

    name: StepName
    words: str
    state: StepState


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a run made: each step's state, and the chain as far as it goes."""

    folder: Path
    steps: tuple[PlannedStep, ...]
    chain: Chain | None
    image_id: str | None


def plan(wish: ConversionWish) -> tuple[PlannedStep, ...]:
    """Return all steps and which of them stand already; nothing is written.

    Raises BadInputError for a bundle that cannot be converted, as far as its manifest tells.
    """
    _check(wish)
    return _told_steps(_held(wish), frozenset())


def convert_to_ebs(wish: ConversionWish) -> Conversion:
    """Do what is left to do up to the last step wished for, and return what there is.

    After a kill, or a failure, the next run goes on with the step that it interrupted. Raises
    BadInputError, ImageRejectedError where the volume is rejected, HostError.
    """
    _check(wish)
    with told_writing(wish.folder, "the conversion", hint=_FULL_HINT), _alone(wish.folder):
        tidy(wish.folder)
        held = dict(_held(wish))
        _forget(wish, held)
        done: set[StepName] = set()
        keys = {shape.name: shape.key for shape in shapes(wish)}
        for step in STEPS[: _NAMES.index(wish.last_step) + 1]:
            if step.name not in held:
                held[step.name] = _do(step, _job(wish, held), key=keys[step.name])
                _write(wish, held)
                done.add(step.name)
                _keep_chain(_job(wish, held))
            if step.name is StepName.IDENTIFY and StepName.REGISTER not in held:
                job = _job(wish, held)
                check_early(job, size_gib=wanted_gib(job))
        return _result(_job(wish, held), held, frozenset(done))


def _do(step: Step, job: Job, *, key: str) -> StepRecord:
    report(f"{step.name}: {step.words}")
    value = step.act(job)
    files = look(job.folder, (*step.makes, *step.takes))
    return StepRecord(key=key, value=value.model_dump(mode="json"), files=files)


def _keep_chain(job: Job) -> Chain | None:
    """Write the chain as far as it goes; there is none before the digests are known."""
    if job.known(Digests) is None:
        return None
    chain = chain_of(job)
    write_chain(job.folder, chain)
    return chain


def _result(job: Job, held: Mapping[StepName, StepRecord], done: frozenset[StepName]) -> Conversion:
    registered = job.known(Registered)
    image_id = registered.image_id if registered else None
    return Conversion(job.folder, _told_steps(held, done), _keep_chain(job), image_id)


def _check(wish: ConversionWish) -> None:
    """Refuse what the wish and the manifest alone show to be in vain."""
    if wish.folder.exists() and not wish.folder.is_dir():
        raise BadInputError(
            f"Folder {wish.folder}: is a file; the conversion needs a folder.",
            hint="Name a folder with --out; without it NAME.ebs is made.",
        )
    _check_key(wish)
    if wish.is_remote:
        return
    manifest = load_manifest(Path(wish.source)).manifest
    if wish.ebs.size_gib is not None:
        check_size(wish.ebs.size_gib, manifest.image.size_bytes)
    if manifest.image.type.value != "machine":
        raise BadInputError(
            f"Bundle {wish.source}: holds a {manifest.image.type}; a machine image is needed."
        )
    if _NAMES.index(wish.last_step) >= _NAMES.index(StepName.IDENTIFY):
        architecture_of(manifest, source=wish.source)
    if StepName.IDENTIFY not in _held(wish):
        warn_of_kernel(wish, manifest)


def _check_key(wish: ConversionWish) -> None:
    """Raise BadInputError where a step that is to be done needs the key that is missing."""
    if wish.key is not None:
        return
    held = _held(wish)
    needing = (StepName.DOWNLOAD, StepName.UNBUNDLE) if wish.is_remote else (StepName.UNBUNDLE,)
    for name in needing:
        if name not in held and _NAMES.index(name) <= _NAMES.index(wish.last_step):
            raise BadInputError(
                f"Bundle {wish.source}: the step {name} needs the private key that it was bundled "
                "with.",
                hint="Give it with --key.",
            )


def _held(wish: ConversionWish) -> Mapping[StepName, StepRecord]:
    """Return the steps that stand, without one that is to be repeated, and what hangs on it."""
    found = shapes(wish)
    record = read_record(wish.folder, source=_source(wish))
    held = standing(record, found, folder=wish.folder)
    if wish.repeat is Repeat.NEVER:
        return held
    left = ConversionRecord(source=record.source, steps=without(held, wish.last_step, found))
    return standing(left, found, folder=wish.folder)


def _job(wish: ConversionWish, held: Mapping[StepName, StepRecord]) -> Job:
    try:
        values = values_of({name: record.value for name, record in held.items()})
    except ValidationError as error:
        raise BadInputError(
            f"Conversion {wish.folder / RECORD_FILE}: is no record of one: "
            f"{error.errors()[0]['msg']}.",
            hint=f"Remove {wish.folder} to begin anew, or name another folder with --out.",
        ) from None
    return Job(wish, wish.folder, values)


def _forget(wish: ConversionWish, held: Mapping[StepName, StepRecord]) -> None:
    """Take away what steps that do not stand have left: none of it may look finished."""
    _write(wish, held)
    if StepName.DIGEST not in held:
        (wish.folder / CHAIN_FILE).unlink(missing_ok=True)
    kept = {file for record in held.values() for file in record.files}
    for step in STEPS:
        for file in step.makes:
            if step.name not in held and file not in kept:
                (wish.folder / file).unlink(missing_ok=True)


def _write(wish: ConversionWish, held: Mapping[StepName, StepRecord]) -> None:
    write_record(wish.folder, ConversionRecord(source=_source(wish), steps=dict(held)))


def _source(wish: ConversionWish) -> str:
    return wish.source if wish.is_remote else str(Path(wish.source).absolute())


def _told_steps(
    held: Mapping[StepName, StepRecord], done: frozenset[StepName]
) -> tuple[PlannedStep, ...]:
    def state(name: StepName) -> StepState:
        if name in done:
            return StepState.DONE
        return StepState.STANDS if name in held else StepState.TO_DO

    return tuple(PlannedStep(step.name, step.words, state(step.name)) for step in STEPS)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder against other runs; a kill frees it. Raises HostError where one is there."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=0):
            raise HostError(
                f"Folder {folder}: another conversion is running there.",
                hint="Wait for its end, or name another folder with --out.",
            )
        yield
    finally:
        os.close(descriptor)
