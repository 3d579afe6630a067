"""Groups of options, as typer reads them and a command gets them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from imgforge.cli.option_group import with_groups


@dataclass(frozen=True, slots=True)
class Colour:
    ink: Annotated[str, typer.Option("--ink", help="Of the letters.")]
    paper: Annotated[str, typer.Option("--paper", help="Behind them.")] = "white"


@dataclass(frozen=True, slots=True)
class Darker(Colour):
    paper: Annotated[str, typer.Option("--paper", help="Behind them.")] = "black"


def ran(command: object, *words: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


@with_groups
def show(
    file: Path,
    *,
    loud: Annotated[bool, typer.Option("--loud")] = False,
    colour: Colour,
) -> None:
    """Show a file."""
    typer.echo(f"{file} {loud} {colour}")


@with_groups
def show_darker(context: typer.Context, *, colour: Darker) -> None:
    """Show it so."""
    typer.echo(f"{context.params['paper']} {colour}")


def test_a_command_gets_a_group_as_one_value() -> None:
    assert ran(show, "f", "--ink", "red", "--loud") == (
        0,
        "f True Colour(ink='red', paper='white')\n",
    )


def test_a_groups_options_are_told_where_the_group_stands() -> None:
    _, told = ran(show, "--help")
    assert "Show a file." in told
    assert told.index("--loud") < told.index("--ink") < told.index("--paper")
    assert "Of the letters." in told
    assert "colour" not in told


def test_an_option_without_a_default_has_to_be_given() -> None:
    code, told = ran(show, "f")
    assert code == 2
    assert "--ink" in told


def test_a_group_may_change_the_default_of_another() -> None:
    assert ran(show_darker, "--ink", "red") == (0, "black Darker(ink='red', paper='black')\n")


def test_the_command_itself_still_takes_the_group(capsys: pytest.CaptureFixture[str]) -> None:
    show.__wrapped__(Path("f"), colour=Colour("red"))  # type: ignore[attr-defined]
    assert capsys.readouterr().out == "f False Colour(ink='red', paper='white')\n"
