"""The flow, from top to bottom: Recipe → Disk → BootRecord → Verdict → Artifact → Image."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgforge.acceptance import Verdict
from imgforge.aki import listed_pv_grub
from imgforge.build import build
from imgforge.catalog import ImageRegistration, NameConflict
from imgforge.cloud_access import reached_ec2
from imgforge.convert import Artifact, ArtifactFormat, Existing, convert_disk
from imgforge.disk import Disk
from imgforge.ec2 import Cloud, CloudWish, Image
from imgforge.errors import BadInputError
from imgforge.image_disk import disk_of
from imgforge.interruption import run_async
from imgforge.launch import Launched, LaunchWish, launch
from imgforge.machine import Accelerator, choose_way
from imgforge.places import machines_at_a_time
from imgforge.progress import about, report
from imgforge.recipe import ExpectPart, ImagePart, Layout, RecipeFile
from imgforge.registering import DiskWish, register_disk
from imgforge.start import Surroundings, pick_accelerator
from imgforge.suite import NO_TESTS, SuiteWish
from imgforge.trial import MACHINE_BYTES, Tested, Trial, try_disk
from imgforge.trial_report import summarize
from imgforge.user_data_limit import excess

_HERE = CloudWish()


@dataclass(frozen=True, slots=True)
class RunWish:
    """What `imgforge run` is asked for."""

    layouts: tuple[Layout, ...]
    out: Path
    formats: tuple[ArtifactFormat, ...] = ()
    surroundings: Surroundings = field(default_factory=Surroundings)
    locked: bool = False
    tests: SuiteWish = NO_TESTS
    user_data: bytes | None = None
    cloud: CloudWish = field(default_factory=CloudWish)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What `imgforge run` made of one layout; `image` is None where it was rejected."""

    tested: Tested
    artifacts: tuple[Artifact, ...]
    image: Image | None


def run(recipe_file: RecipeFile, *, wish: RunWish) -> list[RunResult]:
    """Go the whole way: build, boot, judge, convert and register each layout.

    A rejected layout is neither converted nor registered; the others go on.
    """
    disks = build(recipe_file, layouts=wish.layouts, out=wish.out, locked=wish.locked)
    trials = [
        plan_trial(disk, surroundings=wish.surroundings, tests=wish.tests, user_data=wish.user_data)
        for disk in disks
    ]
    return [_finish(tested, wish=wish) for tested in test(trials)]


def plan_trial(
    disk: Disk,
    *,
    surroundings: Surroundings,
    folder: Path | None = None,
    expect: ExpectPart | None = None,
    tests: SuiteWish = NO_TESTS,
    user_data: bytes | None = None,
) -> Trial:
    """Return the trial of a disk: in NAME.test beside it, expecting what its recipe does.

    For a disk that no recipe is known of, the expectations are a recipe's defaults.
    """
    known = disk.recipe.expect if disk.recipe else ExpectPart()
    return Trial(
        disk=disk,
        folder=folder or disk.path.with_suffix(".test"),
        expect=expect or known,
        surroundings=surroundings,
        tests=tests,
        user_data=user_data,
    )


def test(trials: Sequence[Trial]) -> list[Tested]:
    """Boot and judge disks, as many at a time as processors and memory allow.

    What other runs of this user have going counts, too: a place is waited for.
    """
    accelerator = pick_accelerator(trials[0].surroundings.accelerator)
    report(f"accelerator: {accelerator.kind}, {accelerator.reason}")
    way = choose_way(network=trials[0].surroundings.network)
    report(f"metadata: by {way.way}, {way.reason}")
    results = run_async(_test_all(trials, accelerator))
    summarize([tested.report for tested in results])
    return results


async def _test_all(trials: Sequence[Trial], accelerator: Accelerator) -> list[Tested]:
    turns = asyncio.Semaphore(machines_at_a_time(MACHINE_BYTES))
    suite_turn = asyncio.Lock()

    async def test_one(trial: Trial) -> Tested:
        async with turns:
            with about(_name(trial.disk)):  # of this task alone
                return await try_disk(trial, accelerator=accelerator, turn=suite_turn)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(test_one(trial)) for trial in trials]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def seal(disk: Disk, *, to: ArtifactFormat, destination: Path | None = None) -> Artifact:
    """Convert a disk, and compare the artifact with it; NAME.FORMAT beside it by default.

    Only an artifact that was named by default replaces one that stands there. A raw one by
    default is NAME.copy.raw, since NAME.raw is the disk.
    """
    if destination is not None:
        return convert_disk(disk, to=to, destination=destination)
    suffix = ".copy.raw" if to is ArtifactFormat.RAW else f".{to}"
    beside = disk.path.with_suffix(suffix)
    return convert_disk(disk, to=to, destination=beside, existing=Existing.REPLACE)


def register(
    cloud: Cloud,
    disk: Disk,
    *,
    verdict: Verdict | None,
    name: str | None = None,
    conflict: NameConflict = NameConflict.REFUSE,
) -> Image:
    """Register a disk as its recipe declares, under `name` if one is given.

    Without a verdict it is recorded as unverified.
    """
    registration = registration_of(disk, name=name)
    return register_disk(cloud, DiskWish(disk, registration, verdict, conflict))


def launch_image(
    image_id: str,
    *,
    surroundings: Surroundings,
    announce: Callable[[Launched], None],
    cloud_wish: CloudWish = _HERE,
    user_data: bytes | None = None,
    is_seeded: bool = False,
) -> None:
    """Launch a registered image here; `announce` gets the way in, then it runs to its end.

    Its disk is its root's snapshot. Raises BadInputError for more user data than EC2 takes.
    """
    if wrong := excess(user_data or b""):
        raise BadInputError(f"Launch {image_id}: {wrong}.")
    with ExitStack() as using:
        with reached_ec2(cloud_wish) as cloud:
            image = cloud.compute.image(image_id)
            disk = using.enter_context(disk_of(cloud, image))
        pv = surroundings.pv
        # As on EC2, by the AKI that it is registered with.
        kernel_id = image.text("KernelId") or None
        pv = replace(pv, pv_grub=pv.pv_grub or listed_pv_grub(kernel_id))
        wish = LaunchWish(
            image_id,
            disk,
            replace(surroundings, pv=pv),
            pick_accelerator(surroundings.accelerator),
            user_data=user_data,
            is_seeded=is_seeded,
        )
        launch(wish, announce=announce)


def _finish(tested: Tested, *, wish: RunWish) -> RunResult:
    """Convert and register what was accepted."""
    if not tested.verdict.accepted:
        return RunResult(tested, (), None)
    with about(_name(tested.disk)):
        artifacts = tuple(seal(tested.disk, to=wanted) for wanted in wish.formats)
        with reached_ec2(wish.cloud) as cloud:
            image = register(
                cloud, tested.disk, verdict=tested.verdict, conflict=NameConflict.SUPERSEDE
            )
    return RunResult(tested, artifacts, image)


def registration_of(disk: Disk, *, name: str | None) -> ImageRegistration:
    """Return what the disk's recipe declares of the image, under `name` if one is given.

    Raises BadInputError where no layout is recognised, or nothing names the image.
    """
    if disk.layout is None:
        raise BadInputError(
            f"Disk {disk.path}: no layout is recognised, neither hvm nor pv: it is no image."
        )
    if disk.recipe is not None:
        registration = ImageRegistration.of_recipe(disk.recipe.image, layout=disk.layout)
        return dataclasses.replace(registration, name=name) if name is not None else registration
    if name is None:
        raise BadInputError(
            f"Disk {disk.path}: no recipe is known of it, so its image has no name.",
            hint="Give one with --name.",
        )
    # Not validated here: the catalog's rules tell what is wrong with a name.
    return ImageRegistration.of_recipe(ImagePart.model_construct(name=name), layout=disk.layout)


def _name(disk: Disk) -> str:
    return disk.layout or disk.path.name
