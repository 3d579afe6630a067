"""A step of a pipeline in a thread of its own, a bounded way ahead of the next step."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_WAITING = 4


@contextmanager
def ahead(items: Iterable[T], *, waiting: int = _WAITING) -> Iterator[Iterator[T]]:
    """Give the items, taken from their source in another thread, at most `waiting` of them early.

    What the source raises is raised where its next item is asked for. The thread has ended when
    the block is left; it is let go at the item it is at.
    """
    passed: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(waiting)
    stopped = threading.Event()

    def work() -> None:
        try:
            for item in items:
                passed.put((item, None))
                if stopped.is_set():
                    return
            passed.put((None, StopIteration()))
        except BaseException as error:
            passed.put((None, error))

    thread = threading.Thread(target=work, name="bundle", daemon=True)
    thread.start()
    try:
        yield _drawn(passed)
    finally:
        stopped.set()
        while thread.is_alive():
            try:  # a full queue holds the thread
                passed.get(timeout=0.01)
            except queue.Empty:
                continue
        thread.join()


def _drawn(passed: "queue.Queue[tuple[T | None, BaseException | None]]") -> Iterator[T]:
    while True:
        item, error = passed.get()
        if isinstance(error, StopIteration):
            return
        if error is not None:
            raise error
        assert item is not None
        yield item
