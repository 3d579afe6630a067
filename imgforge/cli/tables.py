"""Results as a person reads them: tables that also fit a narrow terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDE_COLUMNS = 100


def print_rows(
    console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], *, wide: bool = False
) -> None:
    """Print rows as a table, or, where the terminal is too narrow for it, one field a line.

    With `wide` the table is known to need some hundred columns.
    """
    rows = [[escape(cell) for cell in row] for row in rows]
    if console.is_terminal and wide and console.width < _WIDE_COLUMNS:
        _print_records(console, headings, rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    if console.is_terminal:
        console.print(table)
    else:
        # A pipe has no width: do not fold what a program may read.
        console.print(table, width=_natural_width(headings, rows))


def _print_records(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    for row in rows:
        for heading, cell in zip(headings, row, strict=True):
            console.print(f"[bold]{heading}[/bold] {cell}", soft_wrap=True)
        console.print()


def _natural_width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    return sum(widths) + 2 * len(widths)


def human_size(size_bytes: int) -> str:
    """Return a size in the largest binary unit that leaves at least one, as in "1.5 GiB"."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
