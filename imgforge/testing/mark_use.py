"""Marks that cannot be meant as they stand on tests: found before any test runs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from imgforge.accelerator import Accelerator, AcceleratorKind
from imgforge.disk import Disk
from imgforge.recipe import ExpectPart
from imgforge.testing.marked_plan import MarkError, apply_marks
from imgforge.testing.marks import MARK_NAMES, Mark
from imgforge.testing.plan import Image, Plan

_ALIKE = 0.75  # of difflib: "user_dta", "userdata" and "instance_typ", not "slow"
# Marks are the same whatever the image.
_NO_DISK = Disk(path=Path(), sha256="", size_bytes=0)
_NO_PLAN = Plan(Image(_NO_DISK, ExpectPart()), Accelerator(AcceleratorKind.TCG, "", ""))


@dataclass(frozen=True, slots=True)
class MarkUse:
    """A test by its node id, our marks on it, the outermost first, and those nobody registered.

    `has_own` says that it gets a machine of its own, which the marks are for.
    """

    test: str
    marks: tuple[Mark, ...]
    unknown: tuple[str, ...]
    has_own: bool


def tell_misuse(uses: Iterable[MarkUse]) -> list[str]:
    """Return what is wrong, a line for each problem, however many tests have it."""
    tests: dict[str, list[str]] = {}
    for use in uses:
        for problem in _problems(use):
            tests.setdefault(problem, []).append(use.test)
    return [
        f"{found[0]}{f' (and {len(found) - 1} more)' if len(found) > 1 else ''}: {problem}"
        for problem, found in tests.items()
    ]


def _problems(use: MarkUse) -> Iterator[str]:
    for name in use.unknown:
        for meant in get_close_matches(name, sorted(MARK_NAMES), n=1, cutoff=_ALIKE):
            yield f"there is no mark {name}; do you mean {meant}?"
    try:
        apply_marks(_NO_PLAN, list(use.marks))
    except MarkError as error:
        yield str(error)
    if use.marks and not use.has_own:
        names = ", ".join(dict.fromkeys(mark.name for mark in use.marks))
        yield (
            f"shared_machine is as it is for all tests, so {names} would do nothing: "
            "use the fixture machine, or take the mark away."
        )
