"""One process of a test run: its image, its loop, and the machines it gives to tests."""

from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from imgforge.accelerator import AcceleratorWish
from imgforge.errors import BadInputError, ImgforgeError
from imgforge.pv_way import DIRECTLY, PvWish
from imgforge.report import SCREENSHOT
from imgforge.start import pick_accelerator
from imgforge.testing.failure import HarnessError
from imgforge.testing.forge import Forge
from imgforge.testing.image import ImageWish, find_image
from imgforge.testing.live import LiveInstance
from imgforge.testing.loop_thread import LoopThread
from imgforge.testing.machine import Machine
from imgforge.testing.marked_plan import apply_marks
from imgforge.testing.marks import Mark
from imgforge.testing.plan import Plan
from imgforge.testing.replay import keep
from imgforge.user_data import read_source
from imgforge.user_data_limit import excess

FIRST_BOOTS = "first-boots"


@dataclass(frozen=True, slots=True)
class SessionWish:
    """What the command line asks of all machines; `evidence` is the folder of the whole run.

    `user_data` is the path of a file, "" for none.
    """

    image: ImageWish
    evidence: Path
    accelerator: AcceleratorWish = AcceleratorWish.AUTO
    network: bool = False
    pv: PvWish = DIRECTLY
    user_data: str = ""


class TestSession:
    """Gives machines to the tests of one process; a context manager.

    Its event loop, and with it QEMU, lives until the block ends.
    """

    __test__ = False

    def __init__(self, wish: SessionWish) -> None:
        self.wish = wish
        self._loop = LoopThread()
        self._forge = Forge(wish.evidence / FIRST_BOOTS)
        self._end = ExitStack()
        self._base: Plan | None = None

    def __enter__(self) -> Self:
        self._end.enter_context(self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def plan(self, marks: list[Mark]) -> Plan:
        """Return what a test with these marks asks its machine to be.

        Raises MarkError for a mark that is none, HarnessError for an image that cannot be had.
        """
        if self._base is None:
            try:
                self._base = Plan(
                    image=find_image(self.wish.image, until=self._end),
                    accelerator=pick_accelerator(self.wish.accelerator),
                    network=self.wish.network,
                    pv=self.wish.pv,
                    user_data=_user_data(self.wish.user_data),
                )
            except ImgforgeError as error:
                hint = f"\n{error.hint}" if error.hint else ""
                raise HarnessError(f"{error}{hint}") from error
        return apply_marks(self._base, marks)

    @contextmanager
    def machine(self, plan: Plan, *, test: str, folder: Path) -> Iterator["Lent"]:
        """Lend a machine to a test for the block; what it shows goes to `folder`."""
        stack = AsyncExitStack()
        try:
            live = self._loop.call(stack.enter_async_context(self._forge.machine(plan, folder)))
            lent = Lent(Machine(live, self._loop), live, self._loop, test)
            yield lent
        finally:
            self._loop.call(stack.aclose())


def _user_data(name: str) -> bytes | None:
    if not name:
        return None
    data = read_source(Path(name))
    if wrong := excess(data):
        raise BadInputError(f"File {name}: {wrong}.")
    return data


@dataclass(frozen=True, slots=True)
class Lent:
    """A machine that was lent to a test, and what only its lender may do with it."""

    machine: Machine
    live: LiveInstance
    loop: LoopThread
    test: str

    def keep(self) -> None:
        """Keep the machine as it is for `imgforge replay`; it does not run afterwards.

        Raises HostError where it cannot be kept.
        """
        self.loop.call(keep(self.live, test=self.test))

    def save_screen(self, folder: Path) -> None:
        """Write what the screen shows to screen.png of a folder. Raises HostError."""
        self.loop.call(self.live.witness.machine.save_screen(folder / SCREENSHOT))
