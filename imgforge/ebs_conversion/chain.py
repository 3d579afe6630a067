"""The chain of custody: bundle, disk, volume, verdict, image, each by its digest, in one file."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgforge.catalog import Architecture
from imgforge.ebs_conversion.job import DISK_FILE, VOLUME_FILE, Job
from imgforge.ebs_conversion.values import (
    Blank,
    Digests,
    Downloaded,
    FstabChange,
    FstabEdited,
    Identified,
    Judged,
    Registered,
    SnapshotTaken,
    SourceJudged,
    Unbundled,
    VolumeJudged,
)
from imgforge.errors import BadInputError
from imgforge.files import appearing
from imgforge.layout import Layout

CHAIN_FILE = "chain.json"


class _Link(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class BundleLink(_Link):
    """The bundle: its manifest's SHA-256, and the SHA-1 of the tar stream that is signed there."""

    source: str
    manifest_sha256: str
    account: str
    image_sha1: str


class DiskLink(_Link):
    """A disk or a volume, relative to the folder."""

    file: str
    sha256: str
    size_bytes: int


class ImageLink(_Link):
    """What was registered."""

    image_id: str
    snapshot_id: str
    architecture: Architecture
    layout: Layout
    kernel_id: str | None
    ramdisk_id: str | None


class Chain(_Link):
    """chain.json; the README documents it.

    `changes` are all that tells the volume from the disk, beside the blank space behind it.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    bundle: BundleLink
    disk: DiskLink
    source_verdict: Judged | None
    changes: tuple[FstabChange, ...]
    volume: DiskLink
    verdict: Judged | None
    image: ImageLink | None


def chain_of(job: Job) -> Chain:
    """Return the chain as far as it goes; the digests are known."""
    image = job.manifest().manifest.image
    source, judged = job.known(SourceJudged), job.known(VolumeJudged)
    return Chain(
        bundle=BundleLink(
            source=job.wish.source,
            manifest_sha256=job.value(Downloaded).manifest_sha256,
            account=image.account,
            image_sha1=image.sha1,
        ),
        disk=DiskLink(
            file=DISK_FILE,
            sha256=job.value(Digests).disk_sha256,
            size_bytes=job.value(Unbundled).size_bytes,
        ),
        source_verdict=source.judged if source else None,
        changes=job.value(FstabEdited).changes,
        volume=DiskLink(
            file=VOLUME_FILE,
            sha256=job.value(Digests).volume_sha256,
            size_bytes=job.value(Blank).size_gib * 2**30,
        ),
        verdict=judged.judged if judged else None,
        image=_image(job),
    )


def _image(job: Job) -> ImageLink | None:
    registered = job.known(Registered)
    if registered is None:
        return None
    original = job.value(Identified)
    return ImageLink(
        image_id=registered.image_id,
        snapshot_id=job.value(SnapshotTaken).snapshot_id,
        architecture=original.architecture,
        layout=original.layout,
        kernel_id=original.kernel_id,
        ramdisk_id=original.ramdisk_id,
    )


def origin_of(job: Job) -> str:
    """Return, in words, where a volume comes from: its verdict says so."""
    chain = chain_of(job)
    lines = sum(len(change.reasons) for change in chain.changes)
    changed = f"without {lines} lines of its fstab" if lines else "with its fstab as it was"
    source = chain.source_verdict
    judged = ""
    if source is not None:
        word = "accepted" if source.accepted else "rejected"
        judged = f" (which was {word}, verdict SHA-256 {source.verdict_sha256})"
    return (
        f"Converted from an instance-store bundle: manifest SHA-256 "
        f"{chain.bundle.manifest_sha256}, image SHA-1 {chain.bundle.image_sha1} → disk SHA-256 "
        f"{chain.disk.sha256}{judged} → volume SHA-256 {chain.volume.sha256}, {changed}."
    )


def write_chain(folder: Path, chain: Chain) -> None:
    """Write chain.json, whole or not at all."""
    values = chain.model_dump(mode="json", by_alias=True)
    with appearing(folder / CHAIN_FILE) as new:
        new.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_chain(folder: Path) -> Chain:
    """Read a folder's chain.json. Raises BadInputError where there is none."""
    path = folder / CHAIN_FILE
    try:
        return Chain.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInputError(f"Chain {path}: cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise BadInputError(f"Chain {path}: is none: {error.errors()[0]['msg']}.") from None
