"""Each row of the table of menu.lst, booted: the README says what was seen."""

import asyncio
import re
from pathlib import Path

import pytest

from imgforge.aki import parse_name
from imgforge.disk import open_disk
from imgforge.pv_way import PvWay, PvWish
from imgforge.recipe import ExpectPart
from imgforge.start import Surroundings
from imgforge.trial import Trial, try_disk
from tests.boot.conftest import TCG
from tests.kernel_files import STARTED
from tests.menu_boots import MENU_BOOTS, MenuBoot

pytestmark = pytest.mark.boot

EXPECT = ExpectPart(boot_limit_s=150, silence_limit_s=40)
_LIMIT_S = 300
_STARTED = re.compile(rf"{STARTED}.*entry=(\d)")


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=f"{row.way} {row.name}".replace(" ", "-"),
            marks=[] if row.is_quick else [pytest.mark.slow],
        )
        for row in MENU_BOOTS
    ],
)
def test_what_boots_is_what_the_table_says(row: MenuBoot, tmp_path: Path) -> None:
    disk = row.make(tmp_path)
    surroundings = Surroundings()
    if row.way != "bios":
        surroundings = Surroundings(pv=PvWish(PvWay(row.way), parse_name(row.aki)))
    trial = Trial(open_disk(disk), tmp_path / "test", EXPECT, surroundings)
    tested = asyncio.run(asyncio.wait_for(try_disk(trial, accelerator=TCG), _LIMIT_S))
    console = "\n".join(tested.console_lines)
    started = _STARTED.search(console)
    assert (int(started[1]) if started else None) == row.booted, console
    # No one ever logs in: the kernel ends at once.
    assert not tested.verdict.accepted
    if row.booted is None:
        assert tested.verdict.sign is not None
        assert tested.verdict.sign.id == row.sign, console
