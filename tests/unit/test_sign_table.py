"""The README's table of signs says what the code says, in words that fit there."""

from pathlib import Path

import pytest

from imgforge.acceptance.grub_errors import GRUB_ERRORS
from imgforge.acceptance.outside_signs import OUTSIDE_SIGNS
from imgforge.acceptance.sign_table import SignEntry, sign_entries, sign_table
from imgforge.acceptance.signs import SIGNS

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_has_the_table_as_the_code_has_it() -> None:
    assert sign_table() in README.read_text(encoding="utf-8"), "run scripts/readme-signs"


def test_every_sign_is_in_the_table_once() -> None:
    ids = [entry.id for entry in sign_entries()]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {sign.id for sign in SIGNS} | set(OUTSIDE_SIGNS)


def test_every_error_of_grub_is_in_the_table() -> None:
    assert all(f"| Error&nbsp;{number} |" in sign_table() for number in GRUB_ERRORS)
    assert sorted(GRUB_ERRORS) == list(range(1, 36))


@pytest.mark.parametrize("entry", sign_entries(), ids=lambda entry: entry.id)
def test_a_sign_is_told_in_sentences(entry: SignEntry) -> None:
    assert entry.id == entry.id.lower()
    assert entry.meaning[0].islower() or entry.meaning.startswith(("GRUB", "SELinux"))
    assert not entry.meaning.endswith(".")
    assert entry.hint.endswith((".", "?")) or entry.id == "grub-error"
    assert len(entry.hint) <= 320
