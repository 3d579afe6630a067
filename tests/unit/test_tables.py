"""Tables that also fit a narrow terminal."""

import io

from rich.console import Console

from imgforge.cli.tables import print_rows

ROWS = [("001-s.sh", "run as root when all else is done, in the order of the parts' names")]


def shown(width: int, rows: list[tuple[str, str]]) -> list[str]:
    written = io.StringIO()
    print_rows(Console(file=written, width=width, color_system=None), ("part", "does"), rows)
    return written.getvalue().splitlines()


def test_a_table_that_fits_has_a_line_for_each_row() -> None:
    assert shown(100, ROWS) == ["part      does", "001-s.sh  " + ROWS[0][1]]


def test_in_a_narrow_terminal_words_stay_whole_below_their_column() -> None:
    assert shown(40, ROWS) == [
        "part  001-s.sh",
        "does  run as root when all else is done,",
        "      in the order of the parts' names",
    ]


def test_a_path_is_never_cut_and_an_empty_cell_has_its_line() -> None:
    path = "/a/very-long/path/that-is/to-be/copied/whole.raw"
    assert shown(30, [("", path)]) == ["part  ", "does  " + path]
