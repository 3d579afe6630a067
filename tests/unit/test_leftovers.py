"""What is left over: the graph of what refers to what, decided without a cloud."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imgforge.ec2 import Image, Snapshot
from imgforge.leftovers import Inventory, LeftoverKind, StoredBundle, find_leftovers
from imgforge.made_tags import MADE, UNFINISHED

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OLD = (NOW - timedelta(hours=2)).isoformat()
YOUNG = (NOW - timedelta(minutes=5)).isoformat()
BEFORE = NOW - timedelta(hours=1)
OURS = {MADE: "register"}
HALF = {MADE: "publish", UNFINISHED: "w"}


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def image(
    image_id: str,
    *snapshots: str,
    tags: dict[str, str] | None = None,
    made: str = OLD,
    **more: Any,
) -> Image:
    devices = [
        {"DeviceName": f"/dev/sd{letter}", "Ebs": {"SnapshotId": one}}
        for letter, one in zip("abcdef", snapshots, strict=False)
    ]
    return Image.of(
        {
            "ImageId": image_id,
            "State": "available",
            "CreationDate": made,
            "RootDeviceType": "ebs",
            "BlockDeviceMappings": devices,
            "Tags": tag_list(tags or {}),
            **more,
        }
    )


def snapshot(
    snapshot_id: str,
    *,
    tags: dict[str, str] | None = None,
    made: str = OLD,
    state: str = "completed",
) -> Snapshot:
    return Snapshot.of(
        {
            "SnapshotId": snapshot_id,
            "State": state,
            "StartTime": made,
            "VolumeSize": 1,
            "Tags": tag_list(OURS if tags is None else tags),
        }
    )


def left(*images: Image, snapshots: Any = (), bundles: Any = ()) -> list[str]:
    found = find_leftovers(Inventory(images, snapshots, bundles), before=BEFORE)
    return [one.thing for one in found]


def test_a_finished_image_and_its_snapshots_are_never_left() -> None:
    assert left(image("ami-1", "snap-1", tags=OURS), snapshots=[snapshot("snap-1")]) == []


def test_an_unfinished_or_failed_image_goes_with_what_it_alone_has() -> None:
    snapshots = [snapshot("snap-1"), snapshot("snap-2")]
    half = image("ami-2", "snap-1", "snap-2", tags=HALF)
    whole = image("ami-1", "snap-1")
    assert left(whole, half, snapshots=snapshots) == ["ami-2", "snap-2"]
    failed = image("ami-2", tags=OURS, State="failed")
    assert left(whole, failed, snapshots=snapshots) == ["ami-2", "snap-2"]


@pytest.mark.parametrize("state", ["available", "disabled", "pending", "transient"])
def test_an_image_in_any_state_keeps_its_snapshots(state: str) -> None:
    assert left(image("ami-1", "snap-1", State=state), snapshots=[snapshot("snap-1")]) == []


def test_what_imgforge_did_not_make_is_never_left() -> None:
    foreign = [{}, {"imgforge": "made"}, {"Name": MADE}, {UNFINISHED: "w"}, {"Imgforge:made": "x"}]
    assert (
        left(
            *(
                image(f"ami-{number}", tags=tags, State="failed")
                for number, tags in enumerate(foreign)
            ),
            snapshots=[
                snapshot(f"snap-{number}", tags=tags) for number, tags in enumerate(foreign)
            ],
        )
        == []
    )


@pytest.mark.parametrize("made", [YOUNG, "", "yesterday", "9999-01-01T00:00:00Z"])
def test_what_is_young_or_tells_no_time_may_be_in_the_making(made: str) -> None:
    assert left(image("ami-1", tags=HALF, made=made), snapshots=[snapshot("s-1", made=made)]) == []


def test_an_upload_that_goes_on_is_not_left_and_one_that_died_is() -> None:
    snapshots = [snapshot("snap-1", state="pending"), snapshot("snap-2", state="error")]
    assert left(snapshots=snapshots) == ["snap-2"]


def test_a_bundle_is_left_where_no_image_is_registered_from_it() -> None:
    def bundle(location: str, *, bundler: str = "imgforge", modified: str = OLD) -> StoredBundle:
        return StoredBundle(location, bundler, 2**30, modified)

    store: Any = {"RootDeviceType": "instance-store", "ImageLocation": "b/used.manifest.xml"}
    bundles = [
        bundle("b/used.manifest.xml"),
        bundle("b/left.manifest.xml"),
        bundle("b/theirs.manifest.xml", bundler="ec2-ami-tools"),
        bundle("b/young.manifest.xml", modified=YOUNG),
    ]
    assert left(image("ami-1", **store), bundles=bundles) == ["b/left.manifest.xml"]
    half = image("ami-1", tags=HALF, **store)
    assert left(half, bundles=bundles[:1]) == ["ami-1", "b/used.manifest.xml"]


def test_kinds_come_in_the_order_in_which_they_go() -> None:
    found = find_leftovers(
        Inventory(
            [image("ami-1", tags=HALF)],
            [snapshot("snap-1")],
            [StoredBundle("b/x.manifest.xml", "imgforge", 1, OLD)],
        ),
        before=BEFORE,
    )
    assert [one.kind for one in found] == list(LeftoverKind)
