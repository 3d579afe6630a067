"""Marks that cannot be meant are found before any test runs."""

import pytest

from imgforge.testing.mark_use import MarkUse, tell_misuse
from imgforge.testing.marks import Mark


def use(
    *marks: Mark, test: str = "t.py::a", unknown: tuple[str, ...] = (), has_own: bool = True
) -> MarkUse:
    return MarkUse(test, marks, unknown, has_own)


def test_marks_that_are_right_are_not_told_of() -> None:
    good = use(Mark("user_data", ("#!/bin/sh",)), Mark("volumes", (1, 2)), Mark("cold_boot"))
    assert tell_misuse([good, use(), use(unknown=("slow", "integration"), has_own=False)]) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [("user_dta", "user_data"), ("userdata", "user_data"), ("instance_typ", "instance_type")],
)
def test_a_misspelt_mark_is_told_with_the_one_that_is_meant(name: str, meant: str) -> None:
    [told] = tell_misuse([use(unknown=(name,))])
    assert told == f"t.py::a: there is no mark {name}; do you mean {meant}?"


def test_a_mark_with_a_wrong_argument_is_told() -> None:
    [told] = tell_misuse([use(Mark("instance_type", ("m3.mediun",)))])
    assert told.startswith("t.py::a: Mark instance_type('m3.mediun') is none of: ")


def test_a_mark_of_many_tests_that_share_a_machine_is_told_once() -> None:
    mark = Mark("user_data", ("x",))
    tests = [use(mark, test=f"t.py::{name}", has_own=False) for name in "abc"]
    [told] = tell_misuse([*tests, use(mark)])
    assert told.startswith("t.py::a (and 2 more): shared_machine is as it is for all tests, so ")
    assert "user_data would do nothing" in told
