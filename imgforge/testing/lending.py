"""A machine lent to a test: its folder, what is kept of it, and what a failure leaves there."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge.errors import ImgforgeError
from imgforge.progress import warn
from imgforge.testing.evidence import new_folder
from imgforge.testing.failure import HarnessError
from imgforge.testing.frozen import first_boot_name
from imgforge.testing.machine_files import (
    FAILURE_FILE,
    MachineFacts,
    new_facts,
    write_facts,
)
from imgforge.testing.plan import Plan
from imgforge.testing.session import Lent, TestSession

_AGAIN = re.compile(r"-[0-9a-f]{6}-(\d+)$")  # as new_folder names a test's second machine
LOANS = pytest.StashKey[list["Loan"]]()
"""The machines of a test, or, in the configuration's stash, those that tests share."""


@dataclass(slots=True)
class Loan:
    """A machine's folder and, once it is there, the machine; `failed` keeps it for a replay.

    `fixture` names that of a machine which tests share.
    """

    folder: Path
    facts: MachineFacts
    fixture: str = ""
    lent: Lent | None = None
    failed: bool = False

    def used_by(self, test: str) -> None:
        """Note a test that used the machine."""
        if test not in self.facts.tests:
            self.facts = self.facts.model_copy(update={"tests": (*self.facts.tests, test)})
            self.write()

    def tell_failure(self, text: str, *, folder: Path | None = None) -> None:
        """Write failure.txt, and screen.png of a machine that runs, to the machine's folder.

        `folder` is another one, for a test that shares the machine.
        """
        place = folder or self.folder
        with suppress(OSError), (place / FAILURE_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{text.rstrip()}\n")
        if self.lent is not None and self.lent.live.is_on:
            # The machine or the host may be what failed; that is told already.
            with suppress(ImgforgeError):
                self.lent.save_screen(place)

    def write(self) -> None:
        """Write what is known of the machine."""
        lent = self.lent
        if lent is not None:
            known = {"instance_id": lent.live.identity.instance_id, "notes": tuple(lent.live.notes)}
            self.facts = self.facts.model_copy(update=known)
        try:
            write_facts(self.folder, self.facts)
        except OSError as error:
            warn(f"Evidence {self.folder}: cannot be written: {error.strerror}.")

    def keep(self) -> None:
        """Keep a failed test's machine for `imgforge replay`."""
        if self.lent is None or not self.failed:
            return
        try:
            self.lent.keep()
        except (ImgforgeError, OSError) as error:
            warn(f"Machine of {self.facts.name}: cannot be kept for a replay: {error}")


@contextmanager
def lend(
    session: TestSession, plan: Plan, *, loans: list[Loan], test: str = "", fixture: str = ""
) -> Iterator[Lent]:
    """Lend a machine for the block; add the loan to `loans`.

    It is for one test, told by its node id, or for all that use a fixture.
    """
    name = test or fixture
    facts = new_facts(name).model_copy(
        update={
            "tests": (test,) if test else (),
            "instance_type": plan.profile.name,
            "is_plain": plan.is_plain,
            "frozen": "" if plan.why_cold else first_boot_name(plan),
        }
    )
    try:
        folder = new_folder(session.wish.evidence, name)
    except OSError as error:
        raise HarnessError(f"Evidence of {name}: cannot be written: {error.strerror}.") from None
    again = _AGAIN.search(folder.name) if test else None
    if again:
        facts = facts.model_copy(update={"name": f"{name} (run {again[1]})"})
    loan = Loan(folder, facts, fixture)
    loans.append(loan)
    loan.write()
    with session.machine(plan, test=name, folder=loan.folder) as lent:
        loan.lent = lent
        try:
            yield lent
        finally:
            loan.write()
            loan.keep()
            loan.lent = None
