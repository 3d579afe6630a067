"""Blocks are worked on by several threads: what may pass is tried again, what is slow is named."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from imgforge.ec2 import Trouble, TroubleError
from imgforge.errors import ImgforgeError
from imgforge.progress import report, warn
from imgforge.snapshot_transfer.pace import Pace

_TICK_S = 0.2
_REPORT_S = 1.0
_SLOW_S = 15.0
_END_LIMIT_S = 5.0
_LONGEST_PAUSE_S = 5.0
_UNKNOWN_LIMIT_S = 60.0
"""EBS direct may not know a snapshot for up to a minute after it was started."""
T = TypeVar("T")
Work = Callable[[int], int]
"""Does a block's work; returns how many bytes went over the network."""


class StoppedError(Exception):
    """Work that was given up because something else failed."""


class Crew:
    """Threads that do the same with many blocks. `verb` is what they do, as "upload"."""

    def __init__(self, verb: str, *, workers: int, patience_s: float) -> None:
        self._verb = verb
        self._workers = workers
        self._patience_s = patience_s
        self._pace = Pace(workers)
        self._stop = threading.Event()
        self._moved = threading.Event()
        self._turn = threading.Lock()
        self._doing: dict[int, tuple[int, float]] = {}
        self._failure: BaseException | None = None
        self._alive = 0
        self._told_slow: set[int] = set()
        self._told_trouble: set[Trouble] = set()
        self._began_s = self._good_at_s = time.monotonic()
        self.done = 0
        self.sent_bytes = 0

    def each(
        self, work: Work, numbers: Iterable[int], *, total: int, tick: Callable[[], None]
    ) -> None:
        """Do `work` with every number; `tick` is called now and then, and at the end.

        Raises what one of them raises first, when the others have ended; after an interruption
        none is waited for.
        """
        source = iter(numbers)
        self._alive = min(self._workers, max(1, total))
        threads = [
            threading.Thread(target=self._run, args=(index, work, source), daemon=True)
            for index in range(self._alive)
        ]
        try:
            for thread in threads:
                thread.start()
            self._watch(total, tick)
        except BaseException:
            self._stop.set()
            raise
        for thread in threads:
            thread.join(_END_LIMIT_S)
        if self._failure is not None:
            raise self._failure
        tick()

    def _watch(self, total: int, tick: Callable[[], None]) -> None:
        """Tell how far it is until all threads have ended."""
        told_s = time.monotonic()
        while self._alive:
            self._moved.wait(_TICK_S)
            self._moved.clear()
            if self._failure is not None and self._stop.is_set() and not self._doing:
                return
            if time.monotonic() - told_s >= _REPORT_S:
                told_s = time.monotonic()
                report(f"{self._verb}: {self.done} of {total} blocks", done=self.done, total=total)
            self._name_slow()
            tick()

    def _name_slow(self) -> None:
        now_s = time.monotonic()
        with self._turn:
            slow = [
                (number, now_s - began_s)
                for number, began_s in self._doing.values()
                if now_s - began_s >= _SLOW_S and number not in self._told_slow
            ]
            self._told_slow.update(number for number, _ in slow)
        for number, seconds in slow:
            warn(f"{self._verb}: block {number} has taken {seconds:.0f} s so far")

    def _run(self, index: int, work: Work, source: Iterator[int]) -> None:
        try:
            while not self._stop.is_set():
                with self._turn:
                    number = next(source, None)
                    if number is None:
                        break
                    self._doing[index] = (number, time.monotonic())
                sent_bytes = work(number)
                with self._turn:
                    self.done += 1
                    self.sent_bytes += sent_bytes
        except StoppedError:
            pass
        except BaseException as error:
            with self._turn:
                self._failure = self._failure or error
            self._stop.set()
        finally:
            with self._turn:
                self._doing.pop(index, None)
                self._alive -= 1
            self._moved.set()

    def persist(self, number: int, act: Callable[[], T]) -> T:
        """Do a request for a block until it is answered: what may pass is tried again.

        Raises what it failed with last where it has not passed in time, and no other block went
        well meanwhile.
        """
        first_s = time.monotonic()
        failures = 0
        while True:
            began_s = self._pace.begin(self._stop)
            if self._stop.is_set():
                self._pace.end()
                raise StoppedError
            try:
                result = act()
            except TroubleError as error:
                self._suffer(error, began_s, number=number, first_s=first_s)
                failures += 1
                if error.trouble is not Trouble.THROTTLED:
                    pause_s = min(_LONGEST_PAUSE_S, 0.1 * 2**failures) * (0.5 + random.random())  # noqa: S311
                    self._stop.wait(pause_s)
            except BaseException:
                self._pace.end()
                raise
            else:
                self._pace.end_well()
                self._good_at_s = time.monotonic()
                return result

    def _suffer(self, error: TroubleError, began_s: float, *, number: int, first_s: float) -> None:
        """Count a failure that may pass; raise what it is where it lasts too long."""
        end_s = max(first_s, self._good_at_s) + self._patience_s
        if error.trouble is Trouble.THROTTLED:
            self._pace.end_throttled(began_s)
        else:
            self._pace.end()
        if error.trouble is Trouble.UNKNOWN_YET:
            end_s = min(end_s, self._began_s + _UNKNOWN_LIMIT_S)
        if time.monotonic() >= end_s:
            raise _lasting(error.error, number, self._patience_s) from None
        with self._turn:
            is_new = error.trouble not in self._told_trouble
            self._told_trouble.add(error.trouble)
        if is_new:
            warn(f"{self._verb}: block {number} {error.trouble}; it is tried again ({error})")


def _lasting(error: ImgforgeError, number: int, patience_s: float) -> ImgforgeError:
    error.hint = (
        f"Block {number} was tried for {patience_s:g} s. What was done stays: run the command "
        "again, it goes on from there."
    )
    return error
