"""How a room says what it is doing, without knowing who listens."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LOG = logging.getLogger("imgforge")

# What the current task works on, such as a layout; each asyncio task has its own.
_SUBJECT: ContextVar[str] = ContextVar("imgforge_subject", default="")


def report(message: str, *, done: int | None = None, total: int | None = None) -> None:
    """Say what begins now, in plain words; `done` of `total` parts where that is known."""
    LOG.info(message, extra={"subject": _SUBJECT.get(), "done": done, "total": total})


def warn(message: str) -> None:
    """Say what a person should see and keep."""
    subject = _SUBJECT.get()
    LOG.warning("%s", f"{subject}: {message}" if subject else message)


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Let all reports of the block be about `subject`."""
    token = _SUBJECT.set(subject)
    try:
        yield
    finally:
        _SUBJECT.reset(token)
