"""What workers hand over by files: read back whole, and whatever a killed one left."""

import json
from pathlib import Path

import pytest

from imgforge.report import CommandEntry
from imgforge.testing.evidence import new_folder
from imgforge.testing.machine_files import (
    BOOTS_FILE,
    COMMANDS_FILE,
    MACHINE_FILE,
    WARNINGS_FILE,
    new_facts,
    note_command,
    note_warning,
    read_boots,
    read_commands,
    read_facts,
    read_warnings,
    write_facts,
)

BAD = [b"", b"\0" * 100, b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"command": 1}']


def test_facts_are_read_back(tmp_path: Path) -> None:
    facts = new_facts("a").model_copy(update={"tests": ("t::a",), "notes": ("booted cold",)})
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts


def test_commands_are_read_back(tmp_path: Path) -> None:
    ended = CommandEntry("ls 'é'\n", 2, "out\nerr\x1b", 0.25)
    silent = CommandEntry("sleep 9", None, "it did not end within 1 s", 1.0)
    for command in (ended, silent):
        note_command(tmp_path, command)
    assert read_commands(tmp_path) == (ended, silent)


def test_a_command_that_cannot_be_kept_is_warned_of_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note_command(tmp_path / "gone", CommandEntry("true", 0, "", 0.1))
    assert "cannot be written" in caplog.text


def test_a_warning_is_told_once_whoever_gave_it(tmp_path: Path) -> None:
    for text in ("b\nsecond line", "a", "b\nsecond line"):
        note_warning(tmp_path, text)
    assert read_warnings(tmp_path) == ("b\nsecond line", "a")


def test_half_a_line_costs_nothing_but_itself(tmp_path: Path) -> None:
    for name in ("a", "b"):
        note_command(tmp_path, CommandEntry(name, 0, "", 0.0))
    path = tmp_path / COMMANDS_FILE
    path.write_bytes(path.read_bytes()[:-9])
    assert [command.command for command in read_commands(tmp_path)] == ["a"]


@pytest.mark.parametrize("data", BAD)
def test_what_is_none_of_ours_is_nothing(tmp_path: Path, data: bytes) -> None:
    for name in (MACHINE_FILE, BOOTS_FILE, COMMANDS_FILE, WARNINGS_FILE):
        (tmp_path / name).write_bytes(data)
    assert read_facts(tmp_path) is None
    assert read_boots(tmp_path) == ()
    assert read_commands(tmp_path) == ()
    assert read_warnings(tmp_path) == ()


def test_a_command_with_a_strange_status_is_skipped(tmp_path: Path) -> None:
    line = json.dumps({"command": "a", "status": "0", "output": "", "seconds": 1})
    (tmp_path / COMMANDS_FILE).write_text(line, encoding="ascii")
    assert read_commands(tmp_path) == ()


def test_no_two_machines_get_the_same_folder(tmp_path: Path) -> None:
    first, second = new_folder(tmp_path, "t.py::a[x/y]"), new_folder(tmp_path, "t.py::a[x/y]")
    assert second.name == f"{first.name}-2"
    assert first.is_dir()
    assert second.is_dir()


@pytest.mark.parametrize("name", ["../../etc/passwd", "t.py::a[" + "x" * 500 + "]", "é::ü", "::"])
def test_a_folder_stays_in_its_place_whatever_a_test_is_called(tmp_path: Path, name: str) -> None:
    folder = new_folder(tmp_path, name)
    assert folder.parent == tmp_path
    assert not folder.name.startswith((".", "-"))
    assert len(folder.name) < 120
