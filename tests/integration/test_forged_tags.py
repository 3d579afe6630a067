"""Whoever may write tags can have them say anything: what a verdict lets through is read itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgforge.disk import Disk
from imgforge.made_tags import MADE, SHA256, VERDICT, VERDICT_SHA256
from tests.registering import configured, make_disk, ran, run, tags_of, verdict_file
from tests.serving import Serving, make_snapshot

WEST = "us-west-2"


@dataclass(frozen=True)
class Forged:
    """An image of one disk, whose tags say that it is of another, which was accepted."""

    serving: Serving
    home: Path
    tested: Disk
    image_id: str
    snapshot_id: str

    @property
    def verdict(self) -> Path:
        return self.home / "t" / "verdict.json"

    @property
    def place(self) -> dict[str, str]:
        return configured(self.serving.url)

    def images(self, region: str = "us-east-1") -> list[Any]:
        ec2 = self.serving.client(region=region)
        return list(ec2.describe_images(Owners=["self"])["Images"])


@pytest.fixture
def forged(tmp_path: Path) -> Iterator[Forged]:
    tested = make_disk(tmp_path / "tested.raw")
    verdict_file(tmp_path / "t", tested)
    other = make_disk(tmp_path / "other.raw", seed=b"2")
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
        words = ("register", other.path, "--name", "an image", "--unverified")
        told = ran(tmp_path, *words, place=configured(serving.url))
        snapshot_id = told["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        tags = {SHA256: tested.sha256, VERDICT: "accepted", VERDICT_SHA256: "cd" * 32}
        serving.client().create_tags(
            Resources=[told["ImageId"], snapshot_id],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        yield Forged(serving, tmp_path, tested, told["ImageId"], snapshot_id)


def test_a_snapshot_is_registered_by_what_it_holds(forged: Forged) -> None:
    words = ("register", "--snapshot", forged.snapshot_id, "--name", "forged")
    refused = run(forged.home, *words, "--verdict", forged.verdict, code=2, place=forged.place)
    assert "the verdict is of another disk" in refused
    assert len(forged.images()) == 1


def test_an_image_is_published_by_what_it_holds(forged: Forged) -> None:
    words = ("publish", forged.image_id, "--to", WEST, "--verdict", forged.verdict)
    refused = run(forged.home, *words, code=2, place=forged.place)
    assert "the verdict is of another disk" in refused
    assert forged.images(WEST) == []


def test_a_machine_is_started_of_what_was_tested_alone(forged: Forged) -> None:
    refused = run(forged.home, "launch", forged.image_id, code=3, place=forged.place)
    assert f"its tag {SHA256} says {forged.tested.sha256}" in refused


def test_without_a_verdict_the_tags_are_passed_on_and_that_is_said(forged: Forged) -> None:
    words = ("publish", forged.image_id, "--to", WEST)
    ran(forged.home, *words, place=forged.place)
    [copied] = forged.images(WEST)
    assert tags_of(copied)[VERDICT] == "accepted"


def test_a_verdict_is_put_to_an_image_that_has_none(forged: Forged) -> None:
    words = ("register", forged.tested.path, "--name", "honest", "--unverified")
    told = ran(forged.home, *words, place=forged.place)
    image_id = told["ImageId"]
    ran(
        forged.home, "publish", image_id, "--to", WEST, "--verdict", forged.verdict,
        place=forged.place,
    )  # fmt: skip
    [home] = [one for one in forged.images() if one["ImageId"] == image_id]
    [there] = forged.images(WEST)
    for one in (home, there):
        assert tags_of(one)[VERDICT] == "accepted"
        assert len(tags_of(one)[VERDICT_SHA256]) == 64


def test_gc_names_what_says_that_imgforge_made_it_before_it_goes(forged: Forged) -> None:
    """Who may tag a snapshot mostly may delete it, too; who runs gc reads its name first."""
    ec2 = forged.serving.client()
    snapshot_id = make_snapshot(ec2)
    ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": MADE, "Value": "x"}])
    words = ("images", "gc", "--older-than", "0s")
    told = run(forged.home, *words, "--dry-run", place=forged.place)
    assert snapshot_id in told
    assert forged.snapshot_id not in told
    run(forged.home, *words, code=2, place=forged.place)  # nobody is there to be asked
    assert ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
