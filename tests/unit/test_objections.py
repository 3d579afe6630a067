"""Objections of several things are told together, each with its hint beside it."""

import pytest

from imgforge.catalog import (
    Finding,
    ImageFacts,
    Objection,
    advise_copy,
    objections_to,
    refuse_together,
)
from imgforge.errors import BadInputError

NAME = Finding("name", "''", "3 to 128 letters")


def test_nothing_against_it_is_no_refusal() -> None:
    refuse_together([])
    advice = advise_copy(ImageFacts("ami-1", "1", "us-east-1"))
    assert objections_to("Image ami-1 cannot be copied", advice) == []


def test_one_objection_is_an_error_with_its_hint() -> None:
    found = objections_to("Image x cannot be", [NAME, NAME], hint="Do.")
    with pytest.raises(BadInputError) as refused:
        refuse_together([*found, *found])
    assert str(refused.value) == f"Image x cannot be:\n  {NAME}."
    assert refused.value.hint == "Do."


def test_of_several_each_keeps_its_hint() -> None:
    error = BadInputError("Region b: is none.", hint="There are c.")
    with pytest.raises(BadInputError) as refused:
        refuse_together([*objections_to("Image x cannot be", [NAME]), Objection.of_error(error)])
    lines = ["Image x cannot be:", f"  {NAME}.", "Region b: is none.", "  There are c."]
    assert str(refused.value) == "\n".join(lines)
    assert refused.value.hint == ""
