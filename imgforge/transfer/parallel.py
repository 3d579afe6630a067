"""Work on several things at once, in threads: the first failure ends it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

WORKERS = 8
T = TypeVar("T")
R = TypeVar("R")


class StoppedError(Exception):
    """Work that was given up because something else failed."""


class Stop:
    """What tells running work that it is in vain."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Tell it."""
        self._event.set()

    def check(self) -> None:
        """Raise StoppedError where the work is in vain."""
        if self._event.is_set():
            raise StoppedError


def in_parallel(
    work: Callable[[T], R], items: Iterable[T], *, stop: Stop, workers: int = WORKERS
) -> Iterator[R]:
    """Yield what `work` returns of each item, in the order in which they end.

    What it raises first is raised here, once all other work has ended; after an interruption
    nothing is waited for.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="transfer")
    try:
        for done in as_completed([pool.submit(work, item) for item in items]):
            yield done.result()
        pool.shutdown()
    except (Exception, GeneratorExit):
        stop.set()
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
