"""One event loop in a thread of its own: the machines of a test run live there.

QEMU dies with the thread that started it (PR_SET_PDEATHSIG), so that thread must outlive every
test; and tests are plain functions that wait.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from imgforge.progress import warn
from imgforge.testing.failure import HarnessError

_END_LIMIT_S = 30.0

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for those who are not; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="imgforge-machines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_LIMIT_S)
        if self._thread.is_alive():
            warn(f"the machines' thread did not end within {_END_LIMIT_S:g} s")

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` in the loop and return its result, or raise what it raised.

        An interruption of the waiting thread (Ctrl-C) cancels it, and waits for its end.
        """
        if not self._thread.is_alive():
            coroutine.close()
            raise HarnessError("The thread that runs the machines has ended.")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                self._join()
            raise

    def _join(self) -> None:
        """Wait until what was cancelled has come to its end."""

        async def others_end() -> None:
            own = asyncio.current_task()
            others = [task for task in asyncio.all_tasks() if task is not own and task.cancelling()]
            if others:
                await asyncio.wait(others, timeout=_END_LIMIT_S)

        asyncio.run_coroutine_threadsafe(others_end(), self._loop).result(_END_LIMIT_S + 1)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=_END_LIMIT_S))
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
