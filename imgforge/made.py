"""What a command has made so far: where it fails it takes that back, and says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from imgforge.errors import CloudError, HostError, ImgforgeError
from imgforge.progress import report, warn

# An answer that is no EC2's, or one that says that the endpoint failed.
_UNCERTAIN = {"NoEC2", "InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable"}


@dataclass(slots=True, eq=False)
class Thing:
    """What is being made; `what` becomes its name once that is known."""

    what: str
    take_back: Callable[[], None]


class Made:
    """What is made while the block runs; it stays where the block ends well.

    An error or an interruption takes all of it back, the newest first. What cannot be taken back
    is told with the words of `left`, and never hides the first error.
    """

    def __init__(self, *, left: str) -> None:
        self._things: list[Thing] = []
        self._left = left

    def add(self, what: str, take_back: Callable[[], None]) -> None:
        """Remember a thing that was just made, such as "Image ami-… (eu-west-1)"."""
        self._things.append(Thing(what, take_back))

    @contextmanager
    def making(self, what: str, take_back: Callable[[], None]) -> Iterator[Thing]:
        """Make a thing by the block's one request; what is refused was not made.

        A failure of the endpoint's own is no refusal: it may come when the thing is made. It is
        remembered before, since an interruption may come when EC2 has done it and this process
        does not know yet.
        """
        thing = Thing(what, take_back)
        self._things.append(thing)
        try:
            yield thing
        except CloudError as error:
            if error.code not in _UNCERTAIN:
                self._things.remove(thing)
            raise

    def keep(self) -> None:
        """Let what was made so far stay, whatever comes."""
        self._things.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        nobody_answers = False
        while self._things:
            thing = self._things.pop()
            if not nobody_answers:
                try:
                    thing.take_back()
                except HostError:
                    nobody_answers = True
                except ImgforgeError as problem:
                    warn(f"{thing.what}: could not be taken back: {problem}")
                    continue
                else:
                    report(f"{thing.what}: taken back")
                    continue
            warn(f"{thing.what}: stays, since the endpoint does not answer. {self._left}")
