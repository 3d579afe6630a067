"""Progress on a terminal: a bar for each subject."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from imgforge.cli.terminal import plain_text, say


@contextmanager
def shown_bars(console: Console) -> Iterator[logging.Handler]:
    """Show one bar for each subject while the block runs."""
    columns = (
        BarColumn(bar_width=12),
        # Without markup: that would make an emoji of ":100:", whatever the console says.
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield _BarHandler(progress)


class _BarHandler(logging.Handler):
    """One bar for each subject; warnings stand above the bars and stay."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            say(self._progress.console, record.getMessage())
            return
        subject = getattr(record, "subject", "")
        if subject not in self._tasks:
            self._tasks[subject] = self._progress.add_task("", total=None)
        message = f"{subject}: {record.getMessage()}" if subject else record.getMessage()
        self._progress.update(
            self._tasks[subject],
            description=plain_text(message),
            completed=getattr(record, "done", None) or 0,
            total=getattr(record, "total", None),
        )
