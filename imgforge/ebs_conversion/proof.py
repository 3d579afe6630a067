"""The steps that prove a volume and make it an image: it boots, is kept, and is registered."""

import hashlib
from dataclasses import replace
from pathlib import Path

from imgforge import pipeline
from imgforge.acceptance import read_verdict
from imgforge.aki import listed_pv_grub
from imgforge.cloud_access import reached_ec2
from imgforge.disk import Disk
from imgforge.ebs_conversion.chain import origin_of
from imgforge.ebs_conversion.job import TEST_FOLDER, VERDICT, Job
from imgforge.ebs_conversion.registration import bundle_name, registration
from imgforge.ebs_conversion.values import (
    Blank,
    Identified,
    Judged,
    Registered,
    SnapshotTaken,
    SourceJudged,
    VolumeJudged,
)
from imgforge.errors import BadInputError, ImageRejectedError
from imgforge.made_tags import work_digest
from imgforge.progress import about, report, warn
from imgforge.registering import DiskWish, SnapshotOf, ensure_snapshot, register_disk

_SOURCE_TEST_FOLDER = "source.test"


def judge_source(job: Job) -> SourceJudged:
    """Take the verdict on the disk as it was in the bundle, or have one made, if so wished.

    A rejection is told and no obstacle: an image may wait for instance-store volumes that no
    machine here has. Raises BadInputError for a verdict of another disk.
    """
    disk = job.disk()
    if job.wish.source_verdict is not None:
        judged = _judged(job.wish.source_verdict, name=str(job.wish.source_verdict.absolute()))
        if judged.disk_sha256 != disk.sha256:
            raise BadInputError(
                f"Verdict {job.wish.source_verdict}: is of another disk, SHA-256 "
                f"{judged.disk_sha256}; the one in the bundle has {disk.sha256}."
            )
    elif job.wish.tests_source:
        with about("source"):
            judged = _test(job, disk, folder=job.folder / _SOURCE_TEST_FOLDER, remarks=())
    else:
        return SourceJudged(judged=None)
    if not judged.accepted:
        warn(f"the disk in the bundle was rejected: {judged.reason}")
    return SourceJudged(judged=judged)


def judge_volume(job: Job) -> VolumeJudged:
    """Boot the volume on a throw-away overlay and judge it, by what its source is judged by.

    Raises ImageRejectedError where it is rejected.
    """
    folder = job.folder / TEST_FOLDER
    with about("volume"):
        judged = _test(job, job.volume(), folder=folder, remarks=(origin_of(job),))
    if not judged.accepted:
        raise ImageRejectedError(
            f"Volume {job.volume().path}: is rejected: {judged.reason}",
            hint=f"{folder / 'report.html'} shows why; neither a snapshot nor an image was made.",
        )
    return VolumeJudged(judged=judged)


def _test(job: Job, disk: Disk, *, folder: Path, remarks: tuple[str, ...]) -> Judged:
    pv = job.wish.surroundings.pv
    # As on EC2, by the AKI that the image has.
    pv = replace(pv, pv_grub=pv.pv_grub or listed_pv_grub(job.value(Identified).kernel_id))
    trial = pipeline.plan_trial(
        disk,
        surroundings=replace(job.wish.surroundings, pv=pv),
        folder=folder,
        expect=job.wish.expect,
        tests=job.wish.suite,
    )
    [tested] = pipeline.test([replace(trial, remarks=remarks)])
    return _judged(tested.verdict_path, name=f"{folder.name}/{tested.verdict_path.name}")


def _judged(path: Path, *, name: str) -> Judged:
    verdict = read_verdict(path)
    return Judged(
        disk_sha256=verdict.disk.sha256_after,
        verdict=name,
        verdict_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        accepted=verdict.accepted,
        reason=verdict.reason,
    )


def take_snapshot(job: Job) -> SnapshotTaken:
    """Keep the volume as a snapshot; of the same volume there is one."""
    volume = job.volume()
    words = f"imgforge: {bundle_name(job)}"
    work = work_digest("convert", volume.sha256, words)
    with reached_ec2(job.wish.cloud) as cloud:
        of = SnapshotOf(volume, "convert", work, words, skips_holes=job.wish.ebs.skips_holes)
        snapshot = ensure_snapshot(cloud, of)
    report(f"snapshot: {snapshot.snapshot_id}")
    return SnapshotTaken(snapshot_id=snapshot.snapshot_id)


def register(job: Job) -> Registered:
    """Register the snapshot as an image, through the gate of the volume's verdict."""
    wish = DiskWish(
        job.volume(),
        registration(job, size_gib=job.value(Blank).size_gib),
        read_verdict(job.folder / VERDICT),
        job.wish.ebs.conflict,
        snapshot_id=job.value(SnapshotTaken).snapshot_id,
    )
    with reached_ec2(job.wish.cloud) as cloud:
        return Registered(image_id=register_disk(cloud, wish).image_id)
