"""Interruptions: the first one is met, and those that follow do not disturb the cleaning up."""

from __future__ import annotations

import signal
from collections.abc import Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command; all in the same way."""

T = TypeVar("T")


def interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, once: a signal handler for all of SIGNALS."""
    ignore_interruptions()
    raise KeyboardInterrupt


def ignore_interruptions() -> None:
    """Let no further signal interrupt: what is made is being taken away, or all is told."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` in an event loop of its own, on the main thread, and return its result.

    The first interruption cancels it, and KeyboardInterrupt is raised once it has cleaned up.
    asyncio's own way raises in the middle of that where a second one comes.
    """
    import asyncio  # it takes 30 ms, and every command begins by loading this module

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(coroutine)
        interrupted = False

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            nonlocal interrupted
            interrupted = True
            ignore_interruptions()
            loop.call_soon_threadsafe(task.cancel)

        usual = {number: signal.signal(number, interrupt) for number in SIGNALS}
        try:
            return runner.run(_result_of(task))
        except asyncio.CancelledError:
            if not interrupted:
                raise
            raise KeyboardInterrupt from None
        finally:
            if not interrupted:
                for number, handler in usual.items():
                    signal.signal(number, handler)


async def _result_of(task: asyncio.Task[T]) -> T:
    return await task
