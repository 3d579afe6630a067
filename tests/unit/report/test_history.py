"""The earlier boots of a recipe: what is kept of them, and what a broken file does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imgforge.report import (
    BootEntry,
    BootOutcome,
    PastBoot,
    StageEntry,
    append_boot,
    history_path,
    past_boot,
    read_history,
)
from imgforge.report.history import KEPT_BOOTS

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BOOT = PastBoot(
    created=START,
    accepted=True,
    login_s=7.5,
    stages=(("firmware", 0.1), ("ssh", 7.5)),
    accelerator="tcg",
    layout="hvm-mbr",
    boot_method="bios",
    instance_type="t3.nano",
    recipe_sha256="a" * 64,
)


def boot_number(number: int) -> PastBoot:
    return PastBoot(created=START + timedelta(hours=number), accepted=False, login_s=None)


def test_a_boot_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "history" / "minimal.jsonl"
    assert read_history(path) == ()
    append_boot(path, BOOT)
    append_boot(path, boot_number(1))
    assert read_history(path) == (BOOT, boot_number(1))


def test_only_the_last_few_hundred_boots_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "minimal.jsonl"
    for number in range(450):
        append_boot(path, boot_number(number))
    kept = read_history(path)
    assert kept == tuple(boot_number(number) for number in range(450 - KEPT_BOOTS, 450))
    assert path.read_bytes().count(b"\n") < 450
    assert sorted(child.name for child in tmp_path.iterdir()) == ["minimal.jsonl", "minimal.lock"]


def test_a_file_that_was_filled_with_something_else_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "minimal.jsonl"
    path.write_bytes(bytes(3 * 2**20))
    append_boot(path, BOOT)
    assert read_history(path) == (BOOT,)
    assert path.stat().st_size < 1000


def test_a_boot_after_a_torn_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "minimal.jsonl"
    append_boot(path, boot_number(1))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30)
    append_boot(path, BOOT)
    assert read_history(path) == (BOOT,)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b"[" * 4000,
        b"x" * 5000,
        b'{"accepted": true}',
        b'{"accepted": 1, "created": "2026-01-02T03:04:05+00:00", "stages": {}}',
        b'{"accepted": true, "created": "2026-01-02T03:04:05", "stages": {}}',
        b'{"accepted": true, "created": 5, "stages": {}}',
        b'{"accepted": true, "created": "2026-01-02T03:04:05+00:00", "stages": []}',
        b'{"accepted": true, "created": "x", "stages": {}}',
    ],
)
def test_a_line_that_is_no_boot_is_skipped(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "minimal.jsonl"
    append_boot(path, BOOT)
    with path.open("ab") as file:
        file.write(line + b"\n")
    append_boot(path, boot_number(1))
    assert read_history(path) == (BOOT, boot_number(1))


def test_seconds_that_are_none_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "minimal.jsonl"
    path.write_text(
        '{"accepted": true, "created": "2026-01-02T03:04:05+00:00", "login_s": NaN, '
        '"stages": {"init": 1e999, "ssh": 2, "<b>": "x"}}\n'
    )
    [boot] = read_history(path)
    assert boot.login_s is None
    assert boot.stages == (("ssh", 2.0),)


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "A", "x" * 200, "a\n"])
def test_a_history_never_stands_outside_its_folder(key: str) -> None:
    with pytest.raises(ValueError, match="is no key of a history"):
        history_path(key)


def test_only_a_boot_that_was_judged_becomes_history() -> None:
    assert past_boot(BootEntry("machine", created=START)) is None
    judged = BootEntry(
        "gate",
        created=START,
        outcome=BootOutcome.ACCEPTED,
        login_s=7.5,
        stages=(
            StageEntry("firmware", True, 0.1),
            StageEntry("kernel", True),
            StageEntry("ssh", True, 7.5),
        ),
        accelerator="tcg",
        layout="hvm-mbr",
        boot_method="bios",
        instance_type="t3.nano",
    )
    assert past_boot(judged, recipe_sha256="a" * 64) == BOOT


@pytest.mark.parametrize(("layout", "method"), [("hvm-gpt", "bios"), ("pv", ""), ("", "")])
def test_an_old_line_tells_how_its_boot_was_started_where_it_can_be_known(
    layout: str, method: str, tmp_path: Path
) -> None:
    path = tmp_path / "minimal.jsonl"
    append_boot(path, replace(BOOT, layout=layout))
    path.write_text(path.read_text().replace('"boot_method"', '"other"'))
    assert read_history(path) == (replace(BOOT, layout=layout, boot_method=method),)
