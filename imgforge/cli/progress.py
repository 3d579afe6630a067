"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console

from imgforge.progress import LOG


@contextmanager
def shown_progress(console: Console, *, level: int = logging.INFO) -> Iterator[None]:
    """Show what the rooms report while the block runs."""
    with _bars(console) if console.is_terminal else _lines(console) as handler:
        handler.setLevel(level)
        LOG.addHandler(handler)
        LOG.setLevel(level)
        try:
            yield
        finally:
            LOG.removeHandler(handler)


def _bars(console: Console) -> AbstractContextManager[logging.Handler]:
    from imgforge.cli.bars import shown_bars  # 10 ms that no pipe needs

    return shown_bars(console)


@contextmanager
def _lines(console: Console) -> Iterator[logging.Handler]:
    yield _LineHandler(console)


class _LineHandler(logging.Handler):
    """A line for each report, with the seconds since the command began."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._started = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        subject = getattr(record, "subject", "")
        seconds = time.monotonic() - self._started
        text = f"{subject}: {record.getMessage()}" if subject else record.getMessage()
        self._console.print(
            f"{seconds:7.1f} s  {text}", markup=False, highlight=False, soft_wrap=True
        )
