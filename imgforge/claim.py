"""A folder that one run at a time works in: the others wait, and the loop goes on meanwhile."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from imgforge.errors import HostError
from imgforge.files import lock_within
from imgforge.progress import report

_LIMIT_S = 7200.0
_PAUSE_S = 0.2


@asynccontextmanager
async def claimed(folder: Path, *, what: str) -> AsyncIterator[None]:
    """Hold `folder` for one run, waiting for whoever has it; a kill frees it.

    `what` says what the other one is doing there, as in "another test is running". Raises
    HostError after two hours.
    """
    descriptor = await asyncio.to_thread(_open_lock, folder)
    try:
        await _lock(descriptor, folder, what=what)
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


async def _lock(descriptor: int, folder: Path, *, what: str) -> None:
    # flock(2) tells nobody when it becomes free, and a thread that waits for it could not be
    # interrupted: so it is asked again and again.
    end_s = time.monotonic() + _LIMIT_S
    if lock_within(descriptor, fcntl.LOCK_EX, limit_s=0):
        return
    report(f"{what} in {folder}: waiting for it")
    while not lock_within(descriptor, fcntl.LOCK_EX, limit_s=0):
        if time.monotonic() > end_s:
            raise HostError(
                f"Folder {folder}: {what} there for {_LIMIT_S:g} s.",
                hint="End it, or work in another folder.",
            )
        await asyncio.sleep(_PAUSE_S)
