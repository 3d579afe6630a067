"""The table of disks wrong in one way: the checker says of each what the README says."""

from pathlib import Path

import pytest

from imgforge.aki import parse_name
from imgforge.disk import RULES, Weight, examine_menu
from tests.menu_boots import MENU_BOOTS, MenuBoot, menu_boot_table

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row.way}-{row.name}".replace(" ", "-")) for row in MENU_BOOTS]
)
def test_the_checker_says_what_the_table_says(row: MenuBoot, tmp_path: Path) -> None:
    pv_grub = parse_name(row.aki) if row.aki else None
    examined = examine_menu(row.make(tmp_path), world=row.world, pv_grub=pv_grub)
    assert examined.boots == row.checked
    found = {finding.rule.id for finding in examined.findings}
    assert row.rule in found if row.rule else not examined.has_error


def test_where_checker_and_boot_differ_it_is_explained() -> None:
    for row in MENU_BOOTS:
        assert bool(row.why) is (row.checked != row.booted), row.name
        assert row.booted is not None or row.sign, row.name


def test_the_table_has_thirty_disks_and_more_each_once() -> None:
    assert len({(row.way, row.name) for row in MENU_BOOTS}) == len(MENU_BOOTS) >= 60
    errors = {name for name, rule in RULES.items() if rule.weight is Weight.ERROR}
    assert len(errors & {row.rule for row in MENU_BOOTS}) >= 18


def test_the_readme_has_the_table_as_it_was_booted() -> None:
    assert menu_boot_table() in README.read_text(encoding="utf-8"), "run scripts/readme-menu-boots"
