"""What was removed before is known again, and nothing else."""

from pathlib import Path

import pytest

from imgforge.removal import note_removal, was_removed


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "imgforge"


def test_an_id_is_known_in_its_region_alone() -> None:
    assert not was_removed("us-east-1", "snap-1")
    note_removal("us-east-1", ["snap-1", "snap-2"])
    assert was_removed("us-east-1", "snap-2")
    assert not was_removed("us-east-1", "snap-")
    assert not was_removed("us-west-1", "snap-1")


def test_what_is_full_becomes_the_older_one_and_is_still_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgforge.removal._MOST_BYTES", 30)
    for number in range(3):
        note_removal("us-east-1", [f"snap-{number}"])
    assert was_removed("us-east-1", "snap-1")
    assert was_removed("us-east-1", "snap-2")
    assert sorted(path.name for path in data.iterdir()) == ["removed.older.txt", "removed.txt"]


def test_a_file_that_is_none_of_ours_is_no_failure(data: Path) -> None:
    data.mkdir()
    (data / "removed.txt").write_bytes(b"\xff\x00\n\nus-east-1 snap-1\nus-east-1 snap-2")
    assert was_removed("us-east-1", "snap-1")
    assert not was_removed("us-east-1", "snap-2")  # cut off: it may be longer


def test_a_place_that_cannot_be_written_keeps_nobody_from_removing(data: Path) -> None:
    (data / "removed.txt").mkdir(parents=True)
    note_removal("us-east-1", ["snap-1"])
    assert not was_removed("us-east-1", "snap-1")
