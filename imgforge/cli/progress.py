"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

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


@contextmanager
def _bars(console: Console) -> Iterator[logging.Handler]:
    columns = (
        BarColumn(bar_width=12),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield _BarHandler(progress)


@contextmanager
def _lines(console: Console) -> Iterator[logging.Handler]:
    yield _LineHandler(console)


class _BarHandler(logging.Handler):
    """One bar for each subject; warnings stand above the bars and stay."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._progress.console.print(record.getMessage(), markup=False, highlight=False)
            return
        subject = getattr(record, "subject", "")
        if subject not in self._tasks:
            self._tasks[subject] = self._progress.add_task("", total=None)
        message = f"{subject}: {record.getMessage()}" if subject else record.getMessage()
        self._progress.update(
            self._tasks[subject],
            description=message.replace("[", r"\["),
            completed=getattr(record, "done", None) or 0,
            total=getattr(record, "total", None),
        )


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
