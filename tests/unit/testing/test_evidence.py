"""The folder of a test run: whose it may be."""

from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.testing.evidence import evidence_folder


def refused(folder: Path) -> str:
    with pytest.raises(BadInputError) as caught, evidence_folder(folder):
        pass
    assert "--evidence" in caught.value.hint
    return str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    assert refused(file) == f"Folder {file}: is a file."
    assert refused(file / "a/b") == f"Folder {file}/a/b: {file} is a file."
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_name_too_long_is_told(tmp_path: Path) -> None:
    assert "file name too long" in refused(tmp_path / ("x" * 300))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    assert "no evidence of an earlier test run" in refused(tmp_path)
    assert (tmp_path / "mine.txt").exists()


def test_a_folder_is_held_by_one_run_and_emptied_for_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "out/tests"
    with evidence_folder(folder):
        (folder / "console.log").touch()
        assert "another test run is using it" in refused(folder)
    with evidence_folder(folder):
        assert not (folder / "console.log").exists()
