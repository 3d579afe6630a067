"""The steps as a table: what each does, what it builds upon, what it writes."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imgforge import host
from imgforge.conversion_step import StepName
from imgforge.ebs_conversion import acts, proof
from imgforge.ebs_conversion.job import BLANK_FILE, DISK_FILE, VERDICT, VOLUME_FILE
from imgforge.ebs_conversion.job import Job as Job
from imgforge.ebs_conversion.state import StepShape
from imgforge.ebs_conversion.values import (
    Blank,
    Copied,
    Digests,
    Downloaded,
    FstabEdited,
    Identified,
    Probed,
    Registered,
    SnapshotTaken,
    SourceJudged,
    Unbundled,
    Value,
    VolumeJudged,
)
from imgforge.ebs_conversion.wish import ConversionWish

Parameters = Callable[[ConversionWish], list[object]]


def _nothing(_wish: ConversionWish) -> list[object]:
    return []


@dataclass(frozen=True, slots=True)
class Step:
    """A step: the function, its value's class, the steps it builds upon, its files.

    `words` say what it does. `parameters` are what of the wish goes into it: another wish, and it
    is done again. `takes` are files that it takes away.
    """

    name: StepName
    words: str
    act: Callable[[Job], Value]
    value: type[Value]
    needs: tuple[StepName, ...] = ()
    makes: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    parameters: Parameters = _nothing


def _source(wish: ConversionWish) -> list[object]:
    if wish.is_remote:
        return [wish.source]
    path = Path(wish.source).absolute()
    # A manifest that was signed anew is another bundle.
    return [str(path), hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""]


def _test(wish: ConversionWish) -> list[object]:
    suite = [*wish.suite.names, *(str(path.absolute()) for path in wish.suite.own)]
    around = wish.surroundings
    aki = [around.pv.pv_grub.name] if around.pv.pv_grub else []
    return [wish.expect_sha256, suite, around.network, str(around.pv.way), *aki]


def _source_test(wish: ConversionWish) -> list[object]:
    verdict = wish.source_verdict
    digest = hashlib.sha256(verdict.read_bytes()).hexdigest() if verdict else None
    return [str(verdict.absolute()) if verdict else None, digest, wish.tests_source, *_test(wish)]


STEPS: tuple[Step, ...] = (
    Step(
        StepName.DOWNLOAD,
        "fetch the bundle; one that is here stays where it is",
        acts.download,
        Downloaded,
        parameters=_source,
    ),
    Step(
        StepName.UNBUNDLE,
        f"take the image out as {DISK_FILE}, signature and all digests compared",
        acts.unbundle,
        Unbundled,
        needs=(StepName.DOWNLOAD,),
        makes=(DISK_FILE,),
    ),
    Step(
        StepName.IDENTIFY,
        "tell architecture, virtualization type and kernel id of the original",
        acts.identify_original,
        Identified,
        needs=(StepName.UNBUNDLE,),
    ),
    Step(
        StepName.VOLUME,
        "make a blank volume, at least as large",
        acts.create_volume,
        Blank,
        needs=(StepName.IDENTIFY,),
        makes=(BLANK_FILE,),
        parameters=lambda wish: [wish.ebs.size_gib],
    ),
    Step(
        StepName.COPY,
        "copy the disk to the volume, by its data",
        acts.copy_disk,
        Copied,
        needs=(StepName.VOLUME,),
        makes=(BLANK_FILE,),
    ),
    Step(
        StepName.PARTITIONS,
        "read the volume's partitions again",
        acts.probe_partitions,
        Probed,
        needs=(StepName.COPY,),
    ),
    Step(
        StepName.FSTAB,
        f"take instance-store and EFI lines out of its fstab: {VOLUME_FILE}",
        acts.fix_fstab,
        FstabEdited,
        needs=(StepName.IDENTIFY, StepName.PARTITIONS),
        makes=(VOLUME_FILE,),
        takes=(BLANK_FILE,),
    ),
    Step(
        StepName.DIGEST,
        "read disk and volume for their SHA-256",
        acts.digest,
        Digests,
        needs=(StepName.FSTAB,),
    ),
    Step(
        StepName.TEST_SOURCE,
        "the verdict on the disk as it was in the bundle, if wished",
        proof.judge_source,
        SourceJudged,
        needs=(StepName.DIGEST,),
        parameters=_source_test,
    ),
    Step(
        StepName.TEST,
        "boot the volume on a throw-away overlay, and judge it",
        proof.judge_volume,
        VolumeJudged,
        needs=(StepName.DIGEST,),
        makes=(VERDICT,),
        parameters=_test,
    ),
    Step(
        StepName.SNAPSHOT,
        "keep the volume as a snapshot",
        proof.take_snapshot,
        SnapshotTaken,
        needs=(StepName.DIGEST,),
        parameters=lambda _wish: [str(host.catalog_dir())],
    ),
    Step(
        StepName.REGISTER,
        "register the snapshot as an image, as the original was",
        proof.register,
        Registered,
        needs=(StepName.TEST, StepName.SNAPSHOT),
        parameters=lambda wish: [wish.ebs.name, str(wish.ebs.conflict)],
    ),
)


def shapes(wish: ConversionWish) -> tuple[StepShape, ...]:
    """Return each step's key for a wish: the digest of all that goes into it."""
    keys: dict[StepName, str] = {}
    found = []
    for step in STEPS:
        inputs = [step.name, step.parameters(wish), [keys[name] for name in step.needs]]
        keys[step.name] = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
        found.append(StepShape(step.name, keys[step.name], step.needs))
    return tuple(found)


def values_of(held: Mapping[StepName, Mapping[str, object]]) -> dict[type[Value], Value]:
    """Return the steps' values by their class. Raises pydantic's ValidationError."""
    return {
        step.value: step.value.model_validate(held[step.name])
        for step in STEPS
        if step.name in held
    }
