"""Images broken in one way each: all are named rightly, within 2 s of what shows it."""

import asyncio
from pathlib import Path

import pytest

from imgforge.acceptance import explain
from imgforge.disk import open_disk
from imgforge.recipe import ExpectPart, Layout
from imgforge.start import Surroundings
from imgforge.trial import Trial, try_disk
from tests.boot.broken_images import BROKEN_IMAGES, BrokenImage
from tests.boot.conftest import TCG, Workshop
from tests.boot.patient import Patient

pytestmark = pytest.mark.boot

# A boot is silent for some seconds before init, more where others keep the processors busy, and
# our initramfs is for 30 s, while it waits for its root.
EXPECT = ExpectPart(boot_limit_s=180, silence_limit_s=45)
NAMED_WITHIN_S = 2.0

ROWS = [
    pytest.param(
        image,
        id=image.name.replace(" ", "-"),
        marks=[pytest.mark.slow] if image.is_slow else [],
    )
    for image in BROKEN_IMAGES
]


@pytest.mark.parametrize("image", ROWS)
def test_a_broken_image_is_named_within_two_seconds(
    image: BrokenImage, workshop: Workshop, tmp_path: Path
) -> None:
    is_partitioned = image.layout is Layout.HVM_MBR
    healthy = workshop.partitioned_disk if is_partitioned else workshop.disk
    patient = Patient.copy(healthy, tmp_path / "broken.raw", is_partitioned=is_partitioned)
    image.harm(patient)
    trial = Trial(open_disk(patient.disk), tmp_path / "test", EXPECT, Surroundings())
    tested = asyncio.run(asyncio.wait_for(try_disk(trial, accelerator=TCG), 240))
    verdict, console = tested.verdict, "\n".join(tested.console_lines)
    assert not verdict.accepted
    assert verdict.sign is not None, console
    assert (verdict.sign.id, verdict.failed_stage) == (image.sign, image.stage), console
    assert image.told in f"{verdict.reason} {verdict.sign.hint}", verdict.reason
    assert verdict.sign.hint
    # By the machine's own clock: the console, the requests and the end are told by it too.
    assert verdict.seconds - verdict.sign.seconds < NAMED_WITHIN_S
    for width in (50, 80):
        shown = explain(verdict, tested.console_lines, width=width).splitlines()
        last = " ".join(" ".join(shown[-10:]).split())
        assert f"Rejected at stage {image.stage}: " in last
        assert f"Sign {image.sign}." in last


def test_the_table_names_at_least_25_images_each_once() -> None:
    names = [image.name for image in BROKEN_IMAGES]
    assert len(set(names)) == len(names)
    assert sum(not image.is_slow for image in BROKEN_IMAGES) >= 25
