"""Results as a person reads them: tables that also fit a narrow terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_rows(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows as a table, or, where the terminal is too narrow for it, one field a line."""
    kept = [list(row) for row in rows]
    if console.width < _natural_width(headings, kept):
        _print_records(console, headings, kept)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in kept:
        table.add_row(*map(escape, row))
    console.print(table)


def _print_records(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    width = max(map(len, headings))
    for number, row in enumerate(rows):
        if number:
            console.print()
        for heading, cell in zip(headings, row, strict=True):
            label = heading.ljust(width)
            console.print(f"[bold]{escape(label)}[/bold]  {escape(cell)}", soft_wrap=True)


def _natural_width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def human_size(size_bytes: int) -> str:
    """Return a size in the largest binary unit that leaves at least one, as in "1.5 GiB"."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
