"""Results as a person reads them: tables that also fit a narrow terminal."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from rich.console import Console
from rich.markup import escape

_LEAST_COLUMNS = 20


def print_rows(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows as a table, or, where the terminal is too narrow for it, one field a line."""
    kept = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *kept, strict=True)]
    if console.width < sum(widths) + 2 * (len(widths) - 1):
        _print_records(console, headings, kept)
        return
    _print_line(console, headings, widths, style="bold")
    for row in kept:
        _print_line(console, row, widths)


def print_fields(console: Console, fields: Iterable[tuple[str, str]]) -> None:
    """Print what one thing has, a field a line; what is empty is left out."""
    kept = [(name, _printable(value)) for name, value in fields if value]
    if kept:
        names, values = zip(*kept, strict=True)
        _print_records(console, names, [values])


def _print_line(
    console: Console, cells: Sequence[str], widths: Sequence[int], *, style: str = ""
) -> None:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    console.print("  ".join(padded).rstrip(), markup=False, soft_wrap=True, style=style)


def _printable(cell: str) -> str:
    """Return a cell without what would break its line: a file's name may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in cell)


def _print_records(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    width = max(map(len, headings))
    for number, row in enumerate(rows):
        if number:
            console.print()
        for heading, cell in zip(headings, row, strict=True):
            # Between words only: a path is to be copied whole.
            first, *more = wrap(
                cell,
                max(console.width - width - 2, _LEAST_COLUMNS),
                break_long_words=False,
                break_on_hyphens=False,
            ) or [""]
            label = heading.ljust(width)
            console.print(f"[bold]{escape(label)}[/bold]  {escape(first)}", soft_wrap=True)
            for line in more:
                console.print(" " * (width + 2) + line, markup=False, soft_wrap=True)


def human_size(size_bytes: int) -> str:
    """Return a size in the largest binary unit that leaves at least one, as in "1.5 GiB"."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
