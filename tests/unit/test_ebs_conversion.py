"""Which steps of a conversion stand, and what repeats them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.artifact_format import ArtifactFormat
from imgforge.bundle import MachineConfiguration, Manifest
from imgforge.bundle import Mapping as Device
from imgforge.cli.convert import Target, convert
from imgforge.conversion_step import StepName
from imgforge.ebs_conversion import ConversionWish, EbsOptions
from imgforge.ebs_conversion.acts import check_size, ephemeral_devices, needed_gib
from imgforge.ebs_conversion.state import (
    ConversionRecord,
    StepRecord,
    StepShape,
    look,
    read_record,
    standing,
    without,
    write_record,
)
from imgforge.ebs_conversion.steps import STEPS, shapes
from imgforge.errors import BadInputError
from imgforge.recipe import ExpectPart
from tests.bundle_material import make_material, write_sparse

GIB = 2**30
A, B, C = StepName.VOLUME, StepName.COPY, StepName.FSTAB
SHAPES = (StepShape(A, "a", ()), StepShape(B, "b", (A,)), StepShape(C, "c", (B,)))
WISH = ConversionWish("web.manifest.xml")


def record(folder: Path, files: Mapping[StepName, tuple[str, ...]]) -> ConversionRecord:
    keys = {shape.name: shape.key for shape in SHAPES}
    steps = {
        name: StepRecord(key=keys[name], value={}, files=look(folder, of_it))
        for name, of_it in files.items()
    }
    return ConversionRecord(source="web", steps=steps)


def test_a_step_stands_while_what_went_into_it_and_its_files_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "volume").write_bytes(b"1")
    kept = record(tmp_path, {A: ("volume",), B: (), C: ()})
    assert set(standing(kept, SHAPES, folder=tmp_path)) == {A, B, C}
    other = (*SHAPES[:1], StepShape(B, "another", (A,)), SHAPES[2])
    assert set(standing(kept, other, folder=tmp_path)) == {A}
    (tmp_path / "volume").write_bytes(b"2")
    assert set(standing(kept, SHAPES, folder=tmp_path)) == set()


def test_a_file_is_its_last_writers(tmp_path: Path) -> None:
    (tmp_path / "volume").write_bytes(b"blank")
    first = record(tmp_path, {A: ("volume",)})
    (tmp_path / "volume").write_bytes(b"copied")
    second = record(tmp_path, {B: ("volume",)})
    whole = ConversionRecord(source="web", steps={**first.steps, **second.steps})
    assert set(standing(whole, SHAPES, folder=tmp_path)) == {A, B}
    (tmp_path / "volume").write_bytes(b"half edited")
    assert set(standing(whole, SHAPES, folder=tmp_path)) == set()


def test_a_file_that_was_taken_away_stays_away(tmp_path: Path) -> None:
    kept = record(tmp_path, {A: (), B: (), C: ("gone",)})
    assert set(standing(kept, SHAPES, folder=tmp_path)) == {A, B, C}
    (tmp_path / "gone").touch()
    assert set(standing(kept, SHAPES, folder=tmp_path)) == {A, B}


def test_a_step_done_again_takes_what_builds_upon_it_along(tmp_path: Path) -> None:
    kept = record(tmp_path, {A: (), B: (), C: ()})
    assert set(without(kept.steps, B, SHAPES)) == {A}
    assert set(without(kept.steps, C, SHAPES)) == {A, B}


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept = record(tmp_path, {A: ("not there",)})
    write_record(tmp_path, kept)
    assert read_record(tmp_path, source="web") == kept


@pytest.mark.parametrize(
    ("wish", "repeated"),
    [
        (replace(WISH, ebs=EbsOptions(name="another")), {"register"}),
        (replace(WISH, expect=ExpectPart(login_user="me")), {"test-source", "test", "register"}),
        (replace(WISH, tests_source=True), {"test-source"}),
        (replace(WISH, key=Path("k")), set()),
        (replace(WISH, source="other.manifest.xml"), set(StepName)),
        (
            replace(WISH, ebs=EbsOptions(size_gib=9)),
            set(StepName) - {"download", "unbundle", "identify"},
        ),
    ],
    ids=["name", "expect", "source-test", "key", "bundle", "size"],
)
def test_another_wish_repeats_what_hangs_on_it(wish: ConversionWish, repeated: set[str]) -> None:
    before = {shape.name: shape.key for shape in shapes(WISH)}
    assert {shape.name for shape in shapes(wish) if shape.key != before[shape.name]} == repeated


def test_the_table_has_every_step_once_in_an_order_that_can_be_gone() -> None:
    assert [step.name for step in STEPS] == list(StepName)
    for number, step in enumerate(STEPS):
        assert set(step.needs) <= {earlier.name for earlier in STEPS[:number]}


def test_the_command_names_every_format_and_every_step() -> None:
    assert {*Target} == {*ArtifactFormat, "ebs"}
    text = " ".join((convert.__doc__ or "").split())
    assert ", ".join(StepName) in text


@pytest.mark.parametrize(
    ("size_bytes", "gib"), [(1, 1), (GIB, 1), (GIB + 1, 2), (10 * GIB, 10), (10 * GIB - 512, 10)]
)
def test_a_volume_holds_its_image(size_bytes: int, gib: int) -> None:
    assert needed_gib(size_bytes) == gib
    check_size(gib, size_bytes)
    if gib > 1:
        with pytest.raises(BadInputError, match="same size or larger"):
            check_size(gib - 1, size_bytes)


@pytest.mark.parametrize(
    "source", ["disk.raw", "", "s3://b/manifest.xml", "s3://A_b/web.manifest.xml"]
)
def test_what_is_no_manifest_is_refused(source: str) -> None:
    with pytest.raises(BadInputError):
        ConversionWish(source)


def test_the_folder_stands_beside_the_manifest_or_here() -> None:
    assert ConversionWish("a/b/web.manifest.xml").folder == Path("a/b/web.ebs")
    assert ConversionWish("s3://my-bucket/x/web.manifest.xml").folder == Path("web.ebs")
    assert ConversionWish("a/web.manifest.xml", out=Path("z")).folder == Path("z")


def test_the_manifests_mapping_names_the_instance_store(tmp_path: Path) -> None:
    image = write_sparse(tmp_path / "image", size_bytes=2**20, data={})
    made = make_material(tmp_path, image).bundle.manifest
    assert ephemeral_devices(made) == ("sdb",)
    machine = MachineConfiguration(
        "i386", (Device("ami", "sda1"), Device("ephemeral0", "sda2"), Device("swap", "sda3"))
    )
    assert ephemeral_devices(_with(made, machine)) == ("sda2", "sda3")
    assert ephemeral_devices(_with(made, None)) == ()


def _with(manifest: Manifest, machine: MachineConfiguration | None) -> Manifest:
    return replace(manifest, machine=machine)
